"""SSH as in pulumi-command: connects with retries, also through a bastion, and runs one command.

Follows provider/pkg/provider/remote/connection.go of pulumi-command and the error texts of Go's
golang.org/x/crypto/ssh and net packages, because tests and users search for them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import paramiko

from lab.providers.resource import Call
from lab.providers.session import Transport

_NO_LIMIT = 3600.0
"""Seconds.  Go's Timeout covers only the TCP connection: a host that is silent after that blocks forever."""
# Its log, including tracebacks, would appear in the engine's output; the errors say the same in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
_FIRST_DELAY, _BACKOFF, _LONGEST_DELAY = 0.1, 1.5, 5.0
_T = TypeVar("_T")


class SshError(Exception):
    """A failure to connect, to authenticate or to run, in Go's words."""


@dataclass(frozen=True)
class Endpoint:
    """One hop: the connection (or proxy) argument, after the checks that need no network."""

    host: str
    port: int
    user: str
    key: paramiko.PKey | None
    password: str | None
    agent: _Agent | None
    host_key: paramiko.PKey | None
    tries: int
    timeout: float | None

    @classmethod
    def of(cls, connection: dict[str, Any]) -> Endpoint:
        """Raises SshError for unreadable keys and an agent that does not answer: a retry would not help."""
        host_key = _host_key(connection["hostKey"]) if connection.get("hostKey") is not None else None
        key = None
        if connection.get("privateKey") is not None:
            key = private_key(connection["privateKey"], connection.get("privateKeyPassword"))
        path = connection.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK")
        return cls(
            host=connection["host"],
            port=int(connection["port"]),
            user=connection["user"],
            key=key,
            password=connection.get("password"),
            agent=_Agent(path) if path else None,
            host_key=host_key,
            tries=int(connection["dialErrorLimit"]),
            timeout=float(connection["perDialTimeout"]) or None,
        )

    def close(self) -> None:
        if self.agent:
            self.agent.close()

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def tcp(self) -> socket.socket:
        """A TCP connection; raises OSError in Go's words."""
        try:
            connected = socket.create_connection((self.host, self.port), self.timeout)
        except socket.gaierror as problem:
            why = "server misbehaving" if problem.errno == socket.EAI_AGAIN else "no such host"
            raise OSError(f"dial tcp: lookup {self.host} on {_name_server()}: {why}") from None
        except TimeoutError:
            raise OSError(f"dial tcp {self.address}: i/o timeout") from None
        except OSError as problem:
            raise OSError(f"dial tcp {self.address}: connect: {_strerror(problem)}") from None
        connected.settimeout(None)
        # As in Go's dialer; without it, the client would wait forever for a host that dies.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 9)):
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
        return connected

    def handshake(self, stream: Any) -> Transport:
        """SSH over a connected stream: host key, then login."""
        transport = Transport(stream)
        try:
            transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = _NO_LIMIT
            self._ask_for_pinned_type(transport)
            transport.start_client(timeout=_NO_LIMIT)
            self._verify(transport)
            self._login(transport)
            return transport
        except (EOFError, OSError, paramiko.SSHException) as problem:
            transport.close()
            stream.close()  # a transport that was not started leaves it open
            raise SshError(f"ssh: handshake failed: {self._failure(problem)}") from problem
        except BaseException:
            transport.close()
            raise

    def _ask_for_pinned_type(self, transport: Transport) -> None:
        # Only the pinned key's own type is requested.  For RSA that is "ssh-rsa", which OpenSSH does not
        # offer from 8.8: pinning an RSA host key fails, also in the real provider.
        if self.host_key:
            if self.host_key.get_name() == "ssh-rsa":
                raise paramiko.ssh_exception.IncompatiblePeer
            transport.get_security_options().key_types = (self.host_key.get_name(),)

    def _verify(self, transport: Transport) -> None:
        if self.host_key and transport.get_remote_server_key() != self.host_key:
            raise SshError("ssh: handshake failed: ssh: host key mismatch")

    def _failure(self, problem: BaseException) -> str:
        if isinstance(problem, paramiko.ssh_exception.IncompatiblePeer):
            offered = self.host_key.get_name() if self.host_key else ""
            return f"ssh: no common algorithm for host key; we offered: [{offered}]"
        if isinstance(problem, EOFError) or "banner" in str(problem):
            return "EOF"
        return str(problem) or type(problem).__name__

    def _login(self, transport: paramiko.Transport) -> None:
        # Go tries each kind of authentication once, in this order, so a configured key hides the agent's
        # keys.
        attempted = ["none"]
        keys = [self.key] if self.key else list(self.agent.get_keys()) if self.agent else []
        if keys:
            attempted.append("publickey")
        for key in keys:
            with contextlib.suppress(paramiko.AuthenticationException):
                transport.auth_publickey(self.user, key)
                return
        if self.password is not None:
            attempted.append("password")
            with contextlib.suppress(paramiko.AuthenticationException):
                transport.auth_password(self.user, self.password, fallback=True)
                return
        raise SshError(
            "ssh: handshake failed: ssh: unable to authenticate, "
            f"attempted methods [{' '.join(attempted)}], no supported methods remain"
        )


class _Agent(paramiko.agent.AgentSSH):
    """A client of the ssh-agent at a socket path; paramiko's own client only reads the environment."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError as problem:
            connection.close()
            raise SshError(f"dial unix {path}: connect: {_strerror(problem)}") from problem
        self._connect(connection)  # type: ignore[attr-defined]  # the stubs leave it out

    def close(self) -> None:
        self._close()  # type: ignore[attr-defined]  # the stubs leave it out


@contextlib.contextmanager
def connect(call: Call, connection: dict[str, Any]) -> Iterator[Transport]:
    """A logged-in transport to the host of a connection argument, through its proxy if it has one.

    Retries as often as `dialErrorLimit` says, with a status message each time; raises SshError after that.
    """
    with contextlib.ExitStack() as stack:
        target = Endpoint.of(connection)
        stack.callback(target.close)
        if proxy := connection.get("proxy"):
            with _prefixed("proxy"):
                hop = Endpoint.of(proxy)
                stack.callback(hop.close)
                outer = retry(call, "Dial proxy", hop.tries, lambda: hop.handshake(hop.tcp()))
                stack.callback(outer.close)
                stream = retry(call, "Dial from proxy", target.tries, lambda: _through(outer, target))
                transport = retry(call, "Dial", target.tries, lambda: target.handshake(stream))
        else:
            transport = retry(call, "Dial", target.tries, lambda: target.handshake(target.tcp()))
        stack.callback(transport.close)
        yield transport


@contextlib.contextmanager
def _prefixed(where: str) -> Iterator[None]:
    try:
        yield
    except SshError as problem:
        raise SshError(f"{where}: {problem}") from problem


def _through(transport: Transport, target: Endpoint) -> paramiko.Channel:
    try:
        return transport.open_channel("direct-tcpip", (target.host, target.port), ("0.0.0.0", 0))
    except paramiko.ChannelException as problem:
        raise SshError(f"ssh: rejected: {problem.text.lower()} ({transport.refusal})") from problem


def retry(call: Call, what: str, limit: int, attempt: Callable[[], _T]) -> _T:
    """Retries until it succeeds, at most `limit` + 1 times (-1: without limit); stops early if canceled."""
    failed, delay = 0, _FIRST_DELAY
    while True:
        try:
            return attempt()
        except (OSError, SshError) as problem:
            if 0 <= limit <= failed:
                raise SshError(f"after {failed} failed attempts: {problem}") from problem
        failed += 1
        call.log(f"{what} {failed}/{'inf' if limit == -1 else limit} failed: retrying")
        if call.canceled.wait(delay):
            raise SshError("context canceled")
        delay = min(delay * _BACKOFF, _LONGEST_DELAY)


def private_key(text: str, password: str | None) -> paramiko.PKey:
    """A private key in any of OpenSSH's or PEM's forms; raises SshError as Go's ssh.ParsePrivateKey does."""
    encrypted = False
    for kind in (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey):
        try:
            return kind.from_private_key(io.StringIO(text), password=password)
        except paramiko.PasswordRequiredException:
            encrypted = True
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise SshError("ssh: this private key is passphrase protected" if encrypted else "ssh: no key found")


def _host_key(line: str) -> paramiko.PKey:
    fields = line.split()
    try:
        return paramiko.PKey.from_type_string(fields[0], base64.b64decode(fields[1], validate=True))
    except (IndexError, binascii.Error, ValueError, paramiko.SSHException):
        raise SshError("failed to parse host key: ssh: no key found") from None


def _name_server() -> str:
    """The first one, as in Go's errors; without any, Go asks this machine."""
    with contextlib.suppress(OSError):
        for line in Path("/etc/resolv.conf").read_text().splitlines():
            if line.startswith("nameserver") and len(fields := line.split()) > 1:
                return f"[{fields[1]}]:53" if ":" in fields[1] else f"{fields[1]}:53"
    return "127.0.0.1:53"


def _strerror(problem: OSError) -> str:
    return (os.strerror(problem.errno) if problem.errno else str(problem)).lower()
