"""The storage drivers of GitLab's registry: every key by name, type and secrecy.

A driver's class says where the images are, alike for all sites on one storage; as whom a site's registry
comes there is in `credentials.py`. Names are the registry's own (S3's: see `s3.py`). What depends on GitLab's
version, and what excludes what, is in `versions.py`.

Sources: GitLab container registry, docs/configuration.md and docs/storage-drivers; for swift and oss
Distribution 2.8, registry/storage/driver/swift/swift.go and oss/oss.go. Sizes are in bytes.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from omnibus.driver import (
    MIB,
    NO_START,
    WRONG_PLACE,
    Chunk,
    Driver,
    Duration,
    Flag,
    Host,
    HttpUrl,
    Root,
    Text,
    address,
    server,
)
from omnibus.fields import LARGEST, BucketName, Closed, Doc
from omnibus.s3 import S3

_EVENT = "(Request|Response|ResponseError|Retry|LongRunningOperation)"
_SIGN_IN = "Keystone would refuse the registry"

__all__ = ["NAMES", "S3", "Azure", "Driver", "Drivers", "Filesystem", "Gcs", "Oss", "Swift"]


class Gcs(Driver):
    """A bucket of Google Cloud Storage, which exists."""

    driver = "gcs"

    bucket: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$"),
        Doc("Google would refuse it", "acme-gitlab-registry"),
    ]
    """The bucket's name."""
    rootdirectory: Root | None = None
    """The directory in the bucket; its root if left out."""
    chunksize: (
        Annotated[
            int,
            Field(ge=256 << 10, le=5 << 30, multiple_of=256 << 10),
            Doc("must be a multiple of 256 KiB, else the registry does not start", "5242880"),
        ]
        | None
    ) = None
    """Bytes of each request of an upload, a multiple of 256 KiB."""
    maxconcurrency: (
        Annotated[int, Field(ge=25, le=LARGEST), Doc("the registry raises less to 25 without a word", "50")]
        | None
    ) = None
    """How many requests go to Google at once, at least 25."""
    parallelwalk: Flag | None = None
    """Lists the bucket by several requests at once, so that garbage is collected in less time."""
    useragent: Annotated[Text, Doc("what Google is to see of the registry", "acme-registry")] | None = None
    """How the registry calls itself in its requests."""
    debug_log: Flag | None = None
    """The registry logs its requests to Google."""
    universe_domain: Annotated[Host, Doc(WRONG_PLACE, "apis-berlin-build0.goog")] | None = None
    """The domain of a Google cloud of one's own; without it googleapis.com, or what the credentials say."""

    def place(self) -> list[str | None]:
        universe = (self.universe_domain or "googleapis.com").lower()
        elsewhere = [universe] if universe != "googleapis.com" else []
        return [self.bucket, (self.rootdirectory or "").strip("/"), *elsewhere]


class Azure(Driver):
    """A container of an Azure storage account, which exists: the account's name, or its service's URL."""

    driver = "azure"
    NEWER: ClassVar[tuple[str, ...]] = (
        "serviceurl", "max_retries", "retry_try_timeout", "retry_delay", "max_retry_delay",
        "api_pool_initial_interval", "api_pool_max_interval", "api_pool_max_elapsed_time", "debug_log",
        "debug_log_events",
    )  # fmt: skip
    """Keys that only azure_v2 reads: with one of them the registry is given that driver."""

    container: Annotated[
        str,
        StringConstraints(pattern=r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$"),
        Doc("Azure would refuse it", "registry"),
    ]
    """The container's name."""
    accountname: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[a-z0-9]{3,24}$"),
            Doc("Azure would refuse it: 3 to 24 lower-case letters and digits", "acmeregistry"),
        ]
        | None
    ) = None
    """The storage account's name."""
    serviceurl: Annotated[HttpUrl, Doc(WRONG_PLACE, "https://acmeregistry.blob.core.windows.net")] | None = (
        None
    )
    """The URL of the account's blob service, instead of accountname and realm."""
    realm: Host | None = None
    """The domain of the blob service, where it is not the public cloud's."""
    rootdirectory: Root | None = None
    """The directory in the container; its root if left out."""
    trimlegacyrootprefix: Flag | None = None
    """false: images stand below `//`, where older registries put them; true: they do not."""
    legacyrootprefix: Flag | None = None
    """true: images stand below `//`, where older registries put them."""
    # 0 stands for the default, in Azure's SDK (azcore, policy.RetryOptions).
    max_retries: (
        Annotated[int, Field(ge=1, le=1000), Doc(f"1 to 1000; with more {NO_START}, 0 means 3", "5")] | None
    ) = None
    """How often a failed request is made again; 3 if left out."""
    retry_try_timeout: Duration | None = None
    """How long one try may take; without it there is no limit."""
    retry_delay: Duration | None = None
    """How long the registry waits before it tries again, more each time; 4s if left out."""
    max_retry_delay: Annotated[Duration, Doc(NO_START, "60s")] | None = None
    """How long it waits at most; 60s if left out."""
    api_pool_initial_interval: Duration | None = None
    """How long the registry first waits while Azure copies or deletes; 100ms if left out."""
    api_pool_max_interval: Annotated[Duration, Doc(NO_START, "15s")] | None = None
    """How long it then waits at most before it asks once more; 1s if left out."""
    api_pool_max_elapsed_time: Annotated[Duration, Doc(NO_START, "5m")] | None = None
    """How long it asks in all; 5s if left out."""
    debug_log: Flag | None = None
    """The registry logs what Azure's SDK does."""
    debug_log_events: (
        Annotated[
            str,
            StringConstraints(pattern=rf"^{_EVENT}(,{_EVENT})*$"),
            Doc(NO_START, "Request,Response,ResponseError,Retry,LongRunningOperation"),
        ]
        | None
    ) = None
    """What is logged with debug_log; all of it if left out."""

    @property
    def url(self) -> str:
        """Where the account's blob service answers."""
        return self.serviceurl or f"https://{self._host()}"

    @property
    def account(self) -> str:
        """The account's name, as far as it is known: a URL's host begins with it."""
        return self.accountname or urlsplit(self.url).netloc.partition(".")[0]

    def place(self) -> list[str | None]:
        host = urlsplit(self.url).netloc
        legacy = self.legacyrootprefix is True or self.trimlegacyrootprefix is False
        root = (self.rootdirectory or "").strip("/")
        return [address(host), self.container, f"/{root}" if legacy else root]

    def _host(self) -> str:
        return f"{self.accountname}.blob.{self.realm or 'core.windows.net'}"


class Swift(Driver):
    """A container of OpenStack Swift; the registry makes it if it may."""

    driver = "swift"

    authurl: HttpUrl
    """Where the registry signs in: Keystone's URL, or TempAuth's."""
    container: Annotated[Text, Doc(WRONG_PLACE, "registry")]
    """The container's name."""
    region: Annotated[Text, Doc(WRONG_PLACE, "RegionOne")] | None = None
    """The container's region."""
    tenant: Annotated[Text, Doc(_SIGN_IN, "acme")] | None = None
    """The project, by name."""
    tenantid: Annotated[Text, Doc(_SIGN_IN, "5f2c1d7e8a9b4c3d")] | None = None
    """The project, by id."""
    tenantdomain: Annotated[Text, Doc(_SIGN_IN, "Default")] | None = None
    """The project's domain, by name."""
    tenantdomainid: Annotated[Text, Doc(_SIGN_IN, "default")] | None = None
    """The project's domain, by id."""
    domain: Annotated[Text, Doc(_SIGN_IN, "Default")] | None = None
    """The user's domain, by name."""
    domainid: Annotated[Text, Doc(_SIGN_IN, "default")] | None = None
    """The user's domain, by id."""
    trustid: Annotated[Text, Doc(_SIGN_IN, "7c0b3f4e2d1a4b5c")] | None = None
    """The Keystone trust under which the user acts."""
    authversion: Annotated[Literal[1, 2, 3], Doc("Keystone's version, or 1 for TempAuth", "3")] | None = None
    endpointtype: Annotated[Literal["public", "internal", "admin"], Doc(WRONG_PLACE, "internal")] | None = (
        None
    )
    """Which of the URLs that Keystone names for Swift is used."""
    insecureskipverify: Flag | None = None
    """The certificates of Keystone and Swift are not verified."""
    prefix: Root | None = None
    """The directory in the container; its root if left out."""
    chunksize: Annotated[int, Field(ge=MIB, le=5 << 30), Doc("1 MiB to 5 GiB", "20971520")] | None = None
    """Bytes of each segment of an upload, at least 1 MiB."""
    # Both are read only where the server does not answer /info (Distribution 2.8, registry 3.86: swift.go).
    tempurlcontainerkey: Flag | None = None
    """For a server without /info: signs URLs with the container's key, not the account's."""
    tempurlmethods: (
        Annotated[
            list[Literal["GET", "PUT", "HEAD", "POST", "DELETE"]],
            Field(min_length=1),
            Doc("Swift would refuse what was signed for another method", "[GET, HEAD]"),
        ]
        | None
    ) = None
    """For a server without /info: for which methods it takes temporary URLs."""

    def place(self) -> list[str | None]:
        keystone = re.sub(r"/v[0-9.]+$", "", address(self.authurl))
        return [keystone, self.container, (self.prefix or "").strip("/")]

    def other_project(self, other: Swift) -> bool:
        """Whether a container of this name is another one there. (Two regions may be one cluster's.)"""
        pairs = ((self.tenant, other.tenant), (self.tenantid, other.tenantid))
        differ = any(one and its and one != its for one, its in pairs)
        return differ and self._in_its_tenant() and other._in_its_tenant()

    def _in_its_tenant(self) -> bool:
        """TempAuth knows no projects, and a trust has its own (Distribution 2.8, github.com/ncw/swift)."""
        keystone = self.authversion in (2, 3) or re.search(r"/v[23](\.0)?/?$", self.authurl)
        return self.authversion != 1 and bool(keystone) and not self.trustid


class Oss(Driver):
    """A bucket of Alibaba Cloud's Object Storage Service, which exists."""

    driver = "oss"

    bucket: BucketName
    """The bucket's name."""
    region: Annotated[
        str, StringConstraints(pattern=r"^oss-[a-z0-9-]+$"), Doc(WRONG_PLACE, "oss-eu-central-1")
    ]
    """The bucket's region."""
    endpoint: Annotated[Host, Doc(WRONG_PLACE, "oss-eu-central-1.aliyuncs.com")] | None = None
    """The host of the storage, where it is not the region's own."""
    internal: Flag | None = None
    """The way through Alibaba Cloud's internal network."""
    encrypt: Flag | None = None
    """The storage is asked to encrypt what is written."""
    encryptionkeyid: (
        Annotated[Text, Doc("nothing could be written", "9468da86-3509-4f8d-a61e-6eab1eac1234")] | None
    ) = None
    """The key that images are encrypted with."""
    secure: Flag | None = None
    """TLS on the way to the storage."""
    chunksize: Chunk | None = None
    """Bytes of each part of an upload."""
    rootdirectory: Root | None = None
    """The directory in the bucket; its root if left out."""

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
    """The whole path of the directory."""
    maxthreads: (
        Annotated[int, Field(ge=25, le=LARGEST), Doc("the registry raises less to 25 without a word", "100")]
        | None
    ) = None
    """How many operations on files run at once, at least 25."""

    def place(self) -> list[str | None]:
        """The path alone: whose disk it is on is found out on the node."""
        return [self.rootdirectory.strip("/")]


class Drivers(Closed):
    """Exactly one driver, by its name."""

    # That it is exactly one is looked at in storage_checks.py.
    s3: Annotated[S3 | None, Doc("a bucket", "{bucket: acme-gitlab-registry, region: eu-west-1}")] = None
    """A bucket of S3, or of a server that speaks S3."""
    gcs: Annotated[Gcs | None, Doc("a bucket", "{bucket: acme-gitlab-registry}")] = None
    """A bucket of Google Cloud Storage."""
    azure: Annotated[Azure | None, Doc("a container", "{accountname: acmeregistry, container: registry}")] = (
        None
    )
    """A container of Azure Blob Storage."""
    swift: Annotated[
        Swift | None,
        Doc("a container", "{authurl: https://keystone.example.com:5000/v3, container: registry, tenant: x}"),
    ] = None
    """A container of OpenStack Swift."""
    oss: Annotated[Oss | None, Doc("a bucket", "{bucket: acme-registry, region: oss-eu-central-1}")] = None
    """A bucket of Alibaba Cloud's Object Storage Service."""
    filesystem: Annotated[Filesystem | None, Doc("a directory", "{rootdirectory: /srv/registry}")] = None
    """A directory on the registry node's disk; with storage.mode per_site."""

    def given(self) -> dict[str, Driver]:
        """The drivers that are named here; one, where the configuration is right."""
        return {name: driver for name in NAMES if (driver := getattr(self, name)) is not None}


NAMES: tuple[str, ...] = tuple(Drivers.model_fields)
