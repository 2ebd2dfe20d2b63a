"""The instance metadata service: one per host, on its loopback device, in the host's network namespace.

Only version 2 if the instance's options require it (AWS user guide, "Configure the Instance Metadata
Service"), and not at the link-local address. Credentials of the instance's role come from moto's STS, so that
its policies are enforced.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from lab.cloud import desired_state
from lab.cloud.addresses import METADATA, METADATA_PORT
from lab.cloud.metadata_facts import LIFETIME, facts

TTL = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
CLONE_NEWNET = 0x40000000


@dataclass
class Service:
    """The metadata service of one instance, from `start` to `stop`."""

    id: str
    _server: ThreadingHTTPServer | None = None
    _tokens: dict[str, float] = field(default_factory=dict)
    _credentials: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self) -> None:
        """Listen; OSError if the host's network namespace does not exist."""
        made = threading.Event()
        failed: list[OSError] = []

        def serve() -> None:
            try:
                _enter(self.id)
                self._server = _Server((METADATA, METADATA_PORT), self._handler())
            except OSError as error:
                failed.append(error)
            made.set()
            if self._server is not None:
                self._server.serve_forever(poll_interval=0.2)

        threading.Thread(target=serve, name=f"metadata of {self.id}", daemon=True).start()
        made.wait()
        if failed:
            raise failed[0]

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "EC2ws", ""

            def do_PUT(self) -> None:
                # SDKs accept a token only together with its time to live.
                self._send(*service.put(self.path, dict(self.headers)), {TTL: self.headers.get(TTL, "")})

            def do_GET(self) -> None:
                self._send(*service.get(self.path, dict(self.headers)))

            def _send(self, status: int, text: str, more: dict[str, str] | None = None) -> None:
                body = text.encode() if status == 200 else _error(status)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if status == 200 else "text/html")
                self.send_header("Content-Length", str(len(body)))
                for name, value in (more or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing: the host has no log for these requests."""

        return Handler

    # -- requests: (status, text)

    def put(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """A token with the requested lifetime."""
        lowered = {name.lower(): value for name, value in headers.items()}
        instance = desired_state.instance(self.id)
        if instance is None or path != "/latest/api/token":
            return 404, ""
        if instance.metadata_options.http_endpoint == "disabled" or "x-forwarded-for" in lowered:
            return 403, ""
        seconds = lowered.get(TTL.lower(), "")
        if not seconds.isdigit() or not 1 <= int(seconds) <= LIFETIME:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(seconds)
        return 200, token

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """The instance's metadata; for the path of a folder, the names in it."""
        lowered = {name.lower(): value for name, value in headers.items()}
        instance = desired_state.instance(self.id)
        if instance is None:
            return 404, ""
        if instance.metadata_options.http_endpoint == "disabled":
            return 403, ""
        token = lowered.get("x-aws-ec2-metadata-token")
        if token is None and instance.metadata_options.http_tokens == "required":
            return 401, ""
        if token is not None and self._tokens.get(token, 0) < time.monotonic():
            return 401, ""
        return _find(path, facts(self.id, instance, self._credentials))


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Skips the reverse lookup of its own name, which takes ten seconds if nothing answers."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


def _enter(namespace: str) -> None:
    """Move this thread, and what it starts, to a named network namespace: its new sockets belong there."""
    file = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"network namespace {namespace}")
    finally:
        os.close(file)


def _find(path: str, tree: dict[str, str]) -> tuple[int, str]:
    version, _, rest = path.strip("/").partition("/")
    if version != "latest":
        return 404, ""
    if rest in tree:
        return 200, tree[rest]
    below = [
        known.removeprefix(f"{rest}/" if rest else "")
        for known in tree
        if known.startswith(f"{rest}/"[not rest :])
    ]
    names = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below})
    return (
        (200, "\n".join(names).rstrip("/") if len(names) == 1 else "\n".join(names)) if names else (404, "")
    )


def _error(status: int) -> bytes:
    title = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}[status]
    return (
        f'<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>{status} - {title}</title></head>'
        f"<body><h1>{status} - {title}</h1></body></html>\n"
    ).encode()
