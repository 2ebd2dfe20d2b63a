"""A host with a registry and a GitLab that are only as much as the program on it looks at."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from hosts.external_registry.main import Main
from plan.node import external_plan
from tests.configurations import changed, deployment, put
from tests.invalid_configs.topologies import EXTERNAL

SECRET = "notification-secret-of-the-stack"
REALM = "https://gitlab.london.example.com/jwt/auth"
# The interpreter is not in the first line: there a path must be without spaces. To Python that part is a text.
RESTART = """#!/bin/sh
''':'
exec {python} "$0"
'''
import pathlib, shutil, sys
here = pathlib.Path(__file__).parent
with (here / "restarts").open("a") as log:
    log.write("x")
if (here / "fails").exists() and (here / "fails").read_text() in (here / "config.yml").read_text():
    print("setting up; password-of-the-database")
    print([line for line in (here / "config.yml").read_text().splitlines() if "Authorization" in line])
    print("the registry panicked")
    sys.exit(3)
shutil.copy(here / "config.yml", here / "running.yml")
"""
CONFIG = """\
version: 0.1   # the only one there is
storage:
  filesystem: {{rootdirectory: {directory}/images}}   # a disk of its own
http:
  addr: 127.0.0.1:{port}
  secret: password-of-the-administrator
auth:
  htpasswd: {{realm: basic, path: /etc/htpasswd}}

notifications:
  endpoints:
  - name: audit  # do not remove
    url: http://127.0.0.1:7070/
"""


class Host:
    """`config` and `certificate` are its files; `order` is what the stack would tell its program."""

    def __init__(self, directory: Path, port: int) -> None:
        self.dir = directory
        self.config, self.certificate = directory / "config.yml", directory / "gitlab.crt"
        self.config.write_text(CONFIG.format(directory=directory, port=port))
        self.original = self.config.read_bytes()
        restart = directory / "restart"
        restart.write_text(RESTART.format(python=shlex.quote(sys.executable)))
        restart.chmod(0o755)
        (directory / "running.yml").write_bytes(self.original)
        (directory / "images").mkdir()
        token = {
            "realm": REALM,
            "service": "container_registry",
            "issuer": "omnibus-gitlab-issuer",
            "rootcertbundle": str(self.certificate),
        }
        events = f"http://127.0.0.1:{port}/events"
        endpoint = {"name": "geo_event", "url": events, "headers": {"Authorization": [SECRET]}}
        self.order: dict[str, Any] = {
            "node": "london-images",
            "site": "london",
            "owner": "acme/gitlab-geo-registry/prod",
            "resource": "primary/london-images",
            "config": str(self.config),
            "certificate": str(self.certificate),
            "certificate_text": "CERTIFICATE\n",
            "restart": str(restart),
            "edits": [
                {"path": ["auth"], "only": ["token"]},
                *({"path": ["auth", "token", key], "value": value} for key, value in token.items()),
                {"path": ["notifications", "endpoints", {"name": "geo_event"}], "value": endpoint},
            ],
            "secrets": {"notification_secret": SECRET},
            "storage": None,
            "data_moved": False,
            "challenge": {"realm": REALM, "service": "container_registry"},
            "events_url": events,
            "registry_url": f"http://127.0.0.1:{port}",
            "alone": True,
            "revoked": [],
            "reconfigure_seconds": 60,
        }

    def program(self, **changes: Any) -> Main:
        """The program with its order, where it keeps its state in this directory."""
        order = json.loads(json.dumps(self.order | changes))
        return Main(order, str(self.dir / "own"), str(self.dir / "lock"))

    def apply(self, **changes: Any) -> dict[str, Any]:
        return self.program(**changes).run("apply")

    def trust(self, **changes: Any) -> dict[str, Any]:
        """The first step of a rotation of the registry key, with the part of the order that it gets."""
        d = deployment(changed(EXTERNAL, put("rotate", to={"registry_key": 1})))
        sent = {"owner", *(external_plan(d, "london", "london-images").trust or {})}
        order = {key: value for key, value in (self.order | changes).items() if key in sent}
        return Main(order, str(self.dir / "own"), str(self.dir / "lock")).run("trust")

    def verify(self, **changes: Any) -> dict[str, Any]:
        return self.program(**changes).run("verify")

    def undo(self, **changes: Any) -> dict[str, Any]:
        return self.program(**changes).run("undo")

    @property
    def restarts(self) -> int:
        log = self.dir / "restarts"
        return len(log.read_text()) if log.exists() else 0

    @property
    def says(self) -> Any:
        """What the configuration says now."""
        return yaml.safe_load(self.config.read_text())

    def fails(self, where: str) -> None:
        """Have the restart fail with configurations that have this text."""
        (self.dir / "fails").write_text(where)

    def untidy(self) -> list[str]:
        """What the program has left besides the files that are meant."""
        mine = {
            "config.yml",
            "gitlab.crt",
            "running.yml",
            "restart",
            "restarts",
            "images",
            "lock",
            "fails",
            "own",
        }
        return sorted(path.name for path in self.dir.iterdir() if path.name not in mine)


class _Answers(BaseHTTPRequestHandler):
    """The registry by the configuration that it was restarted with, and GitLab's events."""

    directory: Path
    accepted: str

    def do_GET(self) -> None:
        token = yaml.safe_load((self.directory / "running.yml").read_text())["auth"].get("token", {})
        self.send_response(401)
        challenge = (
            f'Bearer realm="{token["realm"]}",service="{token["service"]}"' if token else 'Basic realm="x"'
        )
        self.send_header("WWW-Authenticate", challenge)
        self.end_headers()

    def do_POST(self) -> None:
        accepted = self.accepted in ("any", self.headers["Authorization"])
        self.send_response(200 if accepted else 502 if self.accepted == "starting" else 401)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing in the output."""


@contextmanager
def running(directory: Path) -> Iterator[tuple[Host, type[_Answers]]]:
    """The host, and what answers there: its `accepted` is the secret that GitLab accepts."""

    class Answers(_Answers):
        pass

    Answers.directory, Answers.accepted = directory, SECRET
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield Host(directory, server.server_port), Answers
    finally:
        server.shutdown()
        server.server_close()
