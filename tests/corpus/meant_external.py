"""What the config.yml of a registry that is not omnibus' must say, stated apart from the program."""

from __future__ import annotations

import copy
from typing import Any

from tests.corpus.expected_settings import EVENTS, KEPT, Meant, own, plain
from tests.corpus.values import Raw

# What an administrator's registry may say before.
CONFIGS = (
    "version: 0.1\n",
    """\
version: 0.1
log: {level: info}
storage:
  filesystem:
    rootdirectory: /var/lib/registry
  delete: {enabled: true}
  maintenance:
    readonly: {enabled: true}
    uploadpurging: {age: 168h}
http:
  addr: :5000  # behind nginx
  secret: old
auth:
  htpasswd: {realm: basic, path: /x}
notifications:
  endpoints:
    - name: geo_event
      url: https://old
      headers: {Authorization: [old]}
    - name: "theirs"
      url: https://theirs
""",
    "{version: 0.1, storage: {s3: {bucket: old, region: x}, redirect: {disable: true}}, auth: {token: {realm: old, autoredirect: true}}}\n",
)


def config(raw: Raw, site: str, secrets: Raw, theirs: Raw, certificate: str) -> Raw:
    """All that is said in the end: `theirs`, with what Geo and the storage need."""
    node = next(iter(raw["sites"][site]["nodes"]))
    meant = Meant(raw, site, node, secrets, {})
    found: dict[str, Any] = copy.deepcopy(theirs)
    token = found.get("auth", {}).get("token", {}) | {
        "realm": plain(meant.site["external_url"]) + "/jwt/auth",
        "service": "container_registry",
        "issuer": raw.get("issuer", "omnibus-gitlab-issuer"),
        "rootcertbundle": certificate,
    }
    found["auth"] = {"token": token}
    endpoints = [e for e in found.get("notifications", {}).get("endpoints", []) if e["name"] != "geo_event"]
    endpoints += [_geo_event(meant)] if meant.primary else []
    if endpoints:
        found["notifications"] = {"endpoints": endpoints}
    storage = meant.storage()
    if storage:
        found["http"] = found.get("http", {}) | {"secret": secrets["http_secret"]}
        found["storage"] = _storage(found.get("storage", {}), storage)
    return found


def _geo_event(meant: Meant) -> Raw:
    return {
        "name": "geo_event",
        "url": own(meant.first, "gitlab") + EVENTS,
        "timeout": "5s",
        "threshold": 5,
        "maxretries": 40,
        "backoff": "1s",
        "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
        "headers": {"Authorization": [meant.secrets["notification_secret"]]},
    }


def _storage(theirs: Raw, own: Raw) -> Raw:
    found = {key: value for key, value in theirs.items() if key in KEPT}
    for key, value in own.items():
        if key == "maintenance":
            former = found.get(key, {})
            value = {part: former.get(part, {}) | its for part, its in value.items()}  # noqa: PLW2901
        found[key] = _distributions(value) if key == "s3" else value
    if "maintenance" not in own and "maintenance" in found:
        found["maintenance"] = {key: its for key, its in found["maintenance"].items() if key != "readonly"}
    return found


def _distributions(keys: Raw) -> Raw:
    """Distribution's S3 driver sends an ACL whatever is said, and has another name for URLs by path."""
    found = {key: value for key, value in keys.items() if key not in {"objectownership", "pathstyle"}}
    found |= {"objectacl": "bucket-owner-full-control"} if keys.get("objectownership") else {}
    return found | ({"forcepathstyle": keys["pathstyle"]} if "pathstyle" in keys else {})
