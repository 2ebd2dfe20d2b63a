"""What each node must have in its settings file, from the configuration: one function per role of the site.

The text holds no secret. It is included by the last line of the administrator's gitlab.rb, so its values win
over theirs, and it reads its secrets from a JSON file that only root can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from omnibus import base, credentials, notifications, versions
from omnibus.model import Deployment, Node, Site
from omnibus.parts import ApiUrl, Endpoints, Part, Setting, Storage
from omnibus.ruby import Secret, Value, literal
from omnibus.storage import registry_storage

DIRECTORY = "/etc/gitlab/geo-registry"
SETTINGS_FILE = f"{DIRECTORY}/settings.rb"
SECRETS_FILE = f"{DIRECTORY}/secrets.json"
EVENTS_PATH = "/api/v4/container_registry_event/events"


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
    yield from base.settings(d, site_name, node)
    yield from _key_pair(d)
    yield from _registry(d, site_name, node) if node.has("registry") else _elsewhere(d.sites[site_name])
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
        "database_password",
        *credentials.secret_names(),
    ]
    return [name for name in known if literal(Secret(name)) in body]


def _key_pair(d: Deployment) -> Iterator[Setting]:
    # Both or neither: omnibus fills a missing half with a generated one, and every token is refused.
    yield Setting("registry", ("internal_key",), Secret("registry_key"))
    yield Setting("registry", ("internal_certificate",), Secret("registry_certificate"))
    yield Setting("registry", ("issuer",), d.issuer)
    yield Setting("gitlab_rails", ("registry_issuer",), d.issuer)


def _registry(d: Deployment, site_name: str, node: Node) -> Iterator[Part]:
    site = d.sites[site_name]
    yield Setting("registry_external_url", (), site.registry_url.rstrip("/"))
    # The URL turns the registry on, and makes realm and port, only where gitlab.rb says nothing of them
    # (libraries/registry.rb): what is left there from an earlier set-up would stay in force. A node without
    # Rails has no external_url to take the realm from either.
    yield Setting("registry", ("enable",), True)
    yield Setting("registry", ("token_realm",), site.external_url.rstrip("/"))
    yield _port(site)
    if node.registry_http_addr:
        yield Setting("registry", ("registry_http_addr",), node.registry_http_addr)
        if node.registry_http_addr.startswith(":"):
            # nginx has no upstream without a host: with a server for the registry it would not start.
            yield base.nginx(d, versions.REGISTRY_NGINX, "enable", False)
        # The address may be 0.0.0.0 or plain.
        yield Setting("gitlab_rails", ("registry_api_url",), site.own_registry_url)
    elif node.has_rails:
        yield ApiUrl()
    yield Setting("registry", ("database",), _database(site))
    storage = registry_storage(d, site_name)
    if storage is not None:
        yield Setting("registry", ("http_secret",), Secret("http_secret"))
        yield Storage(storage)


def _database(site: Site) -> dict[str, Value]:
    database = site.metadata_database
    if database is None:
        # "prefer", the default, would make a secondary's registry use its read-only replicated database.
        return {"enabled": False}
    return {
        "enabled": True,
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "password": Secret("database_password"),
        "dbname": database.name,
        "sslmode": database.sslmode,
    }


def _elsewhere(site: Site) -> Iterator[Setting]:
    url = urlsplit(site.registry_url)
    # In gitlab.rb it would win over the host and the port below.
    yield Setting("registry_external_url", (), None)
    yield Setting("registry", ("enable",), False)
    yield Setting("gitlab_rails", ("registry_enabled",), True)
    yield Setting("gitlab_rails", ("registry_api_url",), site.own_registry_url)
    # As it is written, like omnibus beside a registry: all of a site's nodes name images alike.
    yield Setting("gitlab_rails", ("registry_host",), url.netloc.partition(":")[0])
    yield _port(site)


def _port(site: Site) -> Setting:
    # Old versions of Docker fail where a standard port is named, so omnibus leaves such a one out.
    port = urlsplit(site.registry_url).port
    return Setting("gitlab_rails", ("registry_port",), None if port in (80, 443) else port)


def _primary(d: Deployment, node: Node) -> Iterator[Part]:
    if node.has("registry"):
        yield Endpoints(
            {
                "name": "geo_event",
                "url": d.sites[d.primary].own_url + EVENTS_PATH,
                **notifications.settings(versions.parse(d.gitlab_version)),
                "headers": {"Authorization": [Secret("notification_secret")]},
            }
        )
    if node.has_rails:
        yield Setting("gitlab_rails", ("registry_notification_secret",), Secret("notification_secret"))


def _secondary(d: Deployment, node: Node) -> Iterator[Part]:
    if node.has("registry"):
        # A secondary that notified would be answered 401, or have its events recorded as the primary's.
        yield Endpoints(None)
    if node.has_rails:
        url = d.sites[d.primary].own_registry_url
        yield Setting("gitlab_rails", ("geo_registry_replication_enabled",), d.replication)
        yield Setting("gitlab_rails", ("geo_registry_replication_primary_api_url",), url)
