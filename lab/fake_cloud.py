"""A stand-in for Google's, Azure's and Alibaba's storage: it takes down what it is asked, and has no objects.

An HTTP proxy that answers itself, TLS included, whatever host is asked for: so a registry can be seen to come
to the right address with the right credentials. How far it checks them says `Cloud`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lab.authority import Authority

HOSTS = [
    "*.blob.core.windows.net",
    "*.oss-eu-central-1.aliyuncs.com",
    "*.googleapis.com",
    "oauth2.googleapis.com",
]


@dataclass
class Cloud:
    """`asked`: each request as "METHOD https://host/path?query". A wrong signature is answered 401 or 403.

    Checked: Google's signed assertion and the token that it is exchanged for; Alibaba's HMAC. Azure's is only
    looked at for the account's name.
    """

    directory: Path
    public_key: rsa.RSAPublicKey | None = None
    account: str = ""
    oss_key: tuple[str, str] = ("", "")
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def env(self) -> dict[str, str]:
        """What a registry must be started with."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "SSL_CERT_FILE": str(self.directory / "ca.pem")}

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, str, str]:
        """Status, content type and body."""
        self.asked.append(f"{method} {url}")
        parts = urlsplit(url)
        host = parts.hostname or ""
        given = headers.get("Authorization", "")
        if host == "oauth2.googleapis.com":
            assertion = parse_qs(body.decode())["assertion"][0]
            token = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600}
            right = self._signed(assertion)
            return (200, "application/json", json.dumps(token)) if right else (401, "application/json", "{}")
        if host.endswith("googleapis.com"):
            ok = given == "Bearer t0ken"
            return (200 if ok else 401), "application/json", '{"kind":"storage#objects","items":[]}'
        if host.endswith("aliyuncs.com"):
            bucket, date = host.partition(".")[0], headers.get("Date", "")
            text = f"{method}\n\n\n{date}\n/{bucket}/"
            mac = hmac.new(self.oss_key[1].encode(), text.encode(), hashlib.sha1).digest()
            ok = given == f"OSS {self.oss_key[0]}:{base64.b64encode(mac).decode()}"
            listing = f"<ListBucketResult><Name>{bucket}</Name></ListBucketResult>"
            return (200, "application/xml", listing) if ok else (403, "application/xml", "<Error/>")
        if given.startswith(f"SharedKey {self.account}:"):
            return 201 if method == "PUT" else 404, "application/xml", ""
        return 403, "application/xml", ""

    def _signed(self, assertion: str) -> bool:
        signed, _, signature = assertion.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        if self.public_key is None:
            return False
        try:
            self.public_key.verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


@contextmanager
def cloud(directory: Path) -> Iterator[Cloud]:
    """The stand-in, while the block runs."""
    authority = Authority()
    (directory / "ca.pem").write_bytes(authority.pem)
    certificate = authority.issue(HOSTS)
    (directory / "server.pem").write_bytes(certificate.certificate + certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    found = Cloud(directory)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            self.close_connection = False

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = self.path if self.path.startswith("http") else f"https://{self.headers['Host']}{self.path}"
            status, kind, text = found.answer(self.command, url, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else text.encode())

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._any
            raise AttributeError(name)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing on the screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
