"""Stand-in for remote.Command of pulumi-command v1.2.1; the program uses nothing else of it.

Runs commands over SSH.  Behavior as in provider/pkg/provider/{remote,common} of pulumi/pulumi-command:
without `update` a changed input runs `create` again, changed `triggers` replace, `connection` is always a
secret, stdout and stderr only if the program marks them, customTimeouts do nothing.
"""

from __future__ import annotations

import secrets
from typing import Any

from lab.providers.output import Output, sendable
from lab.providers.protocol import PropertyMap, is_secret, secret
from lab.providers.resource import Call, Invalid, Resource
from lab.providers.servicer import Servicer

VERSION = "1.2.1"
_CONNECTION_DEFAULTS = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
_CONNECTION_SECRETS = ("password", "privateKey", "privateKeyPassword")


def checked_connection(connection: Any, what: str = "connection") -> Any:
    """A connection argument with the defaults and the secret marks that the real provider's Check adds."""
    if is_secret(connection):
        inner = connection["value"]
        return secret(checked_connection(inner, what) if isinstance(inner, dict) else inner)
    if not isinstance(connection, dict):  # not known yet
        return connection
    if "host" not in connection:
        raise Invalid((what, f"host: Missing required field 'host' on 'remote.{what.capitalize()}'"))
    connection = {**_CONNECTION_DEFAULTS, **connection}
    for key in _CONNECTION_SECRETS:
        if connection.get(key) is not None:
            connection[key] = secret(connection[key])
    if connection.get("proxy") is not None:
        connection["proxy"] = checked_connection(connection["proxy"], "proxy")
    return connection


def with_connection(inputs: PropertyMap) -> PropertyMap:
    """The inputs with their connection checked and marked as a secret; raises Invalid without one."""
    if "connection" not in inputs:
        raise Invalid(("connection", "Missing required field 'connection'"))
    return {**inputs, "connection": secret(checked_connection(inputs["connection"]))}


class RemoteCommand(Resource):
    replace_on = ("triggers",)
    computed = ("stdout", "stderr")

    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        return with_connection(inputs)

    def run(self, call: Call, command: str, inputs: PropertyMap, old: PropertyMap) -> dict[str, str]:
        """Runs it; returns stdout and stderr.  `old` is the former state, {} at creation."""
        from lab.providers import session, ssh  # paramiko takes longer than the rest

        with ssh.connect(call, inputs["connection"]) as transport:
            return session.run(
                call,
                transport,
                command,
                stdin=inputs.get("stdin"),
                environment=inputs.get("environment") or {},
                previous=previous_output(inputs, old),
                output=Output(call.log, inputs.get("logging")),
            )

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        output = {"stdout": "", "stderr": ""}
        if inputs.get("create") is not None:
            output = sendable(self.run(call, inputs["create"], inputs, {}))
        return f"{call.name}{secrets.token_hex(4)}", {**inputs, **output}

    def update(self, call: Call, id: str, old: PropertyMap, inputs: PropertyMap) -> PropertyMap:
        command = inputs.get("update") if inputs.get("update") is not None else inputs.get("create")
        if command is None:
            return {**inputs, **{key: old.get(key, "") for key in self.computed}}
        return {**inputs, **sendable(self.run(call, command, inputs, old))}

    def delete(self, call: Call, id: str, state: PropertyMap) -> None:
        if state.get("delete") is not None:
            self.run(call, state["delete"], state, state)


def previous_output(inputs: PropertyMap, old: PropertyMap) -> dict[str, str]:
    """The last run's outputs as environment variables, unless the resource does not want them."""
    if inputs.get("addPreviousOutputInEnv") is False:
        return {}
    return {f"PULUMI_COMMAND_{key.upper()}": old[key] for key in ("stdout", "stderr") if old.get(key)}


def servicer() -> Servicer:
    return Servicer(VERSION, {"command:remote:Command": RemoteCommand()})
