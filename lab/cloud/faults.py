"""Trouble with AWS' API on demand: calls that fail as they do when AWS throttles or has no capacity left."""

from __future__ import annotations

import io
import json
import threading
import urllib.parse
from wsgiref.types import WSGIEnvironment

PATH = "/moto-api/lab/fail"
"""POST {"action", "code", "message", "times", "status"}: so many calls of this action fail from now on."""

_EC2 = "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors></Response>"
_OTHER = "<ErrorResponse><Error><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"


class Faults:
    """The failures that are still to come, by action of the query protocol (EC2, IAM, STS)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: list[dict[str, str]] = []

    def order(self, environ: WSGIEnvironment) -> None:
        """Remember what is asked for; nothing stays of former orders where "times" is 0."""
        asked = json.loads(_body(environ))
        with self._lock:
            self._coming += [asked] * int(asked["times"])
            if not int(asked["times"]):
                self._coming.clear()

    def due(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """(status, body) of the failure that this request is to have."""
        if not self._coming:
            return None
        action = urllib.parse.parse_qs(_body(environ).decode(errors="replace")).get("Action", [""])[0]
        with self._lock:
            for one in self._coming:
                if one["action"] == action:
                    self._coming.remove(one)
                    shape = _EC2 if "/ec2/aws4_request" in environ.get("HTTP_AUTHORIZATION", "") else _OTHER
                    return one["status"], shape.format(one["code"], one["message"])
        return None


def _body(environ: WSGIEnvironment) -> bytes:
    """The request's body, which can be read once more afterwards."""
    body = bytes(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    environ["wsgi.input"] = io.BytesIO(body)
    return body
