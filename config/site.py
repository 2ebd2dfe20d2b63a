"""A site as a user writes it: its nodes, URLs, storage and credentials."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from config.aws import Aws, NodeAws
from config.created_database import CreatedDatabase, CreatedMetadataDatabase
from config.credentials import Credentials
from config.external_registry import ExternalHost, ExternalRegistry
from config.field_types import (
    Address,
    Cidr,
    FieldHelp,
    Flag,
    HostKey,
    HttpAddress,
    Name,
    NonEmptySecret,
    StrictModel,
    Url,
)
from config.metadata_database import Managed, MetadataDatabase, database_form
from config.ssh import Ssh
from config.storage_drivers import NAMES, S3, Drivers

Role = Literal["rails", "sidekiq", "registry"]
ALL_ROLES: frozenset[Role] = frozenset({"rails", "sidekiq", "registry"})


class Node(StrictModel):
    """One node of a site. An existing one has `host` and `host_key`; `aws` is for one that is created."""

    host: Annotated[Address | None, FieldHelp("The name or address of an existing host.")] = None
    host_key: Annotated[
        HostKey | None,
        FieldHelp(
            "The public key of an existing host, which is pinned: the content of "
            "`/etc/ssh/ssh_host_ed25519_key.pub`.",
        ),
    ] = None
    roles: Annotated[
        list[Role],
        Field(min_length=1),
        FieldHelp(
            "What runs on the node: GitLab's web services, its background jobs, the registry.",
            expectation="a list of at least one of rails, sidekiq and registry",
            consequence="the node would get the settings of services that do not run there",
            example="[rails, sidekiq, registry]",
        ),
    ] = sorted(ALL_ROLES)
    registry_http_addr: Annotated[
        HttpAddress | None,
        FieldHelp(
            "Where the registry itself listens, for a load balancer that bypasses the node's NGINX; the "
            "default 127.0.0.1:5000 is reachable from the node only. `:5000` listens on all addresses, IPv6 "
            "included, on a node without Rails, whose NGINX then passes nothing to the registry.",
        ),
    ] = None
    ssh: Annotated[
        Ssh | None,
        FieldHelp(
            "What differs for this node from the site's and the stack's `ssh`.",
            expectation="a map of SSH settings",
            consequence="the program could not connect to the node",
            example="{port: 2222}",
        ),
    ] = None
    aws: Annotated[
        NodeAws,
        FieldHelp(
            "What differs for this node from the site's `aws`.",
            expectation="a map with instance_type, volume_gb, ami or replace",
            consequence="the node's EC2 instance would be created with other settings than you want",
            example="{instance_type: c6i.4xlarge}",
        ),
    ] = NodeAws()

    def has(self, role: Role) -> bool:
        return role in self.roles

    @property
    def has_rails(self) -> bool:
        """Whether GitLab's Rails code runs there: on web and Sidekiq nodes."""
        return self.has("rails") or self.has("sidekiq")


class S3Keys(StrictModel):
    """An existing access key, for storage in which this program cannot create users."""

    access_key: Annotated[
        str,
        StringConstraints(pattern=r"^[!-~]+$"),
        FieldHelp(
            "The id of the access key.",
            expectation="printable ASCII characters without spaces",
            consequence="the registry could not sign its requests",
            example="AKIA…",
        ),
    ]
    secret_key: Annotated[
        NonEmptySecret,
        FieldHelp(
            "The secret of the access key.",
            consequence="the registry could not sign its requests",
            example="pulumi config set --secret --path 'sites.london.s3_keys.secret_key'",
        ),
    ]

    def secrets(self) -> dict[str, str]:
        """Secret's name → its value."""
        return {"s3_access_key": self.access_key, "s3_secret_key": self.secret_key.get_secret_value()}


class Storage(Drivers):
    """Where the registries keep their images: with mode shared in the storage of one driver, named here."""

    mode: Annotated[
        Literal["shared", "per_site"],
        FieldHelp(
            "shared: one storage under all registries, read-only on secondaries. per_site: a storage for "
            "each site, and Geo copies the images.",
            expectation="shared or per_site",
            consequence="the program could not tell whether a registry may write to the primary's live "
            "images",
            example="shared",
        ),
    ]
    data_moved: Annotated[
        Flag,
        FieldHelp(
            "Set it to true when you have copied the images of every registry whose storage changes to the "
            "new storage, and no metadata database has records of them.",
            consequence="a registry could start on a storage without its images",
        ),
    ] = False


def _storage_form(value: Any) -> str:
    """Which form `sites.NAME.storage` has: the word keep, an S3 bucket, or a driver by its name."""
    if isinstance(value, S3 | Drivers):
        return type(value).__name__
    if not isinstance(value, dict):
        return "literal['keep']"
    named = any(key in NAMES for key in value)
    # A misspelled driver is a map too, and so is a misspelled key of a bucket.
    named |= not value.keys() & S3.model_fields.keys() and any(isinstance(v, dict) for v in value.values())
    return "Drivers" if named else "S3"


class Site(StrictModel):
    """A Geo site, named for its place."""

    external_url: Annotated[
        Url,
        FieldHelp(
            "The external URL of the site's GitLab, without a path.",
            example="https://gitlab.london.example.com",
        ),
    ]
    registry_url: Annotated[
        Url,
        FieldHelp(
            "The URL of the site's registry, without a path.",
            consequence="the Linux package refuses a registry URL with a path, and a wrong URL shows only "
            "when images are missing",
        ),
    ]
    internal_url: Annotated[
        Url | None,
        FieldHelp(
            "The URL of the site's own GitLab, where `external_url` is a unified URL of several sites. The "
            "primary's notifications and the verification use it; without it they could reach another site.",
            example="https://gitlab.london.example.com",
        ),
    ] = None
    registry_internal_url: Annotated[
        Url | None,
        FieldHelp(
            "The URL of the site's own registry, where `registry_url` is a unified URL of several sites. "
            "Secondaries copy from the primary's; without it a secondary would copy from itself.",
            example="https://registry.london.example.com:5050",
        ),
    ] = None
    nodes: Annotated[
        dict[Name, Node],
        Field(min_length=1),
        FieldHelp(
            "The site's nodes, each by a name that is unique in the stack.",
            expectation="a map of at least one node, by name",
            consequence="without nodes there is nothing to configure at the site",
            example="{london-1: {host: 10.10.0.11, host_key: ssh-ed25519 AAAA…}}",
        ),
    ]
    aws: Annotated[
        Aws | None,
        FieldHelp(
            "Creates the site's hosts on AWS. Leave it out for existing hosts, which have `host` and "
            "`host_key` on each node.",
            expectation="a map with region, admin_cidrs and a network",
            consequence="the site's hosts would not be created",
            example="{region: eu-west-2, cidr: 10.110.0.0/16, admin_cidrs: [198.51.100.7/32]}",
        ),
    ] = None
    peer_cidrs: Annotated[
        list[Cidr],
        FieldHelp(
            "The addresses from which this site's nodes reach the created sites, whose firewalls allow them; "
            "by default the IPv4 addresses in `nodes.*.host`.",
            expectation="a list of IPv4 ranges",
            consequence="the created sites would block this site's requests",
            example="[203.0.113.20/32]",
        ),
    ] = Field(default_factory=list)
    ssh: Annotated[
        Ssh | None,
        FieldHelp(
            "What differs for this site from the stack's `ssh`.",
            expectation="a map of SSH settings",
            consequence="the program could not connect to the site's nodes",
            example="{user: ubuntu}",
        ),
    ] = None
    storage: Annotated[
        Annotated[
            Annotated[Literal["keep"], Tag("literal['keep']")]
            | Annotated[S3, Tag("S3")]
            | Annotated[Drivers, Tag("Drivers")],
            Discriminator(_storage_form),
        ]
        | None,
        FieldHelp(
            "With `storage.mode: per_site`: an S3 bucket, another driver by its name, or keep, which leaves "
            "the site's registry storage unchanged.",
            expectation="keep, a map of an S3 bucket, or a map with one driver",
            consequence="the registry would have no storage, or use another than you want",
            example="{bucket: acme-registry-london, region: eu-west-1}, or {gcs: {bucket: "
            "acme-registry-london}}",
        ),
    ] = None
    s3_keys: Annotated[
        S3Keys | None,
        FieldHelp(
            "An existing access key, instead of an IAM user that is created for the site.",
            expectation="a map with access_key and secret_key",
            consequence="the registry could not sign its requests",
            example="{access_key: AKIA…, secret_key: …}",
        ),
    ] = None
    credentials: Annotated[
        Credentials,
        FieldHelp(
            "The credentials with which the site's registry uses storage other than S3.",
            expectation="a map with the credentials of one driver",
            consequence="the registry could not use its storage",
            example="{gcs: {credentials: …}} for the driver gcs",
        ),
    ] = Credentials()
    metadata_database: Annotated[
        Annotated[
            Annotated[Managed, Tag("literal['managed']")]
            | Annotated[MetadataDatabase, Tag("MetadataDatabase")]
            | Annotated[CreatedMetadataDatabase, Tag("CreatedMetadataDatabase")],
            Discriminator(database_form),
        ]
        | None,
        FieldHelp(
            "Where the site's registry keeps the metadata of its images. managed: in the PostgreSQL that the "
            "Linux package runs on the registry's node, only on the primary. A map: in a PostgreSQL that "
            "exists, or with `create` in one that the stack creates on AWS. Without it, in its storage: the "
            "metadata database is explicitly disabled.",
            expectation="managed, or a map with host and password, or a map with create",
            consequence="the registry could not use its metadata database",
            example="{host: db.london.example.com, password: …}, or {create: {}}",
        ),
    ] = None
    external_registry: Annotated[
        ExternalRegistry | None,
        FieldHelp(
            "The Linux package does not manage the site's registry: this program edits its `config.yml` on "
            "its hosts, or returns the settings as an output.",
            expectation="a map with hosts, or an empty map",
            consequence="the site's external registry would not be configured",
            example="{hosts: {london-images: {host: 10.10.0.15, host_key: …, config: …, certificate: …, "
            "restart: …}}}, or {}",
        ),
    ] = None
    registry_url_changes: Annotated[
        Flag,
        FieldHelp(
            "Set it to true when the site's registry moves to `registry_url` and all users of its "
            "images know the new address.",
            consequence="images could stop being available at the address that your users have",
        ),
    ] = False
    read_only: Annotated[
        Flag | None,
        FieldHelp(
            "Whether the site's registry refuses pushes and deletes. With shared storage a secondary's must, "
            "and the primary's must not.",
            consequence="a registry could write to images that it must not change, or refuse all pushes",
        ),
    ] = None

    @property
    def own_url(self) -> str:
        """The URL of this site's GitLab only, without a trailing slash."""
        return (self.internal_url or self.external_url).rstrip("/")

    @property
    def own_registry_url(self) -> str:
        """The URL of this site's registry only, without a trailing slash."""
        return (self.registry_internal_url or self.registry_url).rstrip("/")

    @property
    def registry_kind(self) -> Literal["omnibus", "external", "manual"]:
        """Who configures the registry: the Linux package, this program in config.yml, or a person."""
        if self.external_registry is None:
            return "omnibus"
        return "external" if self.external_hosts else "manual"

    @property
    def external_hosts(self) -> dict[str, ExternalHost]:
        """The hosts on which this program edits the registry's config.yml, by name."""
        return self.external_registry.hosts if self.external_registry else {}

    @property
    def created_database(self) -> CreatedDatabase | None:
        """The metadata database that the stack creates for the site."""
        database = self.metadata_database
        return database.create if isinstance(database, CreatedMetadataDatabase) else None

    @property
    def https(self) -> bool:
        return self.external_url.startswith("https:")

    def nodes_with(self, role: Role) -> dict[str, Node]:
        return {name: node for name, node in self.nodes.items() if node.has(role)}

    @property
    def registries(self) -> list[str]:
        """The nodes and hosts on which this stack configures a registry."""
        return [*self.nodes_with("registry"), *self.external_hosts]
