"""The typed, closed shape of the stack's configuration: sites → nodes, storage, primary, version.

Each field has its `FieldHelp`, for the reference and for error messages. `checks/` checks how fields
go together; a site is in `site.py`, a storage driver in `storage_drivers/`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from config.aws import Aws
from config.credentials import Keys
from config.field_types import (
    MAX_INT32,
    FieldHelp,
    Flag,
    Name,
    StrictModel,
)
from config.site import Node, Site, Storage
from config.ssh import ResolvedSsh, Ssh
from config.storage_drivers import S3, Driver, Drivers
from omnibus import versions

__all__ = ["S3", "Deployment", "Node", "Site", "Ssh"]

Counter = Annotated[
    int,
    Field(ge=0, le=MAX_INT32),
    FieldHelp(
        "Raise it to create a new secret.",
        expectation="a whole number from 0 to 2147483647",
        consequence="the program could not tell whether a new secret is due",
        example="1",
    ),
]


class Rotate(StrictModel):
    """Raise a number to create a new secret at the next `pulumi up`."""

    notification_secret: Counter = 0
    http_secret: Counter = 0
    database_password: Counter = 0
    registry_key: Annotated[
        Counter,
        FieldHelp(
            "Raise it to create a new registry key pair: registries trust the former certificate, too, until "
            "`registry_key_finished` has the same number.",
        ),
    ] = 0
    registry_key_finished: Annotated[
        Counter,
        FieldHelp(
            "Set it to the number of `registry_key` in a later `pulumi up`, which removes the former "
            "certificate.",
        ),
    ] = 0
    registry_key_now: Annotated[
        Counter,
        FieldHelp(
            "Raise it after a leak: a new registry key pair, and no registry trusts a former certificate.",
        ),
    ] = 0


class Deployment(StrictModel):
    """The whole configuration of a stack."""

    gitlab_version: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?(-[a-z0-9.]+)?$"),
        FieldHelp(
            "GitLab's version on every node. It decides between settings that were renamed.",
            expectation='a version in quotes, such as "19.2", "19.2.1" or "19.2.1-ee.0"',
            consequence="settings that were renamed between versions would get the wrong name",
            example='"19.2"',
        ),
    ]
    primary: Annotated[
        str,
        FieldHelp(
            "The primary site, which users push to; all others replicate from it.",
            expectation="the name of one of the sites",
            consequence="no site would be the primary, so nothing could replicate",
            example="london",
        ),
    ]
    sites: Annotated[
        dict[Name, Site],
        FieldHelp(
            "The sites, each named for its place: a promotion changes its role, not its name.",
            expectation="a map of sites, by name",
            consequence="without sites there is nothing to configure",
            example="{london: {…}, tokyo: {…}}",
        ),
    ]
    storage: Annotated[
        Storage,
        FieldHelp(
            "Where the registries keep their images.",
            expectation="a map with mode and, if that is shared, one driver",
            consequence="the registries would have no storage",
            example="{mode: shared, s3: {bucket: acme-gitlab-registry, region: eu-west-1}}",
        ),
    ]
    ssh: Annotated[
        Ssh,
        FieldHelp(
            "How nodes are reached. The settings of a site or node take precedence, key by key.",
            expectation="a map of SSH settings",
            consequence="the program could not connect to the nodes",
            example="{user: ubuntu}",
        ),
    ] = Ssh()
    replication: Annotated[
        Flag,
        FieldHelp(
            "Geo's registry replication on the secondaries; false disables it explicitly.",
            consequence="replication could run where you want it disabled",
        ),
    ] = True
    issuer: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9._-]+$"),
        FieldHelp(
            "The issuer of the registry's tokens, the same on all sites.",
            expectation="letters, digits, dots, hyphens and underscores",
            consequence="registries refuse tokens whose issuer is not exactly the one in their configuration",
            example="omnibus-gitlab-issuer",
        ),
    ] = "omnibus-gitlab-issuer"
    trusted_certificates: Annotated[
        str,
        FieldHelp(
            "Certificates that every node trusts, one after the other. Needed where a site's certificate is "
            "self-signed or from a private CA.",
            expectation="certificates in PEM form",
            consequence="the sites could not connect to each other's registry",
            example="-----BEGIN CERTIFICATE----- …",
        ),
    ] = ""
    reconfigure_seconds: Annotated[
        int,
        Field(ge=60, le=7200),
        FieldHelp(
            "How long a reconfigure may take.",
            expectation="a number of seconds from 60 to 7200",
            consequence="a reconfigure would be stopped before it can finish, or one that hangs would never "
            "be",
            example="1800",
        ),
    ] = 1800
    rotate: Annotated[
        Rotate,
        FieldHelp(
            "Which secrets are created again.",
            expectation="a map with one or more of notification_secret, http_secret, database_password, "
            "registry_key, registry_key_finished and registry_key_now",
            consequence="a secret that you want to replace would stay in use",
            example="{notification_secret: 1}",
        ),
    ] = Rotate()
    proof: Annotated[
        str,
        FieldHelp(
            "Change it to any other string to verify every node again.",
            expectation="a string",
            consequence="the nodes would not be verified again",
            example='"2026-11-23"',
        ),
    ] = ""

    def role(self, site: str) -> Literal["primary", "secondary"]:
        return "primary" if site == self.primary else "secondary"

    def is_secondary(self, site: str) -> bool:
        """False for every site if `primary` names none: no site is known to be a secondary then."""
        return self.primary in self.sites and site != self.primary

    @property
    def secondaries(self) -> dict[str, Site]:
        return {name: site for name, site in self.sites.items() if self.is_secondary(name)}

    @property
    def shared(self) -> bool:
        return self.storage.mode == "shared"

    @property
    def created(self) -> dict[str, Aws]:
        """The sites whose hosts this stack creates."""
        return {name: site.aws for name, site in self.sites.items() if site.aws}

    def driver_of(self, site: str) -> Driver | None:
        """The driver of a site's registry storage; None if the site keeps its storage."""
        storage = self.storage if self.shared else self.sites[site].storage
        if isinstance(storage, S3):
            return storage
        return next(iter(storage.configured().values()), None) if isinstance(storage, Drivers) else None

    def keys_of(self, site: str) -> Keys | None:
        """A site's credentials for its driver; None for S3, a filesystem and kept storage."""
        driver = self.driver_of(site)
        return self.sites[site].credentials.configured().get(driver.driver) if driver else None

    def storage_of(self, site: str) -> S3 | None:
        """The bucket of a site's registry, if its storage is S3."""
        driver = self.driver_of(site)
        return driver if isinstance(driver, S3) else None

    def read_only(self, site: str) -> bool:
        configured = self.sites[site].read_only
        return (self.shared and site != self.primary) if configured is None else configured

    def registry_version(self, site: str) -> versions.Version:
        """The GitLab version of the site's registry; `DISTRIBUTION` for an external registry."""
        external = self.sites[site].external_registry is not None
        return versions.DISTRIBUTION if external else versions.parse(self.gitlab_version)

    def registry_name(self, site: str) -> str:
        """What the site's registry is called: `GitLab 19.2`, `Distribution`."""
        return "Distribution" if self.sites[site].external_registry else f"GitLab {self.gitlab_version}"

    def ssh_of(self, site: str, node: str) -> ResolvedSsh:
        """The SSH settings of a node, or of a host of the site's external registry."""
        config = self.sites[site]
        base = (config.ssh or Ssh()).merged_over(self.ssh)
        ssh = ((config.nodes | config.external_hosts)[node].ssh or Ssh()).merged_over(base)
        return ResolvedSsh.of(ssh, created=config.aws is not None)

    @property
    def protected(self) -> bool:
        """Whether a destroy must not delete created nodes, nor what they depend on."""
        return any(aws.termination_protection for aws in self.created.values())

    def instance_profile(self, site: str) -> bool:
        """Whether the site's registry signs its S3 requests with the credentials of its EC2 instances."""
        config = self.sites[site]
        return config.aws is not None and config.s3_keys is None and self.storage_of(site) is not None
