"""Why a request got no answer: the cause, the remedy, and whether waiting could help."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from typing import NamedTuple


class Cause(NamedTuple):
    """`final`: only a change by a person can make it answer."""

    text: str
    remedy: str
    final: bool = False


# OpenSSL's verification codes (x509_vfy.h) → explanation and remedy.
_EXPIRED = "install a new certificate there, and check the clocks of both hosts"
_CERTIFICATES = {
    9: ("is not valid yet", _EXPIRED),
    10: ("has expired", _EXPIRED),
    62: ("is for other names", "install a certificate there whose subjectAltName has this name"),
    64: ("is for other addresses", "install a certificate there whose subjectAltName has this address"),
}
_AUTHORITY = (
    "is signed by a CA that this host does not trust",
    "make this host trust its CA, or serve the whole chain (certificate and intermediates) there",
)
_UNTRUSTED = (2, 18, 19, 20, 21)


def of(error: Exception, host: str, port: int, seconds: float) -> Cause:
    """The cause of what a request raised."""
    address = f"{host}:{port}"
    if isinstance(error, ssl.SSLError):
        return _tls(error, address)
    if isinstance(error, socket.gaierror):
        return _lookup(error, host)
    if isinstance(error, (socket.timeout, TimeoutError)):
        return Cause(
            f"{address} did not answer within {seconds:g} s",
            f"allow this host to reach {address} (firewall, routing), or check in its log what keeps it busy",
        )
    if isinstance(error, ConnectionRefusedError):
        return Cause(
            f"{address} refuses the connection: nothing listens there",
            f"start the service that should listen at {address}, or correct the port; "
            "a firewall that rejects looks the same",
        )
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Cause(
            f"there is no route to {host}", f"correct routing or firewall between this host and {host}"
        )
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
        return Cause(
            f"{address} closed the connection without an answer",
            f"check the log of the service at {address}: is it a proxy, or does it restart?",
        )
    if isinstance(error, http.client.HTTPException):
        return Cause(f"{address} answers, but not with HTTP", f"check what listens at {address}")
    return Cause(f"{type(error).__name__}: {error}", f"check what listens at {address}")


def _lookup(error: socket.gaierror, host: str) -> Cause:
    if error.errno == socket.EAI_AGAIN:
        return Cause(
            f"{host} could not be looked up: no DNS server answered",
            "check this host's DNS server (/etc/resolv.conf)",
        )
    return Cause(
        f"the name {host} does not resolve", f"make {host} resolve on this host (DNS, or /etc/hosts)", True
    )


def _tls(error: ssl.SSLError, address: str) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message
        words, remedy = _CERTIFICATES.get(error.verify_code, _AUTHORITY)
        if error.verify_code not in {*_CERTIFICATES, *_UNTRUSTED}:
            words, remedy = "is not accepted by this host", "correct the certificate there"
        return Cause(
            f"the certificate of {address} {words} (certificate verify failed: {message})", remedy, True
        )
    reason = error.reason or str(error)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return Cause(
            f"{address} speaks plain HTTP, not TLS",
            f"correct the scheme in its URL: the service at {address} speaks plain HTTP",
        )
    if isinstance(error, ssl.SSLEOFError):
        return Cause(
            f"{address} closed the connection during the TLS handshake",
            f"check the log of the service at {address}",
        )
    return Cause(
        f"{address} and this host have no TLS version or cipher in common ({reason})",
        f"enable a TLS version and cipher at {address} that this host supports",
    )
