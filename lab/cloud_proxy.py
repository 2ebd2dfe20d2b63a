"""Connects a registry to clouds on this machine: an HTTP proxy that represents every host, including TLS.

Go programs and skopeo read it from HTTPS_PROXY, so a registry requests the same names and paths as in
production. The answers come from the cloud: azurite.py, gcs_emulator.py, oss_stub.py.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from lab.authority import Authority

HOSTS = [
    "*.blob.core.windows.net",
    "*.blob.core.chinacloudapi.cn",
    "login.microsoftonline.com",
    "*.oss-eu-central-1.aliyuncs.com",
    "*.googleapis.com",
]
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"}
READS = {"GET", "HEAD"}


@dataclass(frozen=True)
class Request:
    """A request; `target` is path and query as they were sent, which signatures cover."""

    method: str
    host: str
    target: str
    headers: Message
    body: bytes

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.target)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.parts.query).items()}

    @property
    def bearer(self) -> str | None:
        """The token in the request."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def __str__(self) -> str:
        return f"{self.method} https://{self.host}{self.target}"


@dataclass(frozen=True)
class Answer:
    """A cloud's answer. For HEAD it has no body, and the headers give the length that it would have."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def forward(request: Request, port: int, context: ssl.SSLContext | None = None) -> Answer:
    """The answer of the server at this loopback port to the same request; with TLS if there is a context."""
    connection: http.client.HTTPConnection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    if context:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", request.host)
        for name, value in request.headers.items():
            if name.lower() not in HOP_BY_HOP | {"host"}:
                connection.putheader(name, value)
        if request.body or "Content-Length" in request.headers:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        found = connection.getresponse()
        body = found.read()
        hidden = HOP_BY_HOP - ({"content-length"} if request.method == "HEAD" else set())
        kept = tuple((name, value) for name, value in found.getheaders() if name.lower() not in hidden)
        return Answer(found.status, body, kept)
    finally:
        connection.close()


@dataclass
class Front:
    """`asked`: each request as "METHOD https://host/path?query"; `answered`: with its status."""

    directory: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)
    answered: list[tuple[str, int]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The environment for a registry, or for a client that pulls from it."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "SSL_CERT_FILE": str(self.directory / "ca.pem")}


def certify(directory: Path) -> None:
    """A CA, `ca.pem`, and its certificate and key for all hosts of the clouds, `server.pem`."""
    authority = Authority()
    (directory / "ca.pem").write_bytes(authority.pem)
    issued = authority.issue(HOSTS)
    (directory / "server.pem").touch(0o600)
    (directory / "server.pem").write_bytes(issued.certificate + issued.key)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: Callable[[Request], Answer], found: Front, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud, self.found, self.context = cloud, found, context


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer takes more than one write
    server: _Server

    def do_CONNECT(self) -> None:
        self.send_response_only(200)
        self.end_headers()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def _any(self) -> None:
        # Requests to a proxy contain whole URLs, except in a tunnel.
        whole = urlsplit(self.path)
        target = whole._replace(scheme="", netloc="").geturl() if whole.netloc else self.path
        host = (whole.netloc or self.headers["Host"]).partition(":")[0]
        request = Request(self.command, host, target, self.headers, self._body())
        self.server.found.asked.append(str(request))
        answer = self.server.cloud(request)
        self.server.found.answered.append((str(request), answer.status))
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer.body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def front(directory: Path, cloud: Callable[[Request], Answer]) -> Iterator[Front]:
    """The front of a cloud while the block runs; `directory` has been through `certify`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    found = Front(directory)
    server = _Server(cloud, found, context)
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
