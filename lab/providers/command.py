"""Stand-in for pulumi-command v1.2.1: remote.Command, local.Command, remote.CopyToRemote, local.run.

Runs for real, over SSH and locally.  Behaviour as in provider/pkg/provider/{remote,local,common} of
pulumi/pulumi-command: without `update` a changed input runs `create` again, changed `triggers` replace,
`connection` is always a secret, stdout and stderr only if the program says so, customTimeouts do nothing.
"""

from __future__ import annotations

import secrets
from typing import Any

from lab.providers import local
from lab.providers.output import Output, sendable
from lab.providers.protocol import PropertyMap, is_archive, is_asset, is_secret, plain, secret
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
    """The inputs with their connection checked and, whole, a secret; raises Invalid when there is none."""
    if "connection" not in inputs:
        raise Invalid(("connection", "Missing required field 'connection'"))
    return {**inputs, "connection": secret(checked_connection(inputs["connection"]))}


class Command(Resource):
    """What a remote and a local command have in common; `run` is the difference."""

    replace_on = ("triggers",)
    computed = ("stdout", "stderr")

    def run(self, call: Call, command: str, inputs: PropertyMap, old: PropertyMap) -> dict[str, str]:
        """Runs it; returns stdout and stderr.  `old` is the state before, {} at the creation."""
        raise NotImplementedError

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


class RemoteCommand(Command):
    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        return with_connection(inputs)

    def run(self, call: Call, command: str, inputs: PropertyMap, old: PropertyMap) -> dict[str, str]:
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


class LocalCommand(Command):
    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        for name in ("assetPaths", "archivePaths"):
            if plain(inputs.get(name)):
                raise Invalid((name, "the lab's stand-in for pulumi-command does not collect files"))
        return inputs

    def run(self, call: Call, command: str, inputs: PropertyMap, old: PropertyMap) -> dict[str, str]:
        return local.run(
            call,
            [*(inputs.get("interpreter") or ["/bin/sh", "-c"]), command],
            directory=inputs.get("dir"),
            stdin=inputs.get("stdin"),
            environment={**(inputs.get("environment") or {}), **previous_output(inputs, old)},
            output=Output(call.log, inputs.get("logging")),
        )


class CopyToRemote(Resource):
    replace_on = ("triggers",)

    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        source = plain(inputs.get("source"))
        if not is_asset(source) and not is_archive(source):
            # v1.2.1 says this even when the source is merely not known yet, which fails the preview.
            raise Invalid(("asset", "either asset or archive must be set"))
        if is_asset(source) and "path" not in source and "text" not in source:
            raise Invalid(("asset", "asset must be a path-based file asset or a text asset"))
        if is_archive(source) and "path" not in source:
            raise Invalid(("archive", "archive must be a path to a file or directory"))
        return with_connection(inputs)

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        self._copy(call, inputs)
        return secrets.token_hex(4), inputs

    def update(self, call: Call, id: str, old: PropertyMap, inputs: PropertyMap) -> PropertyMap:
        same_place = old["remotePath"] == inputs["remotePath"]
        if not same_place or old["source"].get("hash") != inputs["source"].get("hash"):
            self._copy(call, inputs)
        return inputs

    @staticmethod
    def _copy(call: Call, inputs: PropertyMap) -> None:
        from lab.providers import sftp, ssh

        with ssh.connect(call, inputs["connection"]) as transport:
            sftp.copy(transport, inputs["source"], inputs["remotePath"])


def local_run(arguments: PropertyMap) -> PropertyMap:
    """The function local.run: a command at every preview and update, without a resource."""
    call = Call("urn:pulumi:::::::run", lambda *_, **__: None)
    return {**arguments, **sendable(LocalCommand().run(call, arguments["command"], arguments, {}))}


def servicer() -> Servicer:
    resources = {
        "command:remote:Command": RemoteCommand(),
        "command:local:Command": LocalCommand(),
        "command:remote:CopyToRemote": CopyToRemote(),
    }
    return Servicer(VERSION, resources, {"command:local:run": local_run})
