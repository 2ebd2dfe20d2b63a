"""Why nothing answered: in words, with what to do about it, and whether waiting could help."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from typing import NamedTuple


class Cause(NamedTuple):
    """`final`: nothing but a change of somebody's makes it answer."""

    text: str
    remedy: str
    final: bool = False


# OpenSSL's verification codes (x509_vfy.h) → the same in words, and what to do.
_EXPIRED = "put a new certificate there, and check the clocks of both hosts"
_CERTIFICATES = {
    9: ("is not valid yet", _EXPIRED),
    10: ("has expired", _EXPIRED),
    62: ("is for other names", "put a certificate there whose subjectAltName has this name"),
    64: ("is for other addresses", "put a certificate there whose subjectAltName has this address"),
}
_AUTHORITY = (
    "is signed by an authority that this host does not trust",
    "have this host trust its authority, or the whole chain (certificate and intermediates) served there",
)
_UNTRUSTED = (2, 18, 19, 20, 21)


def of(error: Exception, host: str, port: int, seconds: float) -> Cause:
    """The cause of what a request raised."""
    at = f"{host}:{port}"
    if isinstance(error, ssl.SSLError):
        return _tls(error, at)
    if isinstance(error, socket.gaierror):
        return _lookup(error, host)
    if isinstance(error, (socket.timeout, TimeoutError)):
        return Cause(
            f"{at} did not answer within {seconds:g} s",
            f"let this host reach {at} (firewall, routing), or see what keeps it busy in its log",
        )
    if isinstance(error, ConnectionRefusedError):
        return Cause(
            f"{at} refuses the connection: nothing listens there",
            f"start what is to listen at {at}, or correct the port; a firewall that rejects looks the same",
        )
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Cause(
            f"there is no route to {host}", f"correct routing or firewall between this host and {host}"
        )
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
        return Cause(
            f"{at} closed the connection without an answer",
            f"see the log of what listens at {at}: is it a proxy, or does it restart?",
        )
    if isinstance(error, http.client.HTTPException):
        return Cause(f"{at} answers, but not with HTTP", f"see what listens at {at}")
    return Cause(f"{type(error).__name__}: {error}", f"see what listens at {at}")


def _lookup(error: socket.gaierror, host: str) -> Cause:
    if error.errno == socket.EAI_AGAIN:
        return Cause(
            f"{host} could not be looked up: no DNS server answered",
            "see to this host's DNS server (/etc/resolv.conf)",
        )
    return Cause(
        f"the name {host} does not resolve", f"let {host} resolve on this host (DNS, or /etc/hosts)", True
    )


def _tls(error: ssl.SSLError, at: str) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        words, remedy = _CERTIFICATES.get(error.verify_code, _AUTHORITY)
        if error.verify_code not in {*_CERTIFICATES, *_UNTRUSTED}:
            words, remedy = "is not accepted here", "correct the certificate there"
        return Cause(f"the certificate of {at} {words} (certificate verify failed: {said})", remedy, True)
    reason = error.reason or str(error)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return Cause(
            f"{at} speaks plain HTTP, not TLS", f"correct the scheme in its URL: plain HTTP is spoken at {at}"
        )
    if isinstance(error, ssl.SSLEOFError):
        return Cause(
            f"{at} closed the connection during the TLS handshake", f"see the log of what listens at {at}"
        )
    return Cause(
        f"{at} and this host agree on no TLS ({reason})",
        f"allow a TLS version and cipher at {at} that this host knows",
    )
