"""The storage drivers of GitLab's registry: every key by name, type and secrecy.

A driver's class says where the images are, alike for all sites on one storage; as whom a site's registry
comes there is in `credentials.py`. Names are the registry's own (S3's: see `s3.py`). What depends on GitLab's
version, and what excludes what, is in `versions.py`.

Sources: GitLab container registry, docs/configuration.md and docs/storage-drivers; for swift and oss
Distribution 2.8, registry/storage/driver/swift/swift.go and oss/oss.go. Sizes are in bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from omnibus.driver import (
    MIB,
    WRONG_PLACE,
    Chunk,
    Count,
    Driver,
    Flag,
    Host,
    HttpUrl,
    Root,
    Text,
    server,
)
from omnibus.fields import BucketName, Closed, Doc
from omnibus.s3 import S3

__all__ = ["NAMES", "S3", "Azure", "Driver", "Drivers", "Filesystem", "Gcs", "Oss", "Swift"]


class Gcs(Driver):
    """A bucket of Google Cloud Storage, which exists."""

    driver = "gcs"

    bucket: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$"),
        Doc("Google would refuse it", "acme-gitlab-registry"),
    ]
    rootdirectory: Root | None = None
    chunksize: (
        Annotated[
            int,
            Field(ge=256 << 10, multiple_of=256 << 10),
            Doc("must be a multiple of 256 KiB, else the registry does not start", "5242880"),
        ]
        | None
    ) = None
    maxconcurrency: Count | None = None

    def place(self) -> list[str | None]:
        return [self.bucket, (self.rootdirectory or "").strip("/")]


class Azure(Driver):
    """A container of an Azure storage account, which exists: the account's name, or its service's URL."""

    driver = "azure"

    container: Annotated[
        str,
        StringConstraints(pattern=r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$"),
        Doc("Azure would refuse it", "registry"),
    ]
    accountname: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[a-z0-9]{3,24}$"),
            Doc("Azure would refuse it: 3 to 24 lower-case letters and digits", "acmeregistry"),
        ]
        | None
    ) = None
    serviceurl: HttpUrl | None = None
    realm: Host | None = None
    rootdirectory: Root | None = None
    trimlegacyrootprefix: Flag | None = None
    legacyrootprefix: Flag | None = None

    def place(self) -> list[str | None]:
        host = urlsplit(self.serviceurl).netloc if self.serviceurl else self._host()
        legacy = self.legacyrootprefix is True or self.trimlegacyrootprefix is False
        root = (self.rootdirectory or "").strip("/")
        return [host.lower(), self.container, f"/{root}" if legacy else root]

    def _host(self) -> str:
        return f"{self.accountname}.blob.{self.realm or 'core.windows.net'}"


class Swift(Driver):
    """A container of OpenStack Swift; the registry makes it if it may."""

    driver = "swift"

    authurl: HttpUrl
    container: Text
    region: Text | None = None
    tenant: Text | None = None
    tenantid: Text | None = None
    tenantdomain: Text | None = None
    tenantdomainid: Text | None = None
    domain: Text | None = None
    domainid: Text | None = None
    trustid: Text | None = None
    authversion: Annotated[Literal[1, 2, 3], Doc("Keystone's version, or 1 for TempAuth", "3")] | None = None
    endpointtype: Annotated[Literal["public", "internal", "admin"], Doc(WRONG_PLACE, "internal")] | None = (
        None
    )
    insecureskipverify: Flag | None = None
    prefix: Root | None = None
    chunksize: Annotated[int, Field(ge=MIB), Doc("at least 1 MiB", "20971520")] | None = None

    def place(self) -> list[str | None]:
        return [self.authurl.lower().rstrip("/"), self.container, (self.prefix or "").strip("/")]


class Oss(Driver):
    """A bucket of Alibaba Cloud's Object Storage Service, which exists."""

    driver = "oss"

    bucket: BucketName
    region: Annotated[
        str, StringConstraints(pattern=r"^oss-[a-z0-9-]+$"), Doc(WRONG_PLACE, "oss-eu-central-1")
    ]
    endpoint: Host | None = None
    internal: Flag | None = None
    encrypt: Flag | None = None
    encryptionkeyid: Text | None = None
    secure: Flag | None = None
    chunksize: Chunk | None = None
    rootdirectory: Root | None = None

    def place(self) -> list[str | None]:
        return [server(self.endpoint), self.bucket, (self.rootdirectory or "").strip("/")]


class Filesystem(Driver):
    """A directory on the disk of the site's one registry node."""

    driver = "filesystem"

    rootdirectory: Annotated[
        str,
        StringConstraints(pattern=r"^(/[A-Za-z0-9._-]+)+$"),
        Doc("the registry needs the whole path of a directory", "/srv/registry"),
    ]
    maxthreads: (
        Annotated[int, Field(ge=25), Doc("the registry raises less to 25 without a word", "100")] | None
    ) = None

    def place(self) -> list[str | None]:
        """The path alone: whose disk it is on is found out on the node."""
        return [self.rootdirectory.strip("/")]


class Drivers(Closed):
    """One driver by its name; that there is exactly one is looked at in storage_checks.py."""

    s3: Annotated[S3 | None, Doc("a bucket", "{bucket: acme-gitlab-registry, region: eu-west-1}")] = None
    gcs: Annotated[Gcs | None, Doc("a bucket", "{bucket: acme-gitlab-registry}")] = None
    azure: Annotated[Azure | None, Doc("a container", "{accountname: acmeregistry, container: registry}")] = (
        None
    )
    swift: Annotated[
        Swift | None,
        Doc("a container", "{authurl: https://keystone.example.com:5000/v3, container: registry, tenant: x}"),
    ] = None
    oss: Annotated[Oss | None, Doc("a bucket", "{bucket: acme-registry, region: oss-eu-central-1}")] = None
    filesystem: Annotated[Filesystem | None, Doc("a directory", "{rootdirectory: /srv/registry}")] = None

    def given(self) -> dict[str, Driver]:
        """The drivers that are named here; one, where the configuration is right."""
        return {name: driver for name in NAMES if (driver := getattr(self, name)) is not None}


NAMES: tuple[str, ...] = tuple(Drivers.model_fields)
