"""The certificates of created sites: a provided one is valid, and Let's Encrypt can connect."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from config.aws import Tls
from config.errors import ConfigError
from config.model import Deployment, Site

WORLD = "0.0.0.0/0"
UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction in the configuration of certificates."""
    for name, aws in d.created.items():
        key, site = f"sites.{name}.aws.tls", d.sites[name]
        halves = bool(aws.tls.certificate), bool(aws.tls.private_key)
        if any(halves) != all(halves):
            yield ConfigError(
                "certificate-incomplete",
                f"{key}.{'private_key' if halves[0] else 'certificate'}",
                "missing",
                expectation="certificate and private_key, or neither (Let's Encrypt)",
                consequence="NGINX does not start with only one of them",
                example="add it, or remove the other",
            )
        if all(halves):
            yield from _pair(
                key, aws.tls, [site.external_url, site.registry_url, site.own_url, site.own_registry_url]
            )
        yield from _one_scheme(name, site)
        if site.https and not any(halves):
            yield from _names_not_in_certificate(key, site)
        if not site.https and aws.tls != Tls():
            yield ConfigError(
                "certificate-of-http-site",
                key,
                f"provided, and {site.external_url} is not https",
                expectation="tls only for a site whose external_url is https",
                consequence="the site would use no certificate",
                example="remove it, or https in external_url and registry_url",
            )
        if any(halves) and aws.tls.letsencrypt_email:
            yield ConfigError(
                "certificate-with-letsencrypt",
                f"{key}.letsencrypt_email",
                "provided together with a certificate",
                expectation="letsencrypt_email or a certificate, not both",
                consequence="with your own certificate, Let's Encrypt is disabled and never writes to that "
                "address",
                example="remove one of them",
            )
        if site.https and not any(halves) and WORLD not in aws.client_cidrs:
            yield ConfigError(
                "letsencrypt-blocked",
                f"sites.{name}.aws.client_cidrs",
                f"{aws.client_cidrs} blocks Let's Encrypt",
                expectation=f"{WORLD} among client_cidrs, or your own certificate in tls",
                consequence="Let's Encrypt connects to port 80 from addresses that it does not publish; "
                "without that there is no certificate, and the first reconfigure fails",
                example=f"[{WORLD}]",
            )


def _one_scheme(name: str, site: Site) -> Iterator[ConfigError]:
    for key in ("registry_url", "internal_url", "registry_internal_url"):
        url = getattr(site, key) or ""
        if not site.https and url.startswith("https:"):
            yield ConfigError(
                "https-on-http-site",
                f"sites.{name}.{key}",
                f"{url} has TLS and {site.external_url} does not",
                expectation="https in external_url too, or http in both",
                consequence="a created site whose external_url is http has no certificate",
                example=url.replace("https:", "http:"),
            )


def _names_not_in_certificate(key: str, site: Site) -> Iterator[ConfigError]:
    """Let's Encrypt's certificate is for the two public host names (cookbook letsencrypt)."""
    public, internal = (
        {urlsplit(url).hostname for url in urls if url.startswith("https:")}
        for urls in ((site.external_url, site.registry_url), (site.own_url, site.own_registry_url))
    )
    for host in sorted(filter(None, internal - public)):
        yield ConfigError(
            "certificate-missing-for-internal-url",
            f"{key}.certificate",
            f"missing, and Let's Encrypt issues none for {host}",
            expectation="your own certificate for all host names of the site",
            consequence="the other sites would refuse to connect to this one, and verification would fail",
            example="the PEM text of the certificate and its chain",
        )


def _pair(key: str, tls: Tls, urls: list[str]) -> Iterator[ConfigError]:
    """Checked beforehand: NGINX reads the pair at its next start, and does not start with a wrong one."""
    host_names = {urlsplit(url).hostname or "" for url in urls}

    def error(code: str, field: str, value: str, expectation: str, example: str) -> ConfigError:
        why = "NGINX would not start, or every client would refuse to connect to the site"
        return ConfigError(
            code, f"{key}.{field}", value, expectation=expectation, consequence=why, example=example
        )

    try:
        certificate, public, names = _read(tls.certificate or "")
    except UNREADABLE:
        yield error(
            "certificate-invalid",
            "certificate",
            "is not a certificate",
            "certificates in PEM form",
            "the content of fullchain.pem",
        )
        return
    try:
        secret = tls.private_key.get_secret_value() if tls.private_key else ""
        public_of_key = serialization.load_pem_private_key(secret.encode(), None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        yield error(
            "certificate-key-invalid",
            "private_key",
            "[secret] is not a private key",
            "a private key in PEM form, without a passphrase",
            "the content of privkey.pem",
        )
        return
    if public != public_of_key:
        yield error(
            "certificate-key-mismatch",
            "private_key",
            "[secret] belongs to another certificate",
            "the key of this certificate",
            "privkey.pem",
        )
    if certificate.not_valid_after_utc < datetime.now(UTC):
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        yield error(
            "certificate-expired",
            "certificate",
            f"expired on {ended}",
            "a certificate that is valid today",
            "the renewed certificate",
        )
    missing = sorted(host for host in host_names if not _covers(names, host))
    if missing:
        yield error(
            "certificate-names-missing",
            "certificate",
            f"is not for {', '.join(missing)}",
            "a certificate for all host names of the site",
            f"one for {', '.join(sorted(host_names))}",
        )


def _read(pem: str) -> tuple[x509.Certificate, object, set[str]]:
    """The first certificate, its public key and its names. Raises one of UNREADABLE."""
    certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    except x509.ExtensionNotFound:
        known = set()
    return certificate, certificate.public_key(), known


def _covers(known: set[str], host: str) -> bool:
    return host.lower() in known or f"*.{host.lower().partition('.')[2]}" in known
