"""The settings file of a node.

The text holds no secret. It is included by the last line of the administrator's gitlab.rb, so its values win
over theirs, and it reads its secrets from a JSON file that only root can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from omnibus import created_site, notifications, versions
from omnibus.created_site import CreatedNode
from omnibus.node_files import DIRECTORY
from omnibus.ruby import Secret, Value, literal
from omnibus.statements import ApiUrl, Endpoints, Merged, Setting, Statement, Storage

SECRETS_FILE = f"{DIRECTORY}/secrets.json"
"""What the settings read: the program on the node writes it where its payload says."""
EVENTS_PATH = "/api/v4/container_registry_event/events"


@dataclass(frozen=True)
class NodeSettings:
    """`text`: the whole file, which ends with a newline; the same configuration gives the same bytes.

    `preview`: setting → its value as in the file. `secret_names`: the secrets that the file reads, and so the
    only ones in the secrets file.
    """

    text: str
    preview: dict[str, str]
    secret_names: list[str]


@dataclass(frozen=True)
class GitlabNode:
    """The input of a node's settings file. URLs have no trailing slash.

    `registry_internal_url`: leads to this site's registry only; `primary_url` and `primary_registry_url`:
    those of the primary. `database`: `registry['database']`, merged into what gitlab.rb has if
    `database_managed`; `storage`: `registry['storage']`, None if the registry keeps its storage.
    `created`: None on existing nodes.
    """

    name: str
    site: str
    primary: bool
    version: versions.Version
    rails: bool
    sidekiq: bool
    registry: bool
    external_url: str
    registry_url: str
    registry_internal_url: str
    primary_url: str
    primary_registry_url: str
    issuer: str
    replication: bool
    registry_http_addr: str | None
    database: Mapping[str, Value]
    database_managed: bool
    storage: Mapping[str, Value] | None
    created: CreatedNode | None

    @property
    def has_rails(self) -> bool:
        """Whether GitLab's Rails code runs there: on web and Sidekiq nodes."""
        return self.rails or self.sidekiq


def node_settings(node: GitlabNode) -> NodeSettings:
    """The settings file of one node."""
    kind = "primary" if node.primary else "secondary"
    statements = [*_statements(node)]
    lines = [
        f"# {node.name} of {node.site}, the {kind} site: container registry and its Geo replication.",
        "# Written by `pulumi up`; a change made here is undone by the next one.",
        f"secrets = JSON.parse(File.read({literal(SECRETS_FILE)}))",
        *(str(statement) for statement in statements),
    ]
    return NodeSettings(
        "\n".join(lines) + "\n",
        {path: value for statement in statements for path, value in statement.flat().items()},
        [*dict.fromkeys(name for statement in statements for name in statement.secret_names())],
    )


def _statements(node: GitlabNode) -> Iterator[Statement]:
    if node.created:
        yield from created_site.settings(node.created, node.version)
    yield from _key_pair(node)
    yield from _registry(node) if node.registry else _registry_elsewhere(node)
    yield from _primary(node) if node.primary else _secondary(node)


def _key_pair(node: GitlabNode) -> Iterator[Setting]:
    # Always both: the Linux package generates a missing half, and every token would be refused.
    yield Setting("registry", ("internal_key",), Secret("registry_key"))
    yield Setting("registry", ("internal_certificate",), Secret("registry_certificate"))
    yield Setting("registry", ("issuer",), node.issuer)
    yield Setting("gitlab_rails", ("registry_issuer",), node.issuer)


def _registry(node: GitlabNode) -> Iterator[Statement]:
    yield Setting("registry_external_url", (), node.registry_url)
    # The URL enables the registry and sets realm and port only if gitlab.rb does not set them
    # (libraries/registry.rb): settings left there from an earlier setup would stay in effect. A node without
    # Rails has no external_url for the realm either.
    yield Setting("registry", ("enable",), True)
    yield Setting("registry", ("token_realm",), node.external_url)
    yield _port(node)
    if node.registry_http_addr:
        yield Setting("registry", ("registry_http_addr",), node.registry_http_addr)
        if node.registry_http_addr.startswith(":"):
            # NGINX has no upstream without a host: with a registry server, it would not start.
            yield created_site.nginx(node.version, versions.REGISTRY_NGINX, "enable", False)
        # The address may be 0.0.0.0, or may have no TLS.
        yield Setting("gitlab_rails", ("registry_api_url",), node.registry_internal_url)
    elif node.has_rails:
        yield ApiUrl()
    database = Merged if node.database_managed else Setting
    yield database("registry", ("database",), node.database)
    if node.storage is not None:
        yield Setting("registry", ("http_secret",), Secret("http_secret"))
        yield Storage(node.storage)


def _registry_elsewhere(node: GitlabNode) -> Iterator[Setting]:
    # If it is set in gitlab.rb, it overrides the host and the port below.
    yield Setting("registry_external_url", (), None)
    yield Setting("registry", ("enable",), False)
    yield Setting("gitlab_rails", ("registry_enabled",), True)
    yield Setting("gitlab_rails", ("registry_api_url",), node.registry_internal_url)
    # In the same spelling as on a node with a registry: all nodes of a site name images alike.
    yield Setting("gitlab_rails", ("registry_host",), urlsplit(node.registry_url).netloc.partition(":")[0])
    yield _port(node)


def _port(node: GitlabNode) -> Setting:
    # Old versions of Docker fail if a standard port is named, so the Linux package omits it.
    port = urlsplit(node.registry_url).port
    return Setting("gitlab_rails", ("registry_port",), None if port in (80, 443) else port)


def _primary(node: GitlabNode) -> Iterator[Statement]:
    if node.registry:
        yield Endpoints(
            {
                "name": "geo_event",
                "url": node.primary_url + EVENTS_PATH,
                **notifications.settings(node.version),
                "headers": {"Authorization": [Secret("notification_secret")]},
            }
        )
    if node.has_rails:
        yield Setting("gitlab_rails", ("registry_notification_secret",), Secret("notification_secret"))
        # If gitlab.rb leaves it enabled, Geo's worker deletes images on this site until GitLab is promoted.
        yield Setting("gitlab_rails", ("geo_registry_replication_enabled",), False)


def _secondary(node: GitlabNode) -> Iterator[Statement]:
    if node.registry:
        # If a secondary sent notifications, GitLab would answer 401, or record its events as the primary's.
        yield Endpoints(None)
    if node.has_rails:
        yield Setting("gitlab_rails", ("geo_registry_replication_enabled",), node.replication)
        url = node.primary_registry_url
        yield Setting("gitlab_rails", ("geo_registry_replication_primary_api_url",), url)
