"""What changed when between GitLab 16 and 19, as data: each row is a name and the version it holds from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Version: TypeAlias = tuple[int, int]

OLDEST: Version = (16, 0)
DISTRIBUTION: Version = (0, 0)
"""Stands for an external registry: older than everything that GitLab added or removed."""


@dataclass(frozen=True)
class Renamed:
    """`before` up to, and `after` from, GitLab version `since`. `source`: the evidence."""

    before: str
    after: str
    since: Version
    source: str

    def name(self, version: Version) -> str:
        return self.after if version >= self.since else self.before


NOTIFICATION_RETRIES = Renamed(
    "threshold",
    "maxretries",
    (17, 1),
    "omnibus-gitlab commit a602a6229 (in 17.1.0): maxretries beside threshold; commit 40720b672 (in 19.1.0): "
    "threshold no longer by itself; registry configuration reference: its removal is announced for 23.0",
)

S3_DRIVER = Renamed(
    "s3",
    "s3_v2",
    (19, 0),
    "container registry: s3_v2 is the S3 driver since GitLab 19.0, s3 and s3aws are its aliases; "
    "before that only s3 is in every release",
)


AZURE_DRIVER = Renamed(
    "azure",
    "azure_v2",
    (19, 0),
    "GitLab issue 523096: azure_v2 replaces azure in 19.0; a beta before that (issue 525855)",
)


_SERVICES_NGINX = (
    "omnibus-gitlab commit 0ddeb868 (19.2.0): a reconfigure warns about the former names, which still take "
    "effect; in earlier versions nothing reads the later names"
)
RAILS_NGINX = Renamed("nginx", "gitlab_rails.nginx", (19, 2), _SERVICES_NGINX)
"""For ssl_certificate, ssl_certificate_key and redirect_http_to_https; `nginx['enable']` keeps its name."""
REGISTRY_NGINX = Renamed("registry_nginx", "registry.nginx", (19, 2), _SERVICES_NGINX)
"""Hashes of gitlab.rb, with a dot before a key."""


@dataclass(frozen=True)
class Limit:
    """A storage driver's `key`, or those `values` of it, from `since` on and before `until`; "": all of it.

    `way_out`: what to do with another version.
    """

    driver: str
    key: str
    source: str
    way_out: str
    values: tuple[str, ...] = ()
    since: Version = DISTRIBUTION
    until: Version | None = None

    def allows(self, version: Version) -> bool:
        return self.since <= version and (self.until is None or version < self.until)

    @property
    def gitlabs_own(self) -> bool:
        """Whether every version of GitLab has it, and Distribution does not."""
        return self.since == OLDEST

    @property
    def range(self) -> str:
        if self.gitlabs_own:
            return "in GitLab's own registry only"
        if self.until:
            return f"before GitLab {self.until[0]}.{self.until[1]}, or at an external registry"
        return f"from GitLab {self.since[0]}.{self.since[1]} on, in GitLab's own registry only"

    @property
    def expectation(self) -> str:
        """The expectation in an error message."""
        what = f"{self.key} {' or '.join(self.values)}".strip() or f"the driver {self.driver}"
        return f"{what} {self.range}"

    @property
    def consequence(self) -> str:
        """What other registries do: they ignore unknown keys, and refuse unknown drivers and values."""
        if self.key and not self.values:
            return "the registry would ignore it without a warning"
        return f"the registry does not know this {'value' if self.key else 'driver'} and would not start"


_SWIFT_AND_OSS = "container registry 4.0.0 (omnibus-gitlab MR 7580, GitLab 17.0) removed both; issue 1141"
_S3_WAY_OUT = (
    "s3: the service's S3 interface, on the same images (container registry issue 1141), or GitLab 16.x"
)
_V2_KEYS = "container registry commit 4d4d3390: a key of s3_v2, which this program uses from GitLab 19.0 on"
_AZURE_V2 = "container registry 4.15 (azure_v2) and GitLab issue 525855 (a beta from 17.10 on)"
_AZURE_V2_KEYS = (
    "container registry 4.17.1 (GitLab 17.10), azure/common/parser.go and v2/parser.go; 4.15 (17.9) had "
    "other names for some and not all of them"
)
_GCS_NEXT = (
    "container registry 4.28 (commit ddafd4eb): until then only the driver behind the variable "
    "REGISTRY_GCS_DRIVER=next read it"
)

_NOT_DISTRIBUTIONS = (
    "Distribution 2.8 and 3, s3-aws/s3.go and gcs/gcs.go, and 2.8 oss/oss.go: FromParameters does not read it"
)

LIMITS: tuple[Limit, ...] = (
    *(
        Limit(driver, key, _NOT_DISTRIBUTIONS, "remove it", since=OLDEST)
        for driver, key in (
            ("s3", "maxrequestspersecond"),
            ("s3", "maxretries"),
            ("s3", "parallelwalk"),
            ("s3", "loglevel"),
            ("oss", "encryptionkeyid"),
            ("gcs", "parallelwalk"),
        )
    ),
    Limit("swift", "", _SWIFT_AND_OSS, _S3_WAY_OUT, until=(17, 0)),
    Limit("oss", "", _SWIFT_AND_OSS, _S3_WAY_OUT, until=(17, 0)),
    Limit(
        "s3", "checksum_disabled", _V2_KEYS, "remove it: the driver s3 sends no such checksums", since=(19, 0)
    ),
    Limit("s3", "checksum_algorithm", _V2_KEYS, "remove it, or GitLab 19.0", since=(19, 0)),
    Limit(
        "s3",
        "storageclass",
        "container registry 4.22: more storage classes; NONE and these two before",
        "STANDARD or REDUCED_REDUNDANCY",
        ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "OUTPOSTS", "GLACIER_IR", "EXPRESS_ONEZONE"),
        since=(18, 1),
    ),
    Limit("gcs", "useragent", _GCS_NEXT, "remove it, or GitLab 18.5", since=(18, 5)),
    Limit("gcs", "debug_log", _GCS_NEXT, "remove it, or GitLab 18.5", since=(18, 5)),
    Limit(
        "gcs",
        "universe_domain",
        "container registry 4.37 (commit de8cbc65), in GitLab from 18.10 on",
        "remove it, or GitLab 18.10",
        since=(18, 10),
    ),
    Limit("azure", "serviceurl", _AZURE_V2, "accountname and realm", since=(17, 10)),
    *(
        Limit("azure", key, _AZURE_V2_KEYS, "remove it, or GitLab 17.10", since=(17, 10))
        for key in (
            "max_retries",
            "retry_try_timeout",
            "retry_delay",
            "max_retry_delay",
            "api_pool_initial_interval",
            "api_pool_max_interval",
            "api_pool_max_elapsed_time",
            "debug_log",
            "debug_log_events",
        )
    ),
    Limit(
        "azure",
        "credentials_type",
        _AZURE_V2,
        "storage.mode: per_site with shared_key, or GitLab 17.10",
        ("client_secret", "default_credentials"),
        since=(17, 10),
    ),
)


@dataclass(frozen=True)
class Unread:
    """A key in GitLab's documentation that no registry reads, or none that this program configures."""

    by: str
    why: str
    way_out: str
    source: str


_SESSION_TOKEN = Unread(
    "no registry",
    "requests would be signed without the token, and S3 refuses a temporary key without its token",
    "a permanent key, or on EC2 instances an instance profile, whose credentials the registry renews "
    "(a site with `aws` and without s3_keys)",
    "container registry 3.86, 4.32 and 4.39: s3.go and common/parser.go never read sessiontoken, whatever "
    "docs/storage-drivers/s3_v2.md says; Distribution 2.8 and 3 have no such key either",
)

UNREAD: dict[str, Unread] = {
    "session_token": _SESSION_TOKEN,
    "sessiontoken": _SESSION_TOKEN,
    "v4auth": Unread(
        "no s3_v2, GitLab's S3 driver from 19.0 on",
        "AWS refuses signatures of version 2, and a service that needs them would refuse the registry",
        "remove it: requests are signed with version 4",
        "container registry 4.32, s3-aws/v2/s3.go: a warning, and version 4 anyway (issue 1449)",
    ),
}
"""By the key's name, at any place in the configuration."""


METADATA_DATABASE = Limit(
    "registry",
    "metadata_database",
    "container registry metadata database: beta in GitLab 16.4, generally available in 17.3",
    "remove it, or GitLab 17.3",
    since=(17, 3),
)

MANAGED_DATABASE = Limit(
    "registry",
    "metadata_database",
    "omnibus-gitlab 9d5b887e8: from 18.3 on it creates the registry's role and database, and migrates it",
    "a PostgreSQL that exists, or GitLab 18.3",
    values=("managed",),
    since=(18, 3),
)


@dataclass(frozen=True)
class Exclusive:
    """Two keys of one driver of which at most one may be set (a boolean: be true)."""

    driver: str
    keys: tuple[str, str]
    why: str
    source: str


EXCLUSIVES: tuple[Exclusive, ...] = (
    Exclusive(
        "s3",
        ("objectacl", "objectownership"),
        "the bucket's owner owns all objects, so that an ACL is refused",
        "container registry, docs/storage-drivers/s3_v2.md: objectownership",
    ),
    Exclusive(
        "s3",
        ("checksum_algorithm", "checksum_disabled"),
        "without checksums there is no algorithm; checksum_disabled would win",
        "container registry, docs/storage-drivers/s3_v2.md (commit 4d4d3390)",
    ),
    Exclusive(
        "azure",
        ("legacyrootprefix", "trimlegacyrootprefix"),
        "one states that paths begin with //, the other that they do not",
        "container registry issue 854, commit 9823a15c",
    ),
    Exclusive(
        "azure",
        ("realm", "serviceurl"),
        "the URL already contains the realm",
        "container registry, azure_v2: accountname and realm form the URL if serviceurl is not set",
    ),
)


@dataclass(frozen=True)
class Needs:
    """A key of a driver that has no effect unless the key `needed` is true."""

    driver: str
    key: str
    needed: str
    source: str


NEEDS: tuple[Needs, ...] = (
    Needs("azure", "debug_log_events", "debug_log", "container registry 4.32, azure/v2/parser.go"),
)


def parse(text: str) -> Version:
    """`18.5`, `18.5.2` or `18.5.2-ee.0` → (18, 5). Raises ValueError for anything else."""
    parts = text.split("-", maxsplit=1)[0].split(".")
    if not 2 <= len(parts) <= 3 or not all(p.isascii() and p.isdigit() for p in parts):
        raise ValueError(f"{text!r} is not a GitLab version")
    return int(parts[0]), int(parts[1])
