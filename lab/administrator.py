"""What a site's administrator has put on its nodes before the first `gitlab-ctl reconfigure`."""

from __future__ import annotations

import datetime
import json
import secrets as entropy
from pathlib import Path
from string import Template
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from lab.authority import Authority
from lab.rootfs import write
from lab.sites import Node, Site

TEMPLATES = Path(__file__).parent / "templates"
KEY_BITS = 2048
"""Bits of a registry key. Generating the real 4096 takes seconds, and nothing here depends on the strength.
"""

Secrets = dict[str, dict[str, Any]]


def common_secrets() -> Secrets:
    """The gitlab-secrets.json that one node of a site has generated, to be copied to the other nodes.

    It has the sections and keys that the lab's `gitlab-ctl` generates if they are missing.
    """
    key = rsa.generate_private_key(65537, KEY_BITS)
    return {
        "gitlab_rails": {name: _hex() for name in ("secret_key_base", "db_key_base", "otp_key_base")},
        "gitlab_shell": {"secret_token": _hex()},
        "gitlab_workhorse": {"secret_token": _hex()},
        "registry": {
            "http_secret": _hex(),
            "internal_certificate": _registry_certificate(key),
            "internal_key": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            ).decode(),
        },
    }


def _hex() -> str:
    return entropy.token_hex(64)


def _registry_certificate(key: rsa.RSAPrivateKey) -> str:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Registry")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    builder = builder.not_valid_after(now + datetime.timedelta(days=3650))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def write_files(host: Path, site: Site, node: Node, authority: Authority, secrets: Secrets | None) -> None:
    """/etc/gitlab: gitlab.rb, certificates for what this node serves, and the site's secrets if there are
    any.
    """
    gitlab = host / "etc/gitlab"
    served = {
        "rails": (site.gitlab_host, site.own_gitlab_host),
        "registry": (site.registry_host, site.own_registry_host),
    }
    for name, own in (served[part] for part in node.runs if part in served):
        issued = authority.issue(list(dict.fromkeys((name, own))))
        write(gitlab / f"ssl/{name}.crt", issued.certificate)
        write(gitlab / f"ssl/{name}.key", issued.key, 0o600)
    write(gitlab / f"trusted-certs/{site.name if site.own_authority else 'lab'}-ca.crt", authority.pem)
    write(gitlab / "gitlab.rb", gitlab_rb(site, node), 0o600)
    if secrets is not None:
        write(gitlab / "gitlab-secrets.json", json.dumps(secrets, indent=2) + "\n", 0o600)


def gitlab_rb(site: Site, node: Node) -> str:
    """The administrator's own gitlab.rb for this node of the site."""
    if node.runs == ("registry",):
        return _template(
            "registry-gitlab.rb",
            site=site.name,
            registry="\n".join(_registry(site)),
            external_url=site.external_url,
        )
    services = []
    if "sidekiq" not in node.runs:
        services += ["sidekiq['enable'] = false"]
    if "rails" not in node.runs:
        services += ["puma['enable'] = false", "nginx['enable'] = false"]
    return _template(
        "gitlab.rb",
        external_url=site.external_url,
        role=f"geo_{site.role}_role",
        site=site.name,
        registry="\n".join(_registry(site) if "registry" in node.runs else _registry_elsewhere(site)),
        services="\n".join(services),
    )


def _template(name: str, **values: str) -> str:
    return Template((TEMPLATES / name).read_text()).substitute(values)


def _registry(site: Site) -> list[str]:
    return [
        f"registry_external_url '{site.registry_url}'",
        "registry['log_level'] = 'info'",
        "registry['storage_delete_enabled'] = true",
        # On a secondary the replicated database is read-only; all sites have the same mode.
        "registry['database'] = { 'enabled' => false }",
    ]


def _registry_elsewhere(site: Site) -> list[str]:
    return [
        "registry['enable'] = false",
        "gitlab_rails['registry_enabled'] = true",
        f"gitlab_rails['registry_host'] = '{site.registry_host}'",
        f"gitlab_rails['registry_api_url'] = '{site.registry_url}'",
    ]
