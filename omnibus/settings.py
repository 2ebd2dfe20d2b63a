"""What each node must have in its settings file, from the configuration: one function per role of the site.

The text holds no secret. It is included by the last line of the administrator's gitlab.rb, so its values win
over theirs, and it reads its secrets from a JSON file that only root can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias
from urllib.parse import urlsplit

from omnibus import versions
from omnibus.model import Deployment, Node, Site
from omnibus.ruby import Secret, Value, literal
from omnibus.storage import registry_storage

DIRECTORY = "/etc/gitlab/geo-registry"
SETTINGS_FILE = f"{DIRECTORY}/settings.rb"
SECRETS_FILE = f"{DIRECTORY}/secrets.json"
EVENTS_PATH = "/api/v4/container_registry_event/events"


@dataclass(frozen=True)
class Setting:
    """`registry['issuer'] = 'x'`; without keys a call: `registry_external_url 'x'`."""

    name: str
    keys: tuple[str, ...]
    value: Value

    def __str__(self) -> str:
        if not self.keys:
            return f"{self.name} {literal(self.value)}"
        return f"{self.path} = {literal(self.value)}"

    @property
    def path(self) -> str:
        return self.name + "".join(f"[{literal(key)}]" for key in self.keys)

    def flat(self) -> dict[str, str]:
        """`{"registry['storage']['s3']['bucket']": "'acme'"}`: a line for each single value."""
        return _flat(self.path, self.value)


@dataclass(frozen=True)
class Endpoints:
    """The notification endpoints: the administrator's own stay as they are, `geo_event` is ours."""

    geo_event: Mapping[str, Value] | None

    def __str__(self) -> str:
        theirs = "Array(registry['notifications']).reject { |e| e['name'] == 'geo_event' }"
        ours = f" + {literal([self.geo_event])}" if self.geo_event else ""
        return f"registry['notifications'] = {theirs}{ours}"

    def flat(self) -> dict[str, str]:
        where = "registry['notifications']['geo_event']"
        return _flat(where, self.geo_event) if self.geo_event else {where: "none"}


@dataclass(frozen=True)
class Storage:
    """`registry['storage']`: its driver is ours; how the administrator's registry caches, deletes and
    redirects stays as it is.
    """

    value: Mapping[str, Value]
    OTHERS: ClassVar = ("cache", "delete", "maintenance", "redirect", "tag")

    def __str__(self) -> str:
        theirs = (
            f"(registry['storage'] || {{}}).select {{ |k, _| %w[{' '.join(self.OTHERS)}].include?(k.to_s) }}"
        )
        return f"registry['storage'] = {theirs}.to_h {{ |k, v| [k.to_s, v] }}.merge({literal(self.value)})"

    def flat(self) -> dict[str, str]:
        return _flat("registry['storage']", self.value)


def _flat(path: str, value: Value) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in _flat(f"{path}[{literal(key)}]", inner).items()
        }
    return {path: literal(value)}


Part: TypeAlias = Setting | Endpoints | Storage


def text(d: Deployment, site_name: str, node_name: str) -> str:
    """The whole settings file of one node. Ends with a newline; the same input gives the same bytes."""
    kind = "primary" if site_name == d.primary else "secondary"
    lines = [
        f"# {node_name} of {site_name}, the {kind} site: container registry and its Geo replication.",
        "# Written by `pulumi up`; a change made here is undone by the next one.",
        f"secrets = JSON.parse(File.read({literal(SECRETS_FILE)}))",
        *(str(part) for part in _parts(d, site_name, node_name)),
    ]
    return "\n".join(lines) + "\n"


def preview(d: Deployment, site_name: str, node_name: str) -> dict[str, str]:
    """The same settings for a person to read: setting → its value as it stands in the file."""
    return {path: value for part in _parts(d, site_name, node_name) for path, value in part.flat().items()}


def _parts(d: Deployment, site_name: str, node_name: str) -> Iterator[Part]:
    node = d.sites[site_name].nodes[node_name]
    yield from _key_pair(d)
    yield from _registry(d, site_name) if node.has("registry") else _registry_elsewhere(d.sites[site_name])
    yield from _primary(d, node) if site_name == d.primary else _secondary(d, node)


def secret_names(d: Deployment, site_name: str, node_name: str) -> list[str]:
    """The names of the secrets that the node's settings read, and so all that its secrets file holds."""
    body = text(d, site_name, node_name)
    known = [
        "registry_key",
        "registry_certificate",
        "notification_secret",
        "http_secret",
        "s3_access_key",
        "s3_secret_key",
    ]
    return [name for name in known if literal(Secret(name)) in body]


def _key_pair(d: Deployment) -> Iterator[Setting]:
    # Both or neither: omnibus fills a missing half with a generated one, and every token is refused.
    yield Setting("registry", ("internal_key",), Secret("registry_key"))
    yield Setting("registry", ("internal_certificate",), Secret("registry_certificate"))
    yield Setting("registry", ("issuer",), d.issuer)
    yield Setting("gitlab_rails", ("registry_issuer",), d.issuer)


def _registry(d: Deployment, site_name: str) -> Iterator[Part]:
    yield Setting("registry_external_url", (), d.sites[site_name].registry_url.rstrip("/"))
    # "prefer", the default, would make a secondary's registry use its read-only replicated database.
    yield Setting("registry", ("database",), {"enabled": False})
    storage = registry_storage(d, site_name)
    if storage is not None:
        yield Setting("registry", ("http_secret",), Secret("http_secret"))
        yield Storage(storage)


def _registry_elsewhere(site: Site) -> Iterator[Setting]:
    url = urlsplit(site.registry_url)
    yield Setting("registry", ("enable",), False)
    yield Setting("gitlab_rails", ("registry_enabled",), True)
    yield Setting("gitlab_rails", ("registry_api_url",), site.registry_url.rstrip("/"))
    yield Setting("gitlab_rails", ("registry_host",), url.hostname)
    if url.port not in (None, 80, 443):
        yield Setting("gitlab_rails", ("registry_port",), url.port)


def _primary(d: Deployment, node: Node) -> Iterator[Part]:
    if node.has("registry"):
        retries = versions.NOTIFICATION_RETRIES.name(versions.parse(d.gitlab_version))
        yield Endpoints(
            {
                "name": "geo_event",
                "url": d.sites[d.primary].external_url.rstrip("/") + EVENTS_PATH,
                "timeout": "500ms",
                retries: 5,
                "backoff": "1s",
                "headers": {"Authorization": [Secret("notification_secret")]},
            }
        )
    yield Setting("gitlab_rails", ("registry_notification_secret",), Secret("notification_secret"))


def _secondary(d: Deployment, node: Node) -> Iterator[Part]:
    if node.has("registry"):
        # A secondary that notified would be answered 401, or have its events recorded as the primary's.
        yield Endpoints(None)
    url = d.sites[d.primary].registry_url.rstrip("/")
    yield Setting("gitlab_rails", ("geo_registry_replication_enabled",), d.replication)
    yield Setting("gitlab_rails", ("geo_registry_replication_primary_api_url",), url)
