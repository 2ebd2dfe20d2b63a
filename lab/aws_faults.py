"""Injected AWS failures: a test configures which calls the lab's AWS refuses or delays, how, and how often.

POST /moto-api/lab/faults with {"action": "RunInstances", "code": "InsufficientInstanceCapacity", "status":
500, "times": 2} refuses the next two such calls; "message", "after" (calls that pass first) and "region" are
optional. "seconds" delays the answer; without a code, the call then succeeds. The action is the API's name of
the call. The requests of S3 and Route 53 do not contain it; use the method and the start of path and query
instead, such as "POST /2013-04-01/hostedzone/". GET lists the pending faults, DELETE removes them.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication

PATH = "/moto-api/lab/faults"
_SCOPE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request")


@dataclass
class Fault:
    """Calls to refuse."""

    action: str
    code: str = ""
    status: int = 400
    message: str = "injected by a test"
    times: int = 1
    after: int = 0
    region: str = ""
    seconds: float = 0


_faults: list[Fault] = []
_lock = threading.Lock()


def install() -> None:
    """Put it in front of every moto server of this process."""
    serve = DomainDispatcherApplication.__call__

    def called(self: Any, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == PATH:
            return _ordered(environ, start_response)
        if environ.get("PATH_INFO") == "/moto-api/reset":
            _faults.clear()
        fault = _due(environ) if _faults else None
        if fault is not None:
            time.sleep(fault.seconds)
        if fault is None or not fault.code:
            answer: Iterable[bytes] = serve(self, environ, start_response)
            return answer
        return _refuse(fault, environ, start_response)

    DomainDispatcherApplication.__call__ = called  # type: ignore[method-assign]


def _ordered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    with _lock:
        if environ["REQUEST_METHOD"] == "POST":
            _faults.append(Fault(**json.loads(_body(environ))))
        elif environ["REQUEST_METHOD"] == "DELETE":
            _faults.clear()
        answer = json.dumps([asdict(fault) for fault in _faults]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


def _due(environ: WSGIEnvironment) -> Fault | None:
    """The fault that applies to this request, if any; it is counted."""
    names, (region, _) = _actions(environ), _scope(environ)
    with _lock:
        for fault in _faults:
            named = any(
                name == fault.action or ("/" in fault.action and name.startswith(fault.action))
                for name in names
            )
            if not named or fault.region not in ("", region):
                continue
            if fault.after:
                fault.after -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                _faults.remove(fault)
            return fault
    return None


def _actions(environ: WSGIEnvironment) -> list[str]:
    names = [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"]
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        names.append(str(target).rpartition(".")[2])
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = _body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        names += parse_qs(body.decode(errors="replace")).get("Action", [])
    return names


def _body(environ: WSGIEnvironment) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _scope(environ: WSGIEnvironment) -> tuple[str, str]:
    """Region and service of a signed request."""
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return (found[1], found[2]) if found else ("", "")


def _refuse(fault: Fault, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    error = f"<Error><Code>{escape(fault.code)}</Code><Message>{escape(fault.message)}</Message></Error>"
    kind, service = "text/xml", _scope(environ)[1]
    if "HTTP_X_AMZ_TARGET" in environ:
        kind, text = (
            "application/x-amz-json-1.1",
            json.dumps({"__type": fault.code, "message": fault.message}),
        )
    elif service == "ec2":
        text = f"<Response><Errors>{error}</Errors><RequestID>lab</RequestID></Response>"
    elif service == "s3":
        text = error
    else:
        text = f"<ErrorResponse>{error}<RequestId>lab</RequestId></ErrorResponse>"
    body = text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-requestid", "lab")]
    start_response(f"{fault.status} Refused", headers)
    return [body]
