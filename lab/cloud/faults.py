"""Injected failures of the AWS API: calls that fail as when AWS throttles or lacks capacity."""

from __future__ import annotations

import io
import json
import threading
import urllib.parse
from wsgiref.types import WSGIEnvironment

PATH = "/moto-api/lab/fail"
"""POST {"action", "code", "message", "times", "status"}: the next `times` calls of this action fail."""

_EC2 = "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors></Response>"
_OTHER = "<ErrorResponse><Error><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"


class Faults:
    """The pending failures, by action of the query protocol (EC2, IAM, STS)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: list[dict[str, str]] = []

    def order(self, environ: WSGIEnvironment) -> None:
        """Store the requested failures; "times" 0 removes all."""
        asked = json.loads(_body(environ))
        with self._lock:
            self._coming += [asked] * int(asked["times"])
            if not int(asked["times"]):
                self._coming.clear()

    def due(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """(status, body) of the failure for this request."""
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
    """The request's body, which can be read again afterwards."""
    body = bytes(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    environ["wsgi.input"] = io.BytesIO(body)
    return body
