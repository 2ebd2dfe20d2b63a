"""How a host is reached over SSH."""

from __future__ import annotations

from typing import Any

from pulumi_command import remote

from components.hosts import Reach
from omnibus.model import Deployment

_DIAL_SECONDS = 4
# A server that this stack creates takes as long as this to boot; one that exists answers, or does not.
_BOOT_SECONDS, _KNOCK_SECONDS = 120, 3


def args(deployment: Deployment, site: str, name: str, reach: Reach) -> remote.ConnectionArgs:
    """How the node is reached; its host key is always pinned."""
    ssh = deployment.ssh_of(site, name)
    bastion = ssh.bastion
    wait = ssh.wait_seconds or (_BOOT_SECONDS if reach.instance else 0)
    tries = attempts(wait or _KNOCK_SECONDS)
    proxy = None
    if bastion:
        proxy = remote.ProxyConnectionArgs(
            host=bastion.host,
            port=bastion.port,
            user=bastion.user or ssh.user or "root",
            host_key=bastion.host_key,
            private_key=reach.private_key,
            **_limits(tries),
        )
        # Behind a bastion the provider tries each handshake on one and the same connection, which the first
        # failure closes: only the first attempt has the true cause. The number tells which of both failed.
        tries = tries + 1 if wait else 0
    return remote.ConnectionArgs(
        host=reach.host,
        port=ssh.port or 22,
        user=ssh.user or "root",
        host_key=reach.host_key,
        private_key=reach.private_key,
        proxy=proxy,
        **_limits(tries),
    )


def _limits(tries: int) -> dict[str, Any]:
    return {"per_dial_timeout": _DIAL_SECONDS, "dial_error_limit": tries}


def attempts(seconds: int) -> int:
    """How often the command provider dials in so many seconds, where each refusal comes at once.

    It waits 0.1 s after the first failure, then 1.5 times as long each time up to 5 s (pulumi's retry.Until).
    """
    count, waited, delay = 0, 0.0, 0.1
    while waited < seconds:
        count, waited, delay = count + 1, waited + delay, min(delay * 1.5, 5.0)
    return count
