"""The programs on hosts, run over SSH outside the engine: pinned host keys, secrets over stdin."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import paramiko
from paramiko.channel import ChannelFile

from hosts import programs
from omnibus.ruby import filled
from omnibus.settings import SECRETS_FILE
from operations.stack import Stack
from plan.node import NodePlan

CONNECT_SECONDS = 15
SILENT_SECONDS = 30
"""A node that says nothing for that long, besides the time of a reconfigure, is no longer connected."""
# Its log has tracebacks; errors say the same in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class NotConnected(Exception):
    """The node could not be reached, or the connection was lost. The text says which and why."""


class NodeFailure(Exception):
    """The program on the node has refused or failed, and its message has been shown."""


class NodeSession:
    """Runs the program of a GitLab node: each call is a command on one connection, which is renewed."""

    def __init__(self, stack: Stack, node: NodePlan, say: Callable[[str], object]) -> None:
        self.node = node
        self._stack, self._say = stack, say
        self._clients: list[paramiko.SSHClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        while self._clients:
            self._clients.pop().close()

    def run(self, verb: str, request: dict[str, Any], secrets: dict[str, str]) -> dict[str, Any]:
        """The program's result for `request`, which is part of its payload under the name of the verb.

        Its messages are shown while it runs. Raises NodeFailure, or NotConnected if that can be repeated.
        """
        planned = {**self.node.inspect, "database": self.node.apply["database"], "secrets": secrets}
        payload = {
            **filled(planned, {**secrets, **self._stack.databases.get(self.node.site, {})}),
            "stack": self._stack.owner,
            "files": {},
            "secrets_file": SECRETS_FILE,
            verb: request,
        }
        busy = 0 if request["action"] == "progress" else payload["reconfigure_seconds"]
        return self._connected(verb, payload, SILENT_SECONDS + busy)

    def ask(self, verb: str) -> dict[str, Any]:
        """The same for the payload of the last `pulumi up`."""
        return self._connected(verb, self._last_payload(), SILENT_SECONDS)

    def parts(self, verb: str, request: dict[str, Any], seconds: int) -> Iterator[dict[str, Any]]:
        """A result in parts, one on each line, at least every `seconds`. Messages are shown after them."""
        with self._expecting_connection():
            stdout, stderr = self._start(verb, self._last_payload() | {verb: request}, seconds)
            for line in stdout:
                if line.endswith("\n"):  # the last line of a lost connection is half a line
                    yield json.loads(line)
            self._end(stdout, stderr)

    def _last_payload(self) -> dict[str, Any]:
        if self.node.name not in self._stack.payloads:
            raise NodeFailure(f"{self.node.name} is not in the stack's state: run `pulumi up` first")
        return self._stack.payloads[self.node.name]

    @contextmanager
    def _expecting_connection(self) -> Iterator[None]:
        try:
            yield
        except (paramiko.AuthenticationException, paramiko.BadHostKeyException) as error:
            self.close()
            raise NodeFailure(f"{self.node.name} does not accept the stack's connection: {error}") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.close()
            raise NotConnected(f"{self.node.name}: {str(error) or type(error).__name__}") from error

    def _connected(self, verb: str, payload: dict[str, Any], seconds: int) -> dict[str, Any]:
        with self._expecting_connection():
            stdout, stderr = self._start(verb, payload, seconds)
            for line in stderr:
                self._say(line.rstrip())
            answer = stdout.read().decode()
            self._end(stdout, stderr)
        found: dict[str, Any] = json.loads(answer or "null") or {}
        return found

    def _start(self, verb: str, payload: dict[str, Any], seconds: int) -> tuple[ChannelFile, ChannelFile]:
        sudo = "" if self._connection["user"] == "root" else "sudo -n "
        command = f"exec {sudo}{programs.RUBY} {verb}"
        stdin, stdout, stderr = self._client().exec_command(command, timeout=seconds)
        stdin.write(programs.gitlab_node() + json.dumps(payload))
        stdin.channel.shutdown_write()
        return stdout, stderr

    def _end(self, stdout: ChannelFile, stderr: ChannelFile) -> None:
        for line in stderr:
            self._say(line.rstrip())
        status = stdout.channel.recv_exit_status()
        if status < 0:
            raise EOFError("the connection was lost")
        if status:
            raise NodeFailure(self.node.name)

    @property
    def _connection(self) -> dict[str, Any]:
        found = self._stack.connections.get(self.node.name)
        if found is None:
            raise NodeFailure(f"{self.node.name} is not in the stack's state: run `pulumi up` first")
        return found

    def _client(self) -> paramiko.SSHClient:
        if not self._clients:
            connection = self._connection
            proxy = connection.get("proxy")
            channel = None
            if proxy:
                transport = _transport(self._open(proxy, None))
                target = (connection["host"], int(connection.get("port", 22)))
                channel = transport.open_channel("direct-tcpip", target, ("127.0.0.1", 0), CONNECT_SECONDS)
            self._open(connection, channel)
        return self._clients[-1]

    def _open(self, connection: dict[str, Any], channel: paramiko.Channel | None) -> paramiko.SSHClient:
        host, port = connection["host"], int(connection.get("port", 22))
        kind, key, *_ = connection["hostKey"].split()
        client = paramiko.SSHClient()
        self._clients.append(client)
        pinned = paramiko.PKey.from_type_string(kind, base64.b64decode(key))
        client.get_host_keys().add(host if port == 22 else f"[{host}]:{port}", kind, pinned)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            host,
            port,
            connection["user"],
            pkey=private_key(connection["privateKey"]) if connection.get("privateKey") else None,
            allow_agent=not connection.get("privateKey"),
            look_for_keys=False,
            sock=channel,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
        )
        _transport(client).set_keepalive(15)
        return client


def _transport(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    if transport is None:
        raise EOFError("the connection was lost")
    return transport


def private_key(text: str) -> paramiko.PKey:
    """A private key of any type that OpenSSH writes. Raises paramiko.SSHException for another text."""
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.SSHException:
            continue
    raise paramiko.SSHException("the private key of the stack's connection cannot be read")


def patiently(
    call: Callable[[], dict[str, Any]], say: Callable[[str], object], seconds: float = 600
) -> dict[str, Any]:
    """Repeats a call while there is no connection. Raises NotConnected after `seconds`."""
    deadline, said = time.monotonic() + seconds, False
    while True:
        try:
            return call()
        except NotConnected as error:
            if time.monotonic() > deadline:
                raise
            if not said:
                say(f"{error}; trying again for {seconds / 60:.0f} minutes. What runs on the node continues.")
            said = True
            time.sleep(5)
