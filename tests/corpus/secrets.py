"""All secrets that the program has for a site's nodes: those it makes, and those that the configuration gives."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.values import SECRET, Raw

MADE = {
    "registry_key": f"-----BEGIN {SECRET}-----\nkey'#{{x}}\n",
    "registry_certificate": f"-----BEGIN {SECRET}-----\ncertificate\n",
    "notification_secret": f"{SECRET}.notification",
}
OF_DRIVERS = {
    "gcs": ("credentials",),
    "azure": ("accountkey", "secret"),
    "swift": ("password", "secretkey", "accesskey"),
    "oss": ("accesskeyid", "accesskeysecret"),
}


def secrets_of(raw: Raw, site: str) -> Raw:
    """Secret's name → value. One http_secret for all registries on one storage."""
    its = raw["sites"][site]
    storage = "all" if raw["storage"]["mode"] == "shared" else site
    found: dict[str, Any] = {**MADE, "http_secret": f"{SECRET}.http.{storage}"}
    keys = its.get("s3_keys", {"access_key": f"AKIA{SECRET}", "secret_key": f"{SECRET}.{site}.made"})
    found |= {f"s3_{name}": value for name, value in keys.items()}
    if isinstance(its.get("metadata_database"), dict):
        made = f"{SECRET}.{site}.database"
        found["database_password"] = its["metadata_database"].get("password", made)
    for driver, provided in its.get("credentials", {}).items():
        found |= {f"{driver}_{name}": provided[name] for name in OF_DRIVERS[driver] if name in provided}
    if "gcs_credentials" in found:
        found["gcs_credentials"] = json.loads(found["gcs_credentials"])
    return found
