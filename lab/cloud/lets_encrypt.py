"""A stand-in for Let's Encrypt: certificates of the lab's CA for names that are validated over HTTP.

Like the real one, it connects from anywhere on the Internet, on port 80, to the address that the name
resolves to. The protocol with the client is the lab's own; the errors are those of RFC 8555, in Let's
Encrypt's words.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab.authority import Authority
from lab.cloud.addresses import CERTIFICATE_AUTHORITY

HOST = "acme-v02.api.letsencrypt.org"
SECONDS = 1
"""How long a server may take to answer; ten in reality."""


class Invalid(Exception):
    """A name that is not validated: (kind of error, message for the client)."""


def answer(authority: Authority, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A certificate for {"names", "token", "proof", "key"}: the public key, PEM, and the expected proof."""
    order = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    try:
        for name in order["names"]:
            check(name, order["token"], order["proof"])
    except Invalid as error:
        kind, detail = error.args
        problem = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": 400}
        return _send(start_response, "400 Bad Request", json.dumps(problem).encode())
    key = serialization.load_pem_public_key(order["key"].encode())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return _send(start_response, "400 Bad Request", b"{}")
    return _send(start_response, "200 OK", authority.certify(order["names"], key))


def check(name: str, token: str, proof: str) -> None:
    """Invalid unless the name's own server serves the proof."""
    path = f"/.well-known/acme-challenge/{token}"
    try:
        address = socket.gethostbyname(name)
    except OSError as error:
        hint = "check that a DNS record exists for this domain"
        raise Invalid("dns", f"DNS problem: NXDOMAIN looking up A for {name} - {hint}") from error
    connection = http.client.HTTPConnection(address, 80, SECONDS, (CERTIFICATE_AUTHORITY, 0))
    try:
        connection.request("GET", path, headers={"Host": name})
        found = connection.getresponse()
        status, text = found.status, found.read().decode(errors="replace")
    except TimeoutError as error:
        detail = f"{address}: Fetching http://{name}{path}: Timeout during connect (likely firewall problem)"
        raise Invalid("connection", detail) from error
    except (OSError, http.client.HTTPException) as error:
        raise Invalid("connection", f"{address}: Fetching http://{name}{path}: {error}") from error
    finally:
        connection.close()
    if (status, text) != (200, proof):
        raise Invalid("unauthorized", f"{address}: Invalid response from http://{name}{path}: {status}")


def _send(start_response: StartResponse, status: str, body: bytes) -> list[bytes]:
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]
