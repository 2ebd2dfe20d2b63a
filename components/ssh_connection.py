"""How a host is reached over SSH."""

from __future__ import annotations

from typing import Any

from pulumi_command import remote

from components.ssh_target import SshTarget

_DIAL_SECONDS = 4
# An existing host answers at once, or is down.
_KNOCK_SECONDS = 3


def connection_args(target: SshTarget) -> remote.ConnectionArgs:
    """How the host is reached; its host key is always pinned."""
    ssh = target.plan.ssh
    tries = attempts(ssh.wait_seconds or _KNOCK_SECONDS)
    proxy = None
    if ssh.bastion:
        proxy = remote.ProxyConnectionArgs(
            host=ssh.bastion.host,
            port=ssh.bastion.port,
            user=ssh.bastion.user,
            host_key=ssh.bastion.host_key,
            private_key=target.private_key,
            **_limits(tries),
        )
        # Behind a bastion, the provider makes all handshakes on one connection, which the first failure
        # closes: only the first attempt has the true cause. The number shows which of the two failed.
        tries = tries + 1 if ssh.wait_seconds else 0
    return remote.ConnectionArgs(
        host=target.host,
        port=ssh.port,
        user=ssh.user,
        host_key=target.host_key,
        private_key=target.private_key,
        proxy=proxy,
        **_limits(tries),
    )


def _limits(tries: int) -> dict[str, Any]:
    return {"per_dial_timeout": _DIAL_SECONDS, "dial_error_limit": tries}


def attempts(seconds: int) -> int:
    """How often the command provider dials in this time, if each refusal is immediate.

    It waits 0.1 s after the first failure, then 1.5 times as long each time up to 5 s (pulumi's retry.Until).
    """
    count, waited, delay = 0, 0.0, 0.1
    while waited < seconds:
        count, waited, delay = count + 1, waited + delay, min(delay * 1.5, 5.0)
    return count
