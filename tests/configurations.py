"""A configuration that is right, to be made wrong in one place by each test."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config.model import Deployment
from config.parsing import parse

HOST_KEY = "ssh-ed25519 " + "A" * 68

SHARED: dict[str, Any] = {
    "gitlab_version": "18.5",
    "primary": "london",
    "ssh": {"user": "ubuntu"},
    "sites": {
        "london": {
            "external_url": "https://gitlab.london.example.com",
            "registry_url": "https://registry.london.example.com",
            "nodes": {"london-1": {"host": "10.10.0.11", "host_key": HOST_KEY}},
        },
        "tokyo": {
            "external_url": "https://gitlab.tokyo.example.com",
            "registry_url": "https://registry.tokyo.example.com",
            "nodes": {"tokyo-1": {"host": "10.20.0.11", "host_key": HOST_KEY}},
        },
    },
    "storage": {"mode": "shared", "s3": {"bucket": "acme-registry", "region": "eu-west-1"}},
}

CREATED: dict[str, Any] = {
    "gitlab_version": "18.5.1",
    "primary": "london",
    "sites": {
        "london": {
            "external_url": "https://gitlab.london.example.com",
            "registry_url": "https://registry.london.example.com",
            "aws": {
                "region": "eu-west-2",
                "cidr": "10.110.0.0/16",
                "admin_cidrs": ["198.51.100.7/32"],
                "client_cidrs": ["0.0.0.0/0"],
                "hosted_zone": "example.com",
            },
            "nodes": {"london-1": {}},
        },
        "tokyo": {
            "external_url": "https://gitlab.tokyo.example.com",
            "registry_url": "https://registry.tokyo.example.com:5050",
            "aws": {
                "region": "ap-northeast-1",
                "cidr": "10.120.0.0/16",
                "admin_cidrs": ["198.51.100.7/32"],
                "client_cidrs": ["0.0.0.0/0"],
                "instance_type": "m7g.xlarge",
            },
            "nodes": {"tokyo-1": {"aws": {"volume_gb": 300}}},
        },
    },
    "storage": {"mode": "shared", "s3": {"bucket": "acme-registry", "region": "eu-west-2"}},
}

Change = Callable[[dict[str, Any]], object]


def certificate(*hosts: str, days: int = 90) -> dict[str, str]:
    """A certificate for these host names and its key, as `tls` takes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=100))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "certificate": made.public_bytes(serialization.Encoding.PEM).decode(),
        "private_key": private.decode(),
    }


def per_site() -> dict[str, Any]:
    """The same sites, each with a bucket of its own."""
    raw = copy.deepcopy(SHARED)
    raw["storage"] = {"mode": "per_site"}
    for name, region in (("london", "eu-west-1"), ("tokyo", "ap-northeast-1")):
        raw["sites"][name]["storage"] = {"bucket": f"acme-{name}", "region": region}
    return raw


def created_databases() -> dict[str, Any]:
    """The created sites, each with a separate bucket and a metadata database that the stack creates."""
    raw = copy.deepcopy(CREATED)
    raw["storage"] = {"mode": "per_site"}
    for name, region in (("london", "eu-west-2"), ("tokyo", "ap-northeast-1")):
        raw["sites"][name] |= {
            "storage": {"bucket": f"acme-{name}", "region": region},
            "metadata_database": {"create": {}},
        }
    return raw


def changed(raw: dict[str, Any], change: Change) -> dict[str, Any]:
    """A copy with one change."""
    raw = copy.deepcopy(raw)
    change(raw)
    return raw


def deployment(raw: dict[str, Any]) -> Deployment:
    """The typed form of a configuration that must be right."""
    parsed, errors = parse(raw)
    assert parsed is not None, errors
    return parsed


def put(*path: str, to: Any) -> Change:
    """Sets the value at a path, and makes what is missing on the way."""

    def change(raw: dict[str, Any]) -> None:
        for key in path[:-1]:
            raw = raw.setdefault(key, {})
        raw[path[-1]] = to

    return change


def drop(*path: str) -> Change:
    """Takes away what is at a path."""

    def change(raw: dict[str, Any]) -> None:
        for key in path[:-1]:
            raw = raw[key]
        del raw[path[-1]]

    return change
