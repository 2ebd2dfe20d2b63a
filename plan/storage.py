"""The storage of each site's registry: its settings, how a node reaches it, what the stack creates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from config.credentials import AzureKeys, GcsKeys, Keys
from config.model import Deployment
from config.storage_drivers import S3, Azure, Driver, Gcs, Swift, s3_regions
from config.storage_drivers.identity import identity, shown
from omnibus import versions
from omnibus.ruby import Secret, Value
from plan import iam


def registry_storage(d: Deployment, site_name: str) -> dict[str, Value] | None:
    """`registry['storage']` of a site's registry nodes; None if the storage is kept.

    Exactly one driver: the Linux package accepts two, and the registry then does not start.
    """
    driver = d.driver_of(site_name)
    if driver is None:
        return None
    name = driver_name(d, site_name, driver)
    keys = _s3_keys(d, site_name) if isinstance(driver, S3) else d.keys_of(site_name)
    settings: dict[str, Value] = driver.settings()
    if isinstance(driver, S3) and not driver.endpoint:
        settings |= _regional(driver, d.registry_version(site_name))
    if isinstance(keys, Keys):
        settings |= keys.settings()
    elif keys:
        # After bucket and region: the text of the settings names the storage first.
        settings = {**dict(list(settings.items())[:2]), **keys, **settings}
    if (
        name == "s3_v2"
        and isinstance(driver, S3)
        and driver.endpoint
        and driver.options.checksum_algorithm is None
    ):
        settings.setdefault(
            "checksum_disabled", True
        )  # MinIO and Ceph refuse the checksums that AWS requires
    storage: dict[str, Value] = {name: settings}
    if d.read_only(site_name):
        storage["maintenance"] = {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
        if isinstance(driver, Swift):
            # Only users who may write can read the container's key for temporary URLs. The driver invents
            # one, and Swift refuses every URL signed with it (verified: Distribution 2.8.2 and Swift 2.38).
            storage["redirect"] = {"disable": True}
    return storage


def _regional(s3: S3, version: versions.Version) -> dict[str, Value]:
    """AWS' address in a region that the registry does not know: with an endpoint, it accepts any region."""
    if s3_regions.knows(s3.region, version):
        return {}
    scheme = "http" if s3.options.secure is False else "https"
    return {"regionendpoint": f"{scheme}://{s3_regions.host(s3.region)}", "pathstyle": s3.path_style}


def driver_name(d: Deployment, site: str, driver: Driver) -> str:
    """What the site's registry calls the driver."""
    version = d.registry_version(site)
    if isinstance(driver, S3):
        return versions.S3_DRIVER.name(version)
    if isinstance(driver, Azure):
        if d.sites[site].external_registry:
            return versions.AZURE_DRIVER.before  # Distribution has no other
        # One name for all sites on one storage; only the newer driver supports roles and a service's URL.
        sites = [*d.sites] if d.shared else [site]
        kinds = {keys.credentials_type for name in sites if isinstance(keys := d.keys_of(name), AzureKeys)}
        newer = any(getattr(driver, key) is not None for key in Azure.NEWER) or kinds - {"shared_key"}
        return versions.AZURE_DRIVER.after if newer else versions.AZURE_DRIVER.name(version)
    return driver.driver


def _s3_keys(d: Deployment, site_name: str) -> dict[str, Value]:
    if d.instance_profile(site_name):
        return {}
    return {"accesskey": Secret("s3_access_key"), "secretkey": Secret("s3_secret_key")}


def headers(s3: S3) -> dict[str, str]:
    """The headers with which the registry writes objects: a bucket's policy may require them.

    Source: container-registry, s3-aws/v2/s3.go, PutContent. Its default, private, adds nothing.
    """
    values: dict[str, str] = {}
    if s3.options.objectacl and not s3.options.objectownership:
        values["x-amz-acl"] = s3.options.objectacl
    if s3.kms_key_id:
        values["x-amz-server-side-encryption"] = "aws:kms"
        values["x-amz-server-side-encryption-aws-kms-key-id"] = s3.kms_key_id
    elif s3.options.encrypt:
        values["x-amz-server-side-encryption"] = "AES256"
    return values


def shown_identity(driver: Driver) -> dict[str, Any]:
    """Where a driver's images are, for the program on a host and for display."""
    return {**identity(driver), "shown": shown(driver)}


def target(d: Deployment, site: str) -> dict[str, Any] | None:
    """The storage that the site is to use; None if it keeps its storage."""
    driver = d.driver_of(site)
    return {**shown_identity(driver), "write": not d.read_only(site)} if driver else None


def access(d: Deployment, site: str) -> dict[str, Any] | None:
    """The target, and how a node uses it: S3's keys are part of it, other credentials are sent as secrets."""
    where = target(d, site)
    driver, keys = d.driver_of(site), d.keys_of(site)
    if where is None:
        return None
    if isinstance(driver, S3):
        # None: the node's credentials from the instance metadata service.
        instance_profile = d.instance_profile(site)
        return where | {
            "bucket": driver.bucket,
            "region": driver.region,
            "root": driver.root_directory,
            "endpoint": driver.endpoint,
            "path_style": driver.path_style,
            "skip_verify": driver.options.skipverify is True,
            "patience": 5 if d.sites[site].s3_keys else 60,
            "access_key": None if instance_profile else Secret("s3_access_key"),
            "secret_key": None if instance_profile else Secret("s3_secret_key"),
        }
    if isinstance(driver, Gcs) and isinstance(keys, GcsKeys):
        universe = driver.universe_domain or "googleapis.com"
        return where | {"bucket": driver.bucket, "universe": universe, "keyfile": keys.keyfile}
    if isinstance(driver, Azure) and isinstance(keys, AzureKeys):
        return where | {
            "url": driver.url,
            "account": driver.account,
            "container": driver.container,
            "credentials_type": keys.credentials_type,
            "tenant_id": keys.tenant_id,
            "client_id": keys.client_id,
        }
    return where


@dataclass(frozen=True)
class PolicyPlan:
    """An IAM policy: `name`, unique per directory in `bucket`, and its document."""

    name: str
    bucket: str
    write: bool
    document: dict[str, Any]


@dataclass(frozen=True)
class SiteStoragePlan:
    """The storage of a site's registry, as far as this stack manages it.

    `bucket`: its bucket, if this stack creates it. `region`: of the AWS provider for created resources; None
    if there are none. `user`: the policy of the site's IAM user; `role`: the policy of its nodes, which then
    need no key. `secrets`: the configured credentials.
    """

    bucket: str | None = None
    region: str | None = None
    user: PolicyPlan | None = None
    role: PolicyPlan | None = None
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class BucketPlan:
    """A bucket that this stack creates, on AWS or on another S3 service."""

    name: str
    region: str
    kms_key_id: str | None
    policy: dict[str, Any]


def buckets(d: Deployment) -> dict[str, BucketPlan]:
    """The buckets that this stack creates, by name."""
    stores = [s3 for site in d.sites if (s3 := d.storage_of(site)) is not None and s3.create]
    return {s3.bucket: BucketPlan(s3.bucket, s3.region, s3.kms_key_id, iam.tls_only(s3)) for s3 in stores}


def site_storage(d: Deployment, name: str) -> SiteStoragePlan:
    keys, s3, site = d.keys_of(name), d.storage_of(name), d.sites[name]
    if s3 is None:
        return SiteStoragePlan(secrets=keys.secrets() if keys else {})
    write = not d.read_only(name)
    policy = PolicyPlan(iam.permissions_name(s3), s3.bucket, write, iam.permissions(s3, write=write))
    role = d.instance_profile(name)
    user = not site.s3_keys and not role
    return SiteStoragePlan(
        bucket=s3.bucket if s3.create else None,
        region=s3.region if (s3.create or user) and not s3.endpoint else None,
        user=policy if user else None,
        role=policy if role else None,
        secrets=site.s3_keys.secrets() if site.s3_keys else {},
    )
