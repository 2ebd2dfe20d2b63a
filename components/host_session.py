"""One SSH session with a host, as a resource: the payload of its program, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_command import remote

from components.host_programs import command_line, stdin
from components.ssh_connection import connection_args
from components.ssh_target import SshTarget
from omnibus.ruby import filled

Secrets = Mapping[str, pulumi.Input[Any]]


def session_input(
    target: SshTarget,
    verb: str,
    planned: Mapping[str, Any],
    secrets: Secrets | None = None,
    triggers: Mapping[str, pulumi.Input[Any]] | None = None,
) -> pulumi.Output[str]:
    """The program for `verb` and its payload: the planned one, the secrets' values and the stack's name.

    `triggers`: not read by any program; the session runs again when one of them changes.
    """
    owner = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    payload: dict[str, Any] = {"owner": owner, **filled(planned, secrets or {})}
    if triggers:
        payload["triggers"] = {**payload.get("triggers", {}), **triggers}
    return stdin(target.plan, payload, verb)


def host_session(
    name: str,
    target: SshTarget,
    verb: str,
    text: pulumi.Output[str],
    *,
    delete: str | None = None,
    after: Sequence[pulumi.Resource] = (),
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Runs the host's program with `verb` on its `session_input`, and with `delete` when it is deleted."""
    unavailable = [
        "connection.privateKey",
        *(["connection.proxy.privateKey"] if target.plan.ssh.bastion else []),
    ]
    session = pulumi.ResourceOptions(
        depends_on=[*after],
        # The settings disappear with the instance.
        deleted_with=target.instance,
        # A preview without the key's file keeps the former key: a preview does not connect to hosts.
        ignore_changes=unavailable if target.key_unavailable else [],
    )
    return _command(name, target, verb, text, pulumi.ResourceOptions.merge(session, opts), delete=delete)


def session_once(
    name: str,
    target: SshTarget,
    verb: str,
    text: pulumi.Output[str],
    *,
    logging: remote.Logging = remote.Logging.STDERR,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Runs the host's program at the first `up` only: later, its result could differ."""
    once = pulumi.ResourceOptions(
        ignore_changes=["connection", "create", "stdin", "addPreviousOutputInEnv", "logging"]
    )
    return _command(name, target, verb, text, pulumi.ResourceOptions.merge(once, opts), logging=logging)


def _command(
    name: str,
    target: SshTarget,
    verb: str,
    text: pulumi.Output[str],
    opts: pulumi.ResourceOptions,
    *,
    delete: str | None = None,
    logging: remote.Logging = remote.Logging.STDERR,
) -> remote.Command:
    of_target = pulumi.ResourceOptions(depends_on=[*target.ready], hooks=target.hooks.of(name, target.plan))
    return remote.Command(
        name,
        connection=connection_args(target),
        create=command_line(target.plan, verb),
        delete=command_line(target.plan, delete) if delete else None,
        stdin=text,
        logging=logging,
        # sshd accepts no such variable, and the next run does not need the former result.
        add_previous_output_in_env=False,
        # Another address is another host: the settings are removed from the former one first.
        triggers=[target.host] if delete else None,
        opts=pulumi.ResourceOptions.merge(of_target, opts),
    )


def digest(target: SshTarget, text: pulumi.Output[str]) -> pulumi.Output[str]:
    """SHA-256 of a host and its `session_input`, which others use to detect a change there."""
    parts = pulumi.Output.json_dumps([text, target.host, target.host_key])
    return parts.apply(lambda parts: hashlib.sha256(parts.encode()).hexdigest())
