"""The settings in config.yml of an external registry: as edits, and as lines to add manually.

An edit is as in hosts/external_registry/edits.py: `path`, and `value`, `absent` or `only`. Secrets are
named only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from config.model import Deployment
from omnibus import notifications, ruby
from omnibus.ruby import Secret
from omnibus.settings import EVENTS_PATH
from omnibus.storage_place import BESIDE_DRIVERS
from plan.storage import registry_storage

Edit = dict[str, Any]

SERVICE = "container_registry"
CERTIFICATE = "/etc/docker/registry/gitlab-registry.crt"
"""The default path of the certificate."""
_KINDS = {"auth": "scheme", "storage": "driver"}
_GEO_EVENT = ("notifications", "endpoints", {"name": "geo_event"})


def realm(d: Deployment, site: str) -> str:
    """Where clients get their tokens."""
    return d.sites[site].external_url.rstrip("/") + "/jwt/auth"


def events_url(d: Deployment) -> str:
    """Where the primary's registry sends its notifications."""
    return d.sites[d.primary].own_url + EVENTS_PATH


def edits(d: Deployment, site: str, certificate: str) -> list[Edit]:
    """All edits of the site's config.yml; `certificate` is the path of the registry certificate."""
    return [*_auth(d, site, certificate), _notifications(d, site), *_storage(d, site)]


def _auth(d: Deployment, site: str, certificate: str) -> Iterator[Edit]:
    yield {"path": ["auth"], "only": ["token"]}
    token = {
        "realm": realm(d, site),
        "service": SERVICE,
        "issuer": d.issuer,
        "rootcertbundle": certificate,
    }
    yield from ({"path": ["auth", "token", key], "value": value} for key, value in token.items())


def _notifications(d: Deployment, site: str) -> Edit:
    if site != d.primary:
        # If a secondary sent notifications, GitLab would answer 401, or record its events as the primary's.
        return {"path": [*_GEO_EVENT], "absent": True}
    endpoint = {
        "name": "geo_event",
        "url": events_url(d),
        **notifications.external_settings(),
        "headers": {"Authorization": [Secret("notification_secret")]},
    }
    return {"path": [*_GEO_EVENT], "value": endpoint}


def _storage(d: Deployment, site: str) -> Iterator[Edit]:
    storage = registry_storage(d, site)
    if storage is None:
        return
    driver = next(name for name in storage if name not in BESIDE_DRIVERS)
    yield {"path": ["storage"], "only": [driver, *BESIDE_DRIVERS]}
    yield {"path": ["storage", driver], "value": _distributions(driver, storage[driver])}
    for name in storage:
        if name != driver:
            yield from _leaves(["storage", name], storage[name])
    if not d.read_only(site):
        yield {"path": ["storage", "maintenance", "readonly"], "absent": True}
    yield {"path": ["http", "secret"], "value": Secret("http_secret")}


def _distributions(driver: str, keys: Any) -> dict[str, Any]:
    """Distribution's names of keys that have another name in GitLab's registry.

    Source: Distribution, registry/storage/driver/s3-aws/s3.go. It always sends an ACL; a bucket whose owner
    owns all objects accepts this one (AWS, "Disabling ACLs for all new buckets").
    """
    renamed = dict(keys)
    if driver == "s3":
        if renamed.pop("objectownership", None):
            renamed["objectacl"] = "bucket-owner-full-control"
        if "pathstyle" in renamed:
            renamed["forcepathstyle"] = renamed.pop("pathstyle")
    return renamed


def _leaves(path: list[Any], value: Any) -> Iterator[Edit]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves([*path, key], inner)
    else:
        yield {"path": path, "value": value}


def secret_names(some: list[Edit]) -> list[str]:
    """The names of the secrets in these edits: the only ones that the registry's host gets."""
    return [*dict.fromkeys(ruby.secret_names(some))]


def preview(some: list[Edit]) -> dict[str, str]:
    """The edits for display: `{"auth.token.service": '"container_registry"'}`."""
    lines: dict[str, str] = {}
    for edit in some:
        key = _at(edit["path"])
        if "only" in edit:
            lines[key] = f"no other {_KINDS[key]} than {edit['only'][0]}"
        elif "absent" in edit:
            lines[key] = "none"
        else:
            lines |= {
                _at(leaf["path"]): _flow(leaf["value"]) for leaf in _leaves(edit["path"], edit["value"])
            }
    return lines


def _at(path: list[Any]) -> str:
    parts = [f"[{part['name']}]" if isinstance(part, dict) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _flow(value: Any) -> str:
    if isinstance(value, Secret):
        return f"secrets['{value.name}']"
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    return json.dumps(value)


def snippet(site: str, some: list[Edit], secrets: Mapping[str, Any]) -> str:
    """The lines for a config.yml that you edit manually, as YAML, with comments on where they go."""
    lines: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for edit in some:
        first = edit["path"][0]
        if "only" in edit:
            notes[first] = f"# No other {_KINDS[first]} than {edit['only'][0]}."
        elif "value" in edit:
            _put(lines, edit["path"], ruby.filled(edit["value"], secrets))
        else:
            lines.setdefault(first, None)
            notes[first] = f"{notes.get(first, '#')} No {_at(edit['path'])}."
    text = [
        f"# For the config.yml of {site}'s registry: merge these keys into it, one by one; keep all others.",
        "# Write `certificate` of this output to rootcertbundle and restart the registry.",
    ]
    for key, value in lines.items():
        text += [notes[key]] if key in notes else []
        if value is not None:
            text.append(yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True).rstrip())
    return "\n".join(text) + "\n"


def _put(target: dict[str, Any], path: list[Any], value: Any) -> None:
    *above, last = path
    for part in above:
        if part == "endpoints":
            target[part] = [value]
            return
        target = target.setdefault(part, {})
    target[last] = value
