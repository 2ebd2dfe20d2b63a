"""The typed, closed shape of the stack's configuration: sites → nodes, storage, primary, version.

Each field carries what a refusal has to say about it: the consequence of a bad value and a valid
example (`Doc`). What two fields say together is checked in `checks.py`; storage drivers: `drivers.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from omnibus import versions
from omnibus.credentials import Credentials, Keys
from omnibus.drivers import NAMES, S3, Driver, Drivers
from omnibus.fields import (
    LARGEST,
    Address,
    Cidr,
    Closed,
    Doc,
    Hidden,
    HostKey,
    HttpAddress,
    Name,
    Url,
)
from omnibus.machines import Aws, NodeAws
from omnibus.registries import ExternalHost, ExternalRegistry, MetadataDatabase
from omnibus.ssh import Ssh

__all__ = ["S3", "Deployment", "Node", "Site", "Ssh"]

Role = Literal["rails", "sidekiq", "registry"]
ALL_ROLES: frozenset[Role] = frozenset({"rails", "sidekiq", "registry"})


class Node(Closed):
    """One server of a site. One that exists has `host` and `host_key`; `aws` is about one to be created."""

    host: Annotated[Address | None, Doc("the node could not be reached", "10.10.0.11")] = None
    """The name or address of a host that exists."""
    host_key: HostKey | None = None
    """The own public key of a host that exists, which is pinned: /etc/ssh/ssh_host_ed25519_key.pub."""
    roles: Annotated[
        list[Role],
        Field(min_length=1),
        Doc("the node would get the settings of another kind of server", "[rails, sidekiq, registry]"),
    ] = sorted(ALL_ROLES)
    """What runs there: GitLab's web servers, its background jobs, the registry."""
    registry_http_addr: Annotated[
        HttpAddress | None,
        Doc(
            "where the registry itself listens, for a load balancer that does not come through the node's "
            "nginx; omnibus' 127.0.0.1:5000 can be reached from the node alone. :5000 is all addresses, IPv6 "
            "too, on a node without Rails, whose nginx then passes nothing on to the registry",
            "10.10.0.14:5000",
        ),
    ] = None
    ssh: Annotated[Ssh | None, Doc("the node could not be reached", "{port: 2222}")] = None
    """What differs for this node from the site's and the stack's `ssh`."""
    aws: Annotated[
        NodeAws, Doc("the node's server would not be as meant", "{instance_type: c6i.4xlarge}")
    ] = NodeAws()
    """What differs for this node's server from the site's `aws`."""

    def has(self, role: Role) -> bool:
        return role in self.roles

    @property
    def has_rails(self) -> bool:
        """Whether GitLab's own code runs there: the web nodes and Sidekiq's."""
        return self.has("rails") or self.has("sidekiq")


class S3Keys(Closed):
    """A key pair that exists, for storage that is not ours to make users in."""

    access_key: Annotated[
        str, StringConstraints(pattern=r"^[!-~]+$"), Doc("the registry could not sign its requests", "AKIA…")
    ]
    """The access key's id."""
    secret_key: Annotated[
        Hidden,
        Doc(
            "the registry could not sign its requests",
            "pulumi config set --secret --path 'sites.london.s3_keys.secret_key'",
        ),
    ]
    """The access key's secret."""

    def secrets(self) -> dict[str, str]:
        """Secret's name → its value."""
        return {"s3_access_key": self.access_key, "s3_secret_key": self.secret_key.get_secret_value()}


class Storage(Drivers):
    """Where the registries keep their images: with mode shared by one driver, named here."""

    mode: Annotated[
        Literal["shared", "per_site"],
        Doc(
            "shared: one bucket under all registries, secondaries read only; "
            "per_site: each site its own, images are copied",
            "shared",
        ),
    ]
    data_moved: Annotated[
        bool,
        Doc(
            "true says: the images of every registry whose storage changes have been copied to the new "
            "place, and no metadata database holds anything about them",
            "true",
        ),
    ] = False


def _spelling(value: Any) -> str:
    """Which form of `sites.NAME.storage` is meant: a word, a bucket of S3, or a driver by its name."""
    if isinstance(value, S3 | Drivers):
        return type(value).__name__
    if not isinstance(value, dict):
        return "literal['keep']"
    named = any(key in NAMES for key in value)
    # A driver with a typo is a mapping too, and so is a key of a bucket with one.
    named |= not value.keys() & S3.model_fields.keys() and any(isinstance(v, dict) for v in value.values())
    return "Drivers" if named else "S3"


class Site(Closed):
    """A whole GitLab, named for its place."""

    external_url: Annotated[
        Url,
        Doc("tokens would be asked for where this GitLab is not", "https://gitlab.london.example.com"),
    ]
    """The URL of the site's GitLab, without a path."""
    registry_url: Url
    """The URL of the site's registry, without a path."""
    internal_url: Annotated[
        Url | None,
        Doc(
            "the site's own GitLab where external_url is one for several sites: the primary's notifications "
            "and the proof go there; without it they could come to another site",
            "https://gitlab.london.example.com",
        ),
    ] = None
    registry_internal_url: Annotated[
        Url | None,
        Doc(
            "the site's own registry where registry_url is one for several sites: secondaries copy from the "
            "primary's; without it a secondary would copy from itself",
            "https://registry.london.example.com:5050",
        ),
    ] = None
    nodes: Annotated[
        dict[Name, Node],
        Field(min_length=1),
        Doc(
            "a site without a node has nothing to configure",
            "{london-1: {host: 10.10.0.11, host_key: ssh-ed25519 AAAA…}}",
        ),
    ]
    """The site's servers, each by a name that no other site's has."""
    aws: Annotated[
        Aws | None,
        Doc(
            "the site's hosts are created (aws) or are there already (host and host_key of each node)",
            "{region: eu-west-2, cidr: 10.110.0.0/16, admin_cidrs: [198.51.100.7/32]}",
        ),
    ] = None
    peer_cidrs: Annotated[
        list[Cidr],
        Doc(
            "created sites let this one in by the addresses its nodes are seen with from outside; "
            "without them those in nodes.*.host",
            "[203.0.113.20/32]",
        ),
    ] = Field(default_factory=list)
    ssh: Annotated[Ssh | None, Doc("the site's nodes could not be reached", "{user: ubuntu}")] = None
    """What differs for this site from the stack's `ssh`."""
    storage: Annotated[
        Annotated[
            Annotated[Literal["keep"], Tag("literal['keep']")]
            | Annotated[S3, Tag("S3")]
            | Annotated[Drivers, Tag("Drivers")],
            Discriminator(_spelling),
        ]
        | None,
        Doc(
            "with storage.mode per_site: an S3 bucket, another driver by its name, or keep to leave the "
            "site's registry storage as it is",
            "{bucket: acme-registry-london, region: eu-west-1}, or {gcs: {bucket: acme-registry-london}}",
        ),
    ] = None
    s3_keys: Annotated[
        S3Keys | None,
        Doc(
            "keys that exist, instead of an IAM user made for the site", "{access_key: AKIA…, secret_key: …}"
        ),
    ] = None
    credentials: Annotated[
        Credentials,
        Doc(
            "without credentials the registry could not use its storage",
            "{gcs: {credentials: …}} for the driver gcs",
        ),
    ] = Credentials()
    """As whom the site's registry comes to storage that is not S3."""
    metadata_database: Annotated[
        MetadataDatabase | None,
        Doc(
            "a PostgreSQL of the site's own for its registry's metadata; without it the metadata database is "
            "stated off on every site",
            "{host: db.london.example.com, password: …}",
        ),
    ] = None
    external_registry: Annotated[
        ExternalRegistry | None,
        Doc(
            "the site's registry is not omnibus': its config.yml is edited on its hosts, or its lines come "
            "as an output",
            "{hosts: {london-images: {host: 10.10.0.15, host_key: …, config: …, certificate: …, "
            "restart: …}}}, or {}",
        ),
    ] = None
    registry_url_changes: Annotated[
        bool,
        Doc(
            "true says: the site's registry moves to registry_url, and whoever names its images by the "
            "address that it has had knows of it",
            "true",
        ),
    ] = False
    read_only: Annotated[
        bool | None,
        Doc(
            "whether the site's registry refuses pushes and deletes: a secondary's of shared storage must, "
            "the primary's must not",
            "true",
        ),
    ] = None

    @property
    def own_url(self) -> str:
        """Its GitLab and no other site's, without a slash at its end."""
        return (self.internal_url or self.external_url).rstrip("/")

    @property
    def own_registry_url(self) -> str:
        """Its registry and no other site's, without a slash at its end."""
        return (self.registry_internal_url or self.registry_url).rstrip("/")

    @property
    def registry_kind(self) -> Literal["omnibus", "external", "by hand"]:
        """Whose settings its registry has: omnibus', its own file's, edited here, or a person's."""
        if self.external_registry is None:
            return "omnibus"
        return "external" if self.external_hosts else "by hand"

    @property
    def external_hosts(self) -> dict[str, ExternalHost]:
        """The hosts whose registry's settings are edited in its own file, by name."""
        return self.external_registry.hosts if self.external_registry else {}

    @property
    def https(self) -> bool:
        return self.external_url.startswith("https:")

    def nodes_with(self, role: Role) -> dict[str, Node]:
        return {name: node for name, node in self.nodes.items() if node.has(role)}


Counter = Annotated[int, Field(ge=0, le=LARGEST), Doc("a whole number; raising it makes a new secret", "1")]


class Rotate(Closed):
    """Raise a number to have the secret made anew at the next `pulumi up`."""

    notification_secret: Counter = 0
    http_secret: Counter = 0


class Deployment(Closed):
    """The whole configuration of a stack."""

    gitlab_version: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?(-[a-z0-9.]+)?$"),
        Doc(
            "settings that changed their names between versions would be written under the wrong one",
            '"18.5"',
        ),
    ]
    """GitLab's version on every node, which decides between settings that were renamed."""
    primary: Annotated[str, Doc("all other sites replicate from this one", "london")]
    """The site that people push to; all others replicate from it."""
    sites: Annotated[
        dict[Name, Site],
        Doc("sites are what this program configures", "{london: {…}, tokyo: {…}}"),
    ]
    """The sites, each named for its place: a promotion changes its role, not its name."""
    storage: Annotated[
        Storage,
        Doc(
            "the registries would have no place for their images",
            "{mode: shared, s3: {bucket: acme-gitlab-registry, region: eu-west-1}}",
        ),
    ]
    """Where the registries keep their images."""
    ssh: Annotated[Ssh, Doc("the nodes could not be reached", "{user: ubuntu}")] = Ssh()
    """How nodes are reached; what a site or a node says of itself goes before it, key by key."""
    replication: Annotated[
        bool, Doc("false states Geo's registry replication off on every secondary", "true")
    ] = True
    """Geo's registry replication at the secondaries; false states it off."""
    issuer: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9._-]+$"),
        Doc("every site must use the same token issuer, else tokens are refused", "omnibus-gitlab-issuer"),
    ] = "omnibus-gitlab-issuer"
    """The issuer of the registry's tokens, the same on all sites."""
    trusted_certificates: Annotated[
        str,
        Doc(
            "certificates (PEM, one after the other) that every node is to trust; sites whose certificate is "
            "self-signed or from an authority of one's own could not read each other's registry",
            "-----BEGIN CERTIFICATE----- …",
        ),
    ] = ""
    reconfigure_seconds: Annotated[
        int,
        Field(ge=60, le=7200),
        Doc("how long a reconfigure may take, 60 to 7200 s; sites wait for each other a third of it", "1800"),
    ] = 1800
    rotate: Annotated[Rotate, Doc("which secrets are to be made anew", "{notification_secret: 1}")] = Rotate()
    proof: Annotated[
        str, Doc("change it to any other text to have every node proven again", '"2026-11-23"')
    ] = ""

    @property
    def secondaries(self) -> dict[str, Site]:
        return {name: site for name, site in self.sites.items() if name != self.primary}

    @property
    def shared(self) -> bool:
        return self.storage.mode == "shared"

    @property
    def created(self) -> dict[str, Aws]:
        """The sites whose hosts this stack creates."""
        return {name: site.aws for name, site in self.sites.items() if site.aws}

    def driver_of(self, site: str) -> Driver | None:
        """Where a site's registry has its images; None where the registry keeps what it has."""
        own = self.storage if self.shared else self.sites[site].storage
        if isinstance(own, S3):
            return own
        return next(iter(own.given().values()), None) if isinstance(own, Drivers) else None

    def keys_of(self, site: str) -> Keys | None:
        """A site's credentials for its driver; None for S3, a filesystem and what is kept."""
        driver = self.driver_of(site)
        return self.sites[site].credentials.given().get(driver.driver) if driver else None

    def storage_of(self, site: str) -> S3 | None:
        """The bucket under a site's registry, where that is S3."""
        driver = self.driver_of(site)
        return driver if isinstance(driver, S3) else None

    def read_only(self, site: str) -> bool:
        given = self.sites[site].read_only
        return (self.shared and site != self.primary) if given is None else given

    def registry_version(self, site: str) -> versions.Version:
        """The GitLab whose registry the site has, or what stands for Distribution there."""
        external = self.sites[site].external_registry is not None
        return versions.DISTRIBUTION if external else versions.parse(self.gitlab_version)

    def registry_name(self, site: str) -> str:
        """Whose registry the site has: `GitLab 18.5`, `Distribution`."""
        return "Distribution" if self.sites[site].external_registry else f"GitLab {self.gitlab_version}"

    def ssh_of(self, site: str, node: str) -> Ssh:
        """Of a node, or of a host of the site's external registry."""
        own = self.sites[site]
        base = (own.ssh or Ssh()).over(self.ssh)
        found = ((own.nodes | own.external_hosts)[node].ssh or Ssh()).over(base)
        # GitLab's images are Ubuntu's, and nobody can have given root a key there.
        user = found.user or ("ubuntu" if own.aws else "root")
        return found.model_copy(update={"user": user})

    @property
    def protected(self) -> bool:
        """Whether there are servers that a destroy must not take: then what they depend on stays as well."""
        return any(aws.termination_protection for aws in self.created.values())

    def instance_profile(self, site: str) -> bool:
        """Whether the site's registry signs its S3 requests with its servers' own, changing credentials."""
        own = self.sites[site]
        return own.aws is not None and own.s3_keys is None and self.storage_of(site) is not None
