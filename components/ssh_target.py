"""The hosts that the program connects to: those that exist, and those that this stack creates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from components.session_hooks import SessionHooks
from config.ssh import ResolvedSsh, key_problem
from plan.node import HostPlan


@dataclass(frozen=True)
class SshTarget:
    """How a host is reached, and what must exist before it can be; `instance` if the stack creates it."""

    plan: HostPlan
    host: pulumi.Input[str]
    host_key: pulumi.Input[str]
    private_key: pulumi.Input[str] | None
    hooks: SessionHooks
    instance: aws.ec2.Instance | None = None
    ready: Sequence[pulumi.Resource] = ()
    key_unavailable: bool = False
    """Whether a preview runs without the key's file, because it does not exist on this machine."""


def existing_host(plan: HostPlan, hooks: SessionHooks) -> SshTarget:
    """An existing host of the configuration. Raises pulumi.RunError for a key that cannot be read."""
    unavailable = pulumi.runtime.is_dry_run() and _unreadable(plan.ssh) is not None
    key = None if unavailable else private_key(plan.ssh)
    return SshTarget(
        plan,
        plan.host or "",
        plan.host_key or "",
        None if key is None else pulumi.Output.secret(key),
        hooks,
        key_unavailable=unavailable,
    )


def private_key(ssh: ResolvedSsh) -> str | None:
    """The private key that is provided; None leaves it to the SSH agent."""
    if ssh.private_key:
        return ssh.private_key.get_secret_value()
    if not ssh.private_key_file:
        return None
    why = _unreadable(ssh)
    if why:
        raise pulumi.RunError(
            f"ssh.private_key_file: {ssh.private_key_file} cannot be read ({why}); "
            "no node could be reached [ssh-key-file-unreadable]\n"
            "Name a file that exists, or leave it out to use the SSH agent."
        )
    text = Path(ssh.private_key_file).expanduser().read_text(encoding="utf-8")
    wrong = key_problem(text)
    if wrong:
        raise pulumi.RunError(
            f"ssh.private_key_file: {ssh.private_key_file} {wrong}; no node could be reached "
            "[ssh-key-file-invalid]\n"
            "Name a private key without passphrase, or leave it out to use the SSH agent."
        )
    return text


def _unreadable(ssh: ResolvedSsh) -> str | None:
    """Why the private key's file cannot be read; None if it can, or if none is configured."""
    if ssh.private_key or not ssh.private_key_file:
        return None
    try:
        Path(ssh.private_key_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return str(error.strerror) if isinstance(error, OSError) else "it is not text"
    return None
