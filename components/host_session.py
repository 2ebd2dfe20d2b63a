"""One SSH session with a host, as a resource: the payload of its program, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command import remote

from components.ssh_connection import connection_args
from components.ssh_target import SshTarget
from hosts import programs
from omnibus.ruby import Template, filled
from plan.node import HostPlan, NodePlan

Secrets = Mapping[str, pulumi.Input[Any]]


def complete(planned: Any, values: Mapping[str, pulumi.Input[Any]]) -> Any:
    """What was planned, with the values of secrets and of addresses that AWS chooses."""
    return filled(planned, values, _text)


def _text(template: Template, values: Mapping[str, pulumi.Input[Any]]) -> pulumi.Output[str]:
    return pulumi.Output.all(**{name: values[name] for name in template.names}).apply(template.filled)


@dataclass(frozen=True)
class Session:
    """`text`: the program for `verb` and its payload."""

    target: SshTarget
    verb: str
    text: pulumi.Output[str]

    def digest(self) -> pulumi.Output[str]:
        """SHA-256 of the host and what it is sent, which others use to detect a change there."""
        parts = pulumi.Output.json_dumps([self.text, self.target.host, self.target.host_key])
        return parts.apply(lambda parts: hashlib.sha256(parts.encode()).hexdigest())


def session(
    target: SshTarget,
    verb: str,
    planned: Mapping[str, Any],
    values: Secrets | None = None,
    triggers: Mapping[str, pulumi.Input[Any]] | None = None,
) -> Session:
    """The payload is the planned one, with the values, and the stack's name.

    `triggers`: not read by any program; the session runs again when one of them changes.
    """
    owner = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    payload: dict[str, Any] = {"owner": owner, **complete(planned, values or {})}
    if triggers:
        payload["triggers"] = {**payload.get("triggers", {}), **triggers}
    return Session(target, verb, _stdin(target.plan, payload, verb))


def _stdin(host: HostPlan, payload: Mapping[str, Any], verb: str) -> pulumi.Output[str]:
    """The program, or what `verb` needs of it, and its payload, as one secret."""
    text = pulumi.Output.json_dumps(payload)
    if isinstance(host, NodePlan):
        program = programs.gitlab_node(programs.VERIFY if verb == "verify" else ())
        return pulumi.Output.secret(text.apply(lambda sent: program + sent))
    whole = programs.external_registry()
    return pulumi.Output.secret(text.apply(lambda sent: f"{whole}run(MODULES, {sent!r})\n"))


def _command_line(host: HostPlan, verb: str) -> str:
    """`exec sudo -n … ruby - apply`. Program and secrets come over stdin."""
    sudo = "" if host.ssh.user == "root" else "sudo -n "
    return f"exec {sudo}{programs.RUBY if isinstance(host, NodePlan) else programs.PYTHON} {verb}"


def run(
    name: str,
    session: Session,
    *,
    delete: str | None = None,
    after: Sequence[pulumi.Resource] = (),
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Runs the session now and whenever its text changes; on delete, the host's program with `delete`."""
    target = session.target
    unavailable = [
        "connection.privateKey",
        *(["connection.proxy.privateKey"] if target.plan.ssh.bastion else []),
    ]
    options = pulumi.ResourceOptions(
        depends_on=[*after],
        # The settings disappear with the instance.
        deleted_with=target.instance,
        # A preview without the key's file keeps the former key: a preview does not connect to hosts.
        ignore_changes=unavailable if target.key_unavailable else [],
    )
    return _command(name, session, pulumi.ResourceOptions.merge(options, opts), delete=delete)


def run_once(
    name: str,
    session: Session,
    *,
    logging: remote.Logging = remote.Logging.STDERR,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """Runs the session at the first `up` only: later, its result could differ."""
    once = pulumi.ResourceOptions(
        ignore_changes=["connection", "create", "stdin", "addPreviousOutputInEnv", "logging"]
    )
    return _command(name, session, pulumi.ResourceOptions.merge(once, opts), logging=logging)


def _command(
    name: str,
    session: Session,
    opts: pulumi.ResourceOptions,
    *,
    delete: str | None = None,
    logging: remote.Logging = remote.Logging.STDERR,
) -> remote.Command:
    target = session.target
    of_target = pulumi.ResourceOptions(depends_on=[*target.ready], hooks=target.hooks.of(name, target.plan))
    return remote.Command(
        name,
        connection=connection_args(target),
        create=_command_line(target.plan, session.verb),
        delete=_command_line(target.plan, delete) if delete else None,
        stdin=session.text,
        logging=logging,
        # sshd accepts no such variable, and the next run does not need the former result.
        add_previous_output_in_env=False,
        # Another address is another host: the settings are removed from the former one first.
        triggers=[target.host] if delete else None,
        opts=pulumi.ResourceOptions.merge(of_target, opts),
    )
