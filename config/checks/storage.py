"""Contradictions of storage with its mode, GitLab's version, other keys, or another site's storage."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from config.checks import s3 as s3_checks
from config.checks.credentials import access, credentials
from config.errors import ConfigError, field_help
from config.model import Deployment, Site
from config.storage_drivers import S3, Azure, Driver, Drivers, Filesystem, Swift
from config.storage_drivers.identity import identity, same
from omnibus import versions

_SITE_STORAGE = field_help(Site, "storage")


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction in the configuration of storage."""
    yield from _mode(d)
    yield from _drivers(d)
    yield from _distinct_storage(d)
    yield from _writers(d)
    yield from _filesystem(d)
    yield from _one_azure(d)
    for key, driver, sites in _used_drivers(d):
        yield from _of_these_versions(d, key, driver, sites)
        yield from _exclusive(key, driver)
        if isinstance(driver, S3):
            yield from s3_checks.errors(d, key, driver, sites)
    yield from access(d)
    yield from credentials(d)


def _used_drivers(d: Deployment) -> Iterator[tuple[str, Driver, list[str]]]:
    """Each driver in the configuration, with its key there and the sites that use it."""
    yield from ((f"storage.{name}", driver, [*d.sites]) for name, driver in d.storage.configured().items())
    for name, site in d.sites.items():
        if isinstance(site.storage, S3):
            yield f"sites.{name}.storage", site.storage, [name]
        elif isinstance(site.storage, Drivers):
            for driver_name, driver in site.storage.configured().items():
                yield f"sites.{name}.storage.{driver_name}", driver, [name]


def _mode(d: Deployment) -> Iterator[ConfigError]:
    if d.shared and not d.storage.configured():
        yield ConfigError(
            "shared-storage-missing",
            "storage.s3",
            "missing",
            expectation="one driver in storage, such as s3 or gcs",
            consequence="with mode shared all registries use one storage, and none is named",
            example="{bucket: acme-gitlab-registry, region: eu-west-1}",
        )
    if not d.shared:
        for name in d.storage.configured():
            yield ConfigError(
                "storage-at-top-with-per-site",
                f"storage.{name}",
                "provided with mode per_site",
                expectation="with mode per_site, the storage of each site in sites.SITE.storage",
                consequence="with one storage for all sites, Geo's worker could delete the primary's live "
                "images",
                example="sites.london.storage: {bucket: acme-registry-london, region: eu-west-1}",
            )
    for name, site in d.sites.items():
        if d.shared and site.storage is not None:
            yield ConfigError(
                "site-storage-with-shared",
                f"sites.{name}.storage",
                "provided with storage.mode shared",
                expectation="with mode shared, one storage for all sites in storage",
                consequence="it would have no effect: the site's registry would use the shared storage",
                example="remove it, or storage.mode: per_site",
            )
        if not d.shared and (
            site.storage is None or (isinstance(site.storage, Drivers) and not site.storage.configured())
        ):
            yield ConfigError(
                "site-storage-missing",
                f"sites.{name}.storage",
                "missing",
                expectation="with mode per_site, a storage for each site: " + _SITE_STORAGE.expectation,
                consequence="the site's registry would have no storage",
                example="keep, or {bucket: acme-registry-" + name + ", region: eu-west-1}",
            )


def _drivers(d: Deployment) -> Iterator[ConfigError]:
    groups: dict[str, Drivers] = {"storage": d.storage}
    groups |= {f"sites.{n}.storage": s.storage for n, s in d.sites.items() if isinstance(s.storage, Drivers)}
    for key, group in groups.items():
        first, *others = [*group.configured(), ""]
        for other in filter(None, others):
            yield ConfigError(
                "storage-drivers-exclusive",
                f"{key}.{other}",
                f"provided together with {first}",
                expectation="exactly one driver",
                consequence="the Linux package would accept both, and the registry would not start",
                example=f"remove {other} or {first}",
            )


def _distinct_storage(d: Deployment) -> Iterator[ConfigError]:
    used: dict[str, Driver] = {}
    # Distribution 2.8's azure driver ignores rootdirectory: two roots in one container are one storage to it.
    rootless = any(site.external_registry for site in d.sites.values())
    for name in d.sites:
        driver = d.driver_of(name)
        # Directories of two sites are on two disks, as the nodes verify.
        if driver is None or d.shared or isinstance(driver, Filesystem):
            continue
        other = next(
            (
                site
                for site, other_driver in used.items()
                if _one_place(driver, other_driver, rootless=rootless)
            ),
            None,
        )
        if other:
            parent = "" if isinstance(d.sites[name].storage, S3) else f"{driver.driver}."
            field = "bucket" if hasattr(driver, "bucket") else "container"
            value = getattr(driver, field)
            yield ConfigError(
                "storage-not-unique",
                f"sites.{name}.storage.{parent}{field}",
                f"{value!r} is also the storage of {other}",
                expectation=f"with mode per_site, a {field} that no other site uses",
                consequence="Geo's worker would delete live images: it deletes what the primary does not "
                "have",
                example=f"acme-registry-{name}, or storage.mode: shared",
            )
        used[name] = driver


def _one_place(one: Driver, other: Driver, *, rootless: bool) -> bool:
    if isinstance(one, Azure) and isinstance(other, Azure) and rootless:
        return one.place()[:2] == other.place()[:2]
    if isinstance(one, Swift) and isinstance(other, Swift) and one.other_project(other):
        return False
    return same(identity(one), identity(other))


def _writers(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.secondaries.items():
        if d.shared and site.read_only is False:
            yield ConfigError(
                "secondary-writable",
                f"sites.{name}.read_only",
                "false on a secondary of shared storage",
                expectation="true or left out on a secondary of shared storage",
                consequence="Geo's worker deletes the tags that the primary does not have; if both "
                "registries use the same storage, those tags are the primary's live images",
                example="true, or storage.mode: per_site",
            )
        if not d.shared and site.read_only and d.replication:
            yield ConfigError(
                "read-only-with-replication",
                f"sites.{name}.read_only",
                "true on a secondary that copies images",
                expectation="false or left out while replication is enabled",
                consequence="the site's registry would refuse every copy",
                example="false, or replication: false",
            )
        if not d.shared and site.read_only and not d.replication and site.storage == "keep":
            yield ConfigError(
                "read-only-with-kept-storage",
                f"sites.{name}.read_only",
                "true where the storage is kept",
                expectation="true only where this program configures the storage",
                consequence="your gitlab.rb has the settings of kept storage, so nothing would make it "
                "read-only",
                example="remove it, or name the site's bucket",
            )
    if d.primary in d.sites and d.sites[d.primary].read_only:
        yield ConfigError(
            "primary-read-only",
            f"sites.{d.primary}.read_only",
            "true on the primary",
            expectation="false or left out on the primary",
            consequence="no one could push an image",
            example="false",
        )


def _filesystem(d: Deployment) -> Iterator[ConfigError]:
    if d.shared and d.storage.filesystem:
        yield ConfigError(
            "filesystem-shared",
            "storage.filesystem",
            "provided with mode shared",
            expectation="object storage with mode shared, such as s3",
            consequence="a directory is on the disk of one node, and no permission could keep a secondary "
            "from writing to it",
            example="an object storage, or storage.mode: per_site",
        )
    for name, site in d.sites.items():
        several = len(site.nodes_with("registry")) > 1
        if several and not d.shared and isinstance(d.driver_of(name), Filesystem):
            yield ConfigError(
                "filesystem-on-several-nodes",
                f"sites.{name}.storage.filesystem",
                "provided for a site with several registry nodes",
                expectation="a filesystem only for a site with one registry node",
                consequence="each node would have a part of the images on its own disk",
                example="an object storage; or keep, where all nodes mount one directory",
            )


def _one_azure(d: Deployment) -> Iterator[ConfigError]:
    """Distribution 2.8 begins its paths with `//` (verified), 3 and GitLab 16.0 only with the setting."""
    azure = d.storage.azure if d.shared else None
    kinds = {site.external_registry is None for site in d.sites.values()}
    if azure and len(kinds) == 2 and azure.legacyrootprefix is None and azure.trimlegacyrootprefix is None:
        yield ConfigError(
            "azure-root-prefix-missing",
            "storage.azure.legacyrootprefix",
            "missing where GitLab's registry shares a container with another",
            expectation="true beside Distribution 2.8, false beside Distribution 3",
            consequence="one could begin its paths with // and the other not, and neither would find the "
            "other's images",
            example="true",
        )


def _of_these_versions(d: Deployment, key: str, driver: Driver, sites: list[str]) -> Iterator[ConfigError]:
    options = driver.options if isinstance(driver, S3) else driver
    options_key = f"{key}.options" if isinstance(driver, S3) else key
    for limit in versions.LIMITS:
        short = [site for site in sites if not limit.allows(d.registry_version(site))]
        if limit.driver == driver.driver and short:
            yield from _limited(d.registry_name(short[0]), limit, options, options_key if limit.key else key)
    if isinstance(driver, Azure) and not driver.accountname and not driver.serviceurl:
        yield ConfigError(
            "azure-account-missing",
            f"{key}.accountname",
            "missing",
            expectation="accountname or serviceurl",
            consequence="the registry would not know in which account the container is",
            example="acmeregistry",
        )


def _limited(registry: str, limit: versions.Limit, options: BaseModel, key: str) -> Iterator[ConfigError]:
    if limit.key and limit.key not in type(options).model_fields:
        return  # a key of the driver's credentials
    value = getattr(options, limit.key) if limit.key else None
    if limit.key and (value is None or (limit.values and value not in limit.values)):
        return
    yield ConfigError(
        "setting-not-in-version",
        f"{key}.{limit.key}" if limit.key else key,
        f"not known to {registry}" if value is None else f"{value!r} is not known to {registry}",
        expectation=limit.expectation,
        consequence=limit.consequence,
        example=limit.way_out,
    )


def _exclusive(key: str, driver: Driver) -> Iterator[ConfigError]:
    options = driver.options if isinstance(driver, S3) else driver
    options_key = f"{key}.options" if isinstance(driver, S3) else key
    for row in versions.EXCLUSIVES:
        if row.driver == driver.driver and all(getattr(options, name) for name in row.keys):
            one, other = row.keys
            yield ConfigError(
                "settings-exclusive",
                f"{options_key}.{one}",
                f"provided together with {other}",
                expectation=f"{one} or {other}, not both",
                consequence=row.why,
                example=f"remove {one}",
            )
    for needs in versions.NEEDS:
        if (
            needs.driver == driver.driver
            and getattr(options, needs.key) is not None
            and not getattr(options, needs.needed)
        ):
            yield ConfigError(
                "setting-without-effect",
                f"{options_key}.{needs.key}",
                f"provided without {needs.needed}: true",
                expectation=f"{needs.key} only together with {needs.needed}: true",
                consequence="it would have no effect",
                example=f"{needs.needed}: true, or remove it",
            )
