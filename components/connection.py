"""How a host is reached over SSH, and what a person is told who cannot reach it."""

from __future__ import annotations

import re
from typing import Any

import pulumi
from pulumi_command import remote

from components.hosts import Reach
from omnibus.model import Deployment

_DIAL_SECONDS = 4
# A server that this stack creates takes as long as this to boot; one that exists answers, or does not.
_BOOT_SECONDS, _KNOCK_SECONDS = 120, 3

# In the words of Go's net and golang.org/x/crypto/ssh, which the command provider quotes.
_GAVE_UP = re.compile(r"after \d+ failed attempts: (?P<cause>[^\n]+)")
_ANOTHER_KEY = "host key mismatch", "no common algorithm for host key"
_NO_LOGIN = "unable to authenticate", "dial unix"
_NO_NAME = "no such host", "server misbehaving"


def args(deployment: Deployment, site: str, name: str, reach: Reach) -> remote.ConnectionArgs:
    """How the node is reached; its host key is always pinned."""
    ssh = deployment.ssh_of(site, name)
    bastion = ssh.bastion
    wait = ssh.wait_seconds or (_BOOT_SECONDS if reach.instance else _KNOCK_SECONDS)
    limits: dict[str, Any] = {"per_dial_timeout": _DIAL_SECONDS, "dial_error_limit": attempts(wait)}
    proxy = None
    if bastion:
        proxy = remote.ProxyConnectionArgs(
            host=bastion.host,
            port=bastion.port,
            user=bastion.user or ssh.user or "root",
            host_key=bastion.host_key,
            private_key=reach.private_key,
            **limits,
        )
    return remote.ConnectionArgs(
        host=reach.host,
        port=ssh.port or 22,
        user=ssh.user or "root",
        host_key=reach.host_key,
        private_key=reach.private_key,
        proxy=proxy,
        **limits,
    )


def attempts(seconds: int) -> int:
    """How often the command provider dials in so many seconds, where each refusal comes at once.

    It waits 0.1 s after the first failure, then 1.5 times as long each time up to 5 s (pulumi's retry.Until).
    """
    count, waited, delay = 0, 0.0, 0.1
    while waited < seconds:
        count, waited, delay = count + 1, waited + delay, min(delay * 1.5, 5.0)
    return count


def explained(resource: str, deployment: Deployment, site: str, name: str) -> pulumi.ResourceHookBinding:
    """Has the engine tell what to do where the host of a resource was not reached. Nothing is tried again."""

    async def explain(failed: pulumi.ErrorHookArgs) -> bool:
        found = _GAVE_UP.search(failed.errors[0]) if failed.errors else None
        if found:
            pulumi.log.error(problem(deployment, site, name, found["cause"], await _address(failed)))
        return False

    return pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(f"{resource}-connection", explain)])


async def _address(failed: pulumi.ErrorHookArgs) -> str:
    """Where the order went: a node that is given back is at the address that it had."""
    inputs = failed.old_inputs if failed.failed_operation == "delete" else failed.new_inputs
    connection = await pulumi.Output.from_input((inputs or {})["connection"]).future()
    return str((connection or {})["host"])


def problem(deployment: Deployment, site: str, name: str, cause: str, host: str) -> str:
    """Why nobody could log in at `host`, in the words of the program on a node; `cause`: the provider's."""
    ssh = deployment.ssh_of(site, name)
    through = f" through the bastion {ssh.bastion.host}" if ssh.bastion else ""
    return (
        f"{name} (site {site}): no SSH connection to {ssh.user}@{host}, port {ssh.port or 22}{through}\n"
        f"  cause: {cause}\n"
        "  state: nothing was changed on this node\n"
        f"  do:    {_remedy(deployment, site, name, cause)}; then `pulumi up` again"
    )


def _remedy(deployment: Deployment, site: str, name: str, cause: str) -> str:
    ssh, of = deployment.ssh_of(site, name), deployment.sites[site]
    external = "external_registry.hosts" if name in of.external_hosts else "nodes"
    at = f"sites.{site}.{external}.{name}"
    bastion = ssh.bastion and "rejected" not in cause
    if any(text in cause for text in _ANOTHER_KEY):
        keys = [f"`{at}.host_key`", *(["`ssh.bastion.host_key`"] if bastion else [])]
        return (
            "another server answers, or its SSH keys are new. Compare `ssh-keygen -lf "
            f"/etc/ssh/ssh_host_ed25519_key.pub` there with {' and '.join(keys)}"
        )
    if any(text in cause for text in _NO_LOGIN):
        if bastion and ssh.bastion and ssh.bastion.user not in (None, ssh.user):
            at_both = f"`ssh.bastion.user` ({ssh.bastion.user}) there and `ssh.user` ({ssh.user}) at the node"
            return f"let {at_both} log in with `ssh.private_key` or the SSH agent's key"
        return f"let `ssh.user` ({ssh.user}) log in there with `ssh.private_key` or the SSH agent's key"
    if bastion and "dial tcp" in cause:
        return "see that the bastion is up, and that `ssh.bastion.host` and `ssh.bastion.port` are right"
    if any(text in cause for text in _NO_NAME):
        return f"mend the name in `{at}.host`, or how it is resolved here"
    if of.aws:
        return (
            f"see that the server boots (its console output), and that `sites.{site}.aws.admin_cidrs` "
            "has this machine; `ssh.wait_seconds` for more time"
        )
    return (
        f"see that it is up, that no firewall is between, and that `{at}.host` and `ssh.port` are right; "
        "`ssh.wait_seconds` for a host that boots"
    )
