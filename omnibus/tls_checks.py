"""The certificates of created sites: one that is given fits, and Let's Encrypt can come in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from omnibus.machines import Tls
from omnibus.model import Deployment, Site
from omnibus.problems import Problem

WORLD = "0.0.0.0/0"
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def problems(d: Deployment) -> Iterator[Problem]:
    """Every contradiction in what is said about certificates."""
    for name, aws in d.created.items():
        key, site = f"sites.{name}.aws.tls", d.sites[name]
        halves = bool(aws.tls.certificate), bool(aws.tls.private_key)
        if any(halves) != all(halves):
            yield Problem(
                f"{key}.{'private_key' if halves[0] else 'certificate'}",
                "missing",
                "nginx would not start with one half of a pair",
                "both, or neither (Let's Encrypt)",
            )
        if all(halves):
            yield from _pair(
                key, aws.tls, [site.external_url, site.registry_url, site.own_url, site.own_registry_url]
            )
        yield from _one_scheme(name, site)
        if site.https and not any(halves):
            yield from _unseen(key, site)
        if not site.https and aws.tls != type(aws.tls)():
            yield Problem(
                key, f"given, and {site.external_url} is not https", "nothing would use it", "remove it"
            )
        if any(halves) and aws.tls.letsencrypt_email:
            yield Problem(
                f"{key}.letsencrypt_email",
                "given beside a certificate",
                "nothing would use it",
                "remove one of them",
            )
        if site.https and not any(halves) and WORLD not in aws.client_cidrs:
            yield Problem(
                f"sites.{name}.aws.client_cidrs",
                f"{aws.client_cidrs} shuts out Let's Encrypt",
                "it looks at port 80 from addresses of its choice; without that there is no certificate, and "
                "the first reconfigure fails",
                f"[{WORLD}], or tls.certificate and tls.private_key",
            )


def _one_scheme(name: str, site: Site) -> Iterator[Problem]:
    for key in ("registry_url", "internal_url", "registry_internal_url"):
        url = getattr(site, key) or ""
        if not site.https and url.startswith("https:"):
            yield Problem(
                f"sites.{name}.{key}",
                f"{url} has TLS and {site.external_url} has not",
                "there would be no certificate for it",
                "https for both",
            )


def _unseen(key: str, site: Site) -> Iterator[Problem]:
    """Let's Encrypt makes its certificate for the two names that people see (cookbook letsencrypt)."""
    seen, own = (
        {urlsplit(url).hostname for url in urls if url.startswith("https:")}
        for urls in ((site.external_url, site.registry_url), (site.own_url, site.own_registry_url))
    )
    for host in sorted(filter(None, own - seen)):
        yield Problem(
            f"{key}.certificate",
            f"missing, and Let's Encrypt makes none for {host}",
            "the other sites would refuse this one, and no proof succeed",
            "a certificate of your own for all of the site's names",
        )


def _pair(key: str, tls: Tls, urls: list[str]) -> Iterator[Problem]:
    """nginx reads a pair at its next start, and would not start with a wrong one: too late to find out."""
    host_names = {urlsplit(url).hostname or "" for url in urls}
    why = "nginx would not start, or every client refuse the site"
    try:
        certificate, public, known = _read(tls.certificate or "")
    except UNREADABLE:
        yield Problem(f"{key}.certificate", "is no certificate in PEM", why, "the text of fullchain.pem")
        return
    try:
        secret = tls.private_key.get_secret_value() if tls.private_key else ""
        own = serialization.load_pem_private_key(secret.encode(), None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        yield Problem(
            f"{key}.private_key", "[secret] is no PEM key without passphrase", why, "the text of privkey.pem"
        )
        return
    if public != own:
        yield Problem(
            f"{key}.private_key",
            "[secret] belongs to another certificate",
            why,
            "the key of this certificate",
        )
    if certificate.not_valid_after_utc < datetime.now(UTC):
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        yield Problem(f"{key}.certificate", f"ended on {ended}", why, "one that is valid")
    missing = sorted(host for host in host_names if not _covers(known, host))
    if missing:
        yield Problem(
            f"{key}.certificate", f"is not for {', '.join(missing)}", why, "one for both host names"
        )


def _read(pem: str) -> tuple[x509.Certificate, object, set[str]]:
    """The first certificate, its public key and its names. What is wrong inside shows when it is read."""
    certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    except x509.ExtensionNotFound:
        known = set()
    return certificate, certificate.public_key(), known


def _covers(known: set[str], host: str) -> bool:
    return host.lower() in known or f"*.{host.lower().partition('.')[2]}" in known
