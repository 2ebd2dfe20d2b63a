"""The typed, closed shape of the stack's configuration: sites → nodes, storage, primary, version.

Each field carries what a refusal has to say about it: the consequence of a bad value and a valid
example (`Doc`). What two fields say together is checked in `checks.py`; storage drivers: `drivers.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SecretStr, StringConstraints, Tag

from omnibus.credentials import Credentials, Keys
from omnibus.drivers import NAMES, S3, Driver, Drivers
from omnibus.fields import (
    Address,
    Cidr,
    Closed,
    Doc,
    HostKey,
    Name,
    Port,
    Url,
    User,
)
from omnibus.machines import Aws, NodeAws

__all__ = ["S3", "Deployment", "Node", "Site", "Ssh"]

Role = Literal["rails", "sidekiq", "registry"]
ALL_ROLES: frozenset[Role] = frozenset({"rails", "sidekiq", "registry"})


class Bastion(Closed):
    """The host through which nodes are reached."""

    host: Address
    host_key: HostKey
    user: User | None = None
    port: Port = 22


class Ssh(Closed):
    """How nodes are reached. Without a private key the SSH agent (SSH_AUTH_SOCK) is asked."""

    user: Annotated[User | None, Doc("the SSH login would fail", "ubuntu")] = None
    port: Annotated[Port | None, Doc("the node could not be reached", "22")] = None
    private_key: Annotated[
        SecretStr | None,
        Doc(
            "the SSH login would fail",
            "pulumi config set --secret --path ssh.private_key < ~/.ssh/id_ed25519",
        ),
    ] = None
    private_key_file: Annotated[str | None, Doc("the SSH login would fail", "~/.ssh/id_ed25519")] = None
    bastion: Annotated[
        Bastion | None, Doc("the nodes behind it could not be reached", "{host: 192.0.2.10, host_key: …}")
    ] = None
    wait_seconds: Annotated[
        Annotated[int, Field(ge=1, le=3600)] | None,
        Doc("how long a booting node that refuses connections is waited for, 1 to 3600 s", "120"),
    ] = None

    def over(self, below: Ssh | None) -> Ssh:
        """These settings where given, else those of `below` (a node's over its site's over the stack's)."""
        given = {k: v for k in type(self).model_fields if (v := getattr(self, k)) is not None}
        if {"private_key", "private_key_file"} & given.keys() and below:
            below = below.model_copy(update={"private_key": None, "private_key_file": None})
        return (below or Ssh()).model_copy(update=given)


class Node(Closed):
    """One server of a site. One that exists has `host` and `host_key`; `aws` is about one to be created."""

    host: Annotated[Address | None, Doc("the node could not be reached", "10.10.0.11")] = None
    host_key: HostKey | None = None
    roles: Annotated[
        list[Role],
        Field(min_length=1),
        Doc("the node would get the settings of another kind of server", "[rails, sidekiq, registry]"),
    ] = sorted(ALL_ROLES)
    ssh: Annotated[Ssh | None, Doc("the node could not be reached", "{port: 2222}")] = None
    aws: Annotated[
        NodeAws, Doc("the node's server would not be as meant", "{instance_type: c6i.4xlarge}")
    ] = NodeAws()

    def has(self, role: Role) -> bool:
        return role in self.roles


class S3Keys(Closed):
    """A key pair that exists, for storage that is not ours to make users in."""

    access_key: Annotated[str, Doc("the registry could not sign its requests", "AKIA…")]
    secret_key: Annotated[
        SecretStr,
        Doc(
            "the registry could not sign its requests",
            "pulumi config set --secret --path 'sites.london.s3_keys.secret_key'",
        ),
    ]
    session_token: Annotated[
        SecretStr | None,
        Doc("temporary keys are refused without their token", "the token that came with them"),
    ] = None

    def secrets(self) -> dict[str, str]:
        """Secret's name → its value."""
        found = {"s3_access_key": self.access_key, "s3_secret_key": self.secret_key.get_secret_value()}
        token = self.session_token
        return found | ({"s3_session_token": token.get_secret_value()} if token else {})


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
            "true says: the images of every registry whose storage changes have been copied to the new place",
            "true",
        ),
    ] = False


def _spelling(value: Any) -> str:
    """Which form of `sites.NAME.storage` is meant: a word, a bucket of S3, or a driver by its name."""
    if isinstance(value, S3 | Drivers):
        return type(value).__name__
    if not isinstance(value, dict):
        return "literal['keep']"
    named = any(key in NAMES or (isinstance(v, dict) and key != "options") for key, v in value.items())
    return "Drivers" if named else "S3"


class Site(Closed):
    """A whole GitLab, named for its place."""

    external_url: Url
    registry_url: Url
    nodes: Annotated[
        dict[Name, Node],
        Field(min_length=1),
        Doc(
            "a site without a node has nothing to configure",
            "{london-1: {host: 10.10.0.11, host_key: ssh-ed25519 AAAA…}}",
        ),
    ]
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
    read_only: Annotated[
        bool | None,
        Doc(
            "whether the site's registry refuses pushes and deletes; where storage is shared it must",
            "true",
        ),
    ] = None

    @property
    def https(self) -> bool:
        return self.external_url.startswith("https:")

    def nodes_with(self, role: Role) -> dict[str, Node]:
        return {name: node for name, node in self.nodes.items() if node.has(role)}


class Rotate(Closed):
    """Raise a number to have the secret made anew at the next `pulumi up`."""

    notification_secret: Annotated[
        int, Field(ge=0), Doc("a whole number; raising it makes a new secret", "1")
    ] = 0
    http_secret: Annotated[int, Field(ge=0), Doc("a whole number; raising it makes a new secret", "1")] = 0


class Deployment(Closed):
    """The whole configuration of a stack."""

    gitlab_version: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?(-[a-z0-9.]+)?$"),
        Doc(
            "settings that changed their names between versions would be written under the wrong one",
            '"18.5"',
        ),
    ]
    primary: Annotated[str, Doc("all other sites replicate from this one", "london")]
    sites: Annotated[
        dict[Name, Site],
        Doc("sites are what this program configures", "{london: {…}, tokyo: {…}}"),
    ]
    storage: Storage
    ssh: Annotated[Ssh, Doc("the nodes could not be reached", "{user: ubuntu}")] = Ssh()
    replication: Annotated[
        bool, Doc("false states Geo's registry replication off on every secondary", "true")
    ] = True
    issuer: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9._-]+$"),
        Doc("every site must use the same token issuer, else tokens are refused", "omnibus-gitlab-issuer"),
    ] = "omnibus-gitlab-issuer"
    rotate: Annotated[Rotate, Doc("which secrets are to be made anew", "{notification_secret: 1}")] = Rotate()
    proof: Annotated[
        str, Doc("change it to any other text to have every node proven again", "2026-11-23")
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

    def ssh_of(self, site: str, node: str) -> Ssh:
        own = self.sites[site]
        base = (own.ssh or Ssh()).over(self.ssh)
        found = (own.nodes[node].ssh or Ssh()).over(base)
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
