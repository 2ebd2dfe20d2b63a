"""What the config.yml of a registry that is not omnibus' must say: as edits, and as lines for a person.

An edit is as in components/scripts/registry/edits.py: `path`, and `value`, `absent` or `only`. Secrets are
named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from omnibus import notifications
from omnibus.model import Deployment
from omnibus.ruby import Secret
from omnibus.settings import EVENTS_PATH
from omnibus.storage import registry_storage

Edit = dict[str, Any]

SERVICE = "container_registry"
CERTIFICATE = "/etc/docker/registry/gitlab-registry.crt"
"""Where the certificate is to be put, where nobody says where."""
BESIDE_DRIVERS = ("cache", "delete", "maintenance", "redirect", "tag")
"""What stands below `storage` and is no driver (Distribution, configuration.Storage.Type)."""
_KINDS = {"auth": "scheme", "storage": "driver"}
_GEO_EVENT = ("notifications", "endpoints", {"name": "geo_event"})


def realm(d: Deployment, site: str) -> str:
    """Where clients get their tokens."""
    return d.sites[site].external_url.rstrip("/") + "/jwt/auth"


def events_url(d: Deployment) -> str:
    """Where the primary's registry tells of every push."""
    return d.sites[d.primary].own_url + EVENTS_PATH


def edits(d: Deployment, site: str, certificate: str) -> list[Edit]:
    """All that is set in the site's config.yml; `certificate` is the path of the registry certificate."""
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
        # A secondary that notified would be answered 401, or have its events recorded as the primary's.
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
    """Distribution's names for what GitLab's registry calls otherwise.

    Source: Distribution, registry/storage/driver/s3-aws/s3.go. It always sends an ACL; a bucket whose owner
    owns all that is in it takes this one (AWS, "Disabling ACLs for all new buckets").
    """
    found = dict(keys)
    if driver == "s3":
        if found.pop("objectownership", None):
            found["objectacl"] = "bucket-owner-full-control"
        if "pathstyle" in found:
            found["forcepathstyle"] = found.pop("pathstyle")
    return found


def _leaves(path: list[Any], value: Any) -> Iterator[Edit]:
    if isinstance(value, Mapping):
        for key, its in value.items():
            yield from _leaves([*path, key], its)
    else:
        yield {"path": path, "value": value}


def secret_names(some: list[Edit]) -> list[str]:
    """The names of the secrets in these edits, and so all that the registry's host is given."""
    found: dict[str, None] = {}
    json.dumps(some, default=lambda secret: found.setdefault(secret.name))
    return list(found)


def resolved(value: Any, secrets: Mapping[str, Any]) -> Any:
    """The same with each secret's value in the place of its name."""
    if isinstance(value, Secret):
        return secrets[value.name]
    if isinstance(value, Mapping):
        return {key: resolved(its, secrets) for key, its in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(its, secrets) for its in value]
    return value


def preview(d: Deployment, site: str, certificate: str) -> dict[str, str]:
    """The edits for a person to read: `{"auth.token.service": '"container_registry"'}`."""
    found: dict[str, str] = {}
    for edit in edits(d, site, certificate):
        at = _at(edit["path"])
        if "only" in edit:
            found[at] = f"no other {_KINDS[at]} than {edit['only'][0]}"
        elif "absent" in edit:
            found[at] = "none"
        else:
            found |= {
                _at(leaf["path"]): _flow(leaf["value"]) for leaf in _leaves(edit["path"], edit["value"])
            }
    return found


def _at(path: list[Any]) -> str:
    parts = [f"[{part['name']}]" if isinstance(part, dict) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _flow(value: Any) -> str:
    if isinstance(value, Secret):
        return f"secrets['{value.name}']"
    if isinstance(value, list):
        return f"[{', '.join(_flow(its) for its in value)}]"
    return json.dumps(value)


def snippet(d: Deployment, site: str, secrets: Mapping[str, Any]) -> str:
    """The lines for a config.yml that nobody edits here, as YAML, with comments that say where they go."""
    lines: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for edit in edits(d, site, CERTIFICATE):
        first = edit["path"][0]
        if "only" in edit:
            notes[first] = f"# No other {_KINDS[first]} than {edit['only'][0]}."
        elif "value" in edit:
            _put(lines, edit["path"], resolved(edit["value"], secrets))
        else:
            lines.setdefault(first, None)
            notes[first] = f"{notes.get(first, '#')} No {_at(edit['path'])}."
    text = [
        f"# For the config.yml of {site}'s registry: merge these keys into it, one by one; what else it says",
        "# stays. Write `certificate` of this output to rootcertbundle and restart the registry.",
    ]
    for key, value in lines.items():
        text += [notes[key]] if key in notes else []
        if value is not None:
            text.append(yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True).rstrip())
    return "\n".join(text) + "\n"


def _put(at: dict[str, Any], path: list[Any], value: Any) -> None:
    *above, last = path
    for part in above:
        if part == "endpoints":
            at[part] = [value]
            return
        at = at.setdefault(part, {})
    at[last] = value
