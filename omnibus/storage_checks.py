"""What a configuration's storage contradicts: mode, GitLab version, other keys, another site's place."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from omnibus import s3_checks, versions
from omnibus.credential_checks import access, credentials
from omnibus.drivers import S3, Azure, Driver, Drivers, Filesystem, Swift
from omnibus.model import Deployment
from omnibus.problems import Problem
from omnibus.storage import identity, same


def problems(d: Deployment) -> Iterator[Problem]:
    """Every contradiction in what is said of storage."""
    yield from _mode(d)
    yield from _drivers(d)
    yield from _places(d)
    yield from _writers(d)
    yield from _filesystem(d)
    yield from _one_azure(d)
    for key, driver, sites in _given(d):
        yield from _of_these_versions(d, key, driver, sites)
        yield from _exclusive(key, driver)
        if isinstance(driver, S3):
            yield from s3_checks.problems(d, key, driver, sites)
    yield from access(d)
    yield from credentials(d)


def _given(d: Deployment) -> Iterator[tuple[str, Driver, list[str]]]:
    """The driver of each place in the configuration, with its key there and the sites that use it."""
    yield from ((f"storage.{name}", driver, [*d.sites]) for name, driver in d.storage.given().items())
    for site, its in d.sites.items():
        if isinstance(its.storage, S3):
            yield f"sites.{site}.storage", its.storage, [site]
        elif isinstance(its.storage, Drivers):
            for name, driver in its.storage.given().items():
                yield f"sites.{site}.storage.{name}", driver, [site]


def _mode(d: Deployment) -> Iterator[Problem]:
    if d.shared and not d.storage.given():
        yield Problem(
            "storage.s3",
            "missing",
            "mode shared puts all registries on one storage, and none is named",
            "{bucket: acme-gitlab-registry, region: eu-west-1}, or another driver, as storage.gcs",
        )
    if not d.shared:
        for name in d.storage.given():
            yield Problem(
                f"storage.{name}",
                "is given with mode per_site",
                "one storage for all sites would make them share it",
                "sites.london.storage: {bucket: acme-registry-london, region: eu-west-1}",
            )
    for name, site in d.sites.items():
        if d.shared and site.storage is not None:
            yield Problem(
                f"sites.{name}.storage",
                "is given with storage.mode shared",
                "shared storage is one for all sites; this one would be ignored",
                "storage.mode: per_site",
            )
        if not d.shared and (
            site.storage is None or (isinstance(site.storage, Drivers) and not site.storage.given())
        ):
            yield Problem(
                f"sites.{name}.storage",
                "missing",
                "with mode per_site each site says where its images are",
                "keep, or {bucket: acme-registry-" + name + ", region: eu-west-1}",
            )


def _drivers(d: Deployment) -> Iterator[Problem]:
    groups: dict[str, Drivers] = {"storage": d.storage}
    groups |= {f"sites.{n}.storage": s.storage for n, s in d.sites.items() if isinstance(s.storage, Drivers)}
    for key, group in groups.items():
        first, *others = [*group.given(), ""]
        for other in filter(None, others):
            yield Problem(
                f"{key}.{other}",
                f"is given beside {first}",
                "omnibus would accept both, and the registry then does not start",
                f"remove {other} or {first}",
            )


def _places(d: Deployment) -> Iterator[Problem]:
    used: dict[str, Driver] = {}
    # Distribution 2.8's azure driver knows no rootdirectory: two roots in one container are one place to it.
    rootless = any(site.external_registry for site in d.sites.values())
    for name in d.sites:
        driver = d.driver_of(name)
        # Two sites' directories are on two disks; that they are is seen to on the nodes.
        if driver is None or d.shared or isinstance(driver, Filesystem):
            continue
        other = next((site for site, its in used.items() if _one_place(driver, its, rootless=rootless)), None)
        if other:
            at = "" if isinstance(d.sites[name].storage, S3) else f"{driver.driver}."
            field = "bucket" if hasattr(driver, "bucket") else "container"
            value = getattr(driver, field)
            yield Problem(
                f"sites.{name}.storage.{at}{field}",
                f"{value!r} is the storage of {other} too",
                f"Geo's worker would delete live images there: one {field} under two sites is mode shared",
                f"acme-registry-{name}, or storage.mode: shared",
            )
        used[name] = driver


def _one_place(one: Driver, other: Driver, *, rootless: bool) -> bool:
    if isinstance(one, Azure) and isinstance(other, Azure) and rootless:
        return one.place()[:2] == other.place()[:2]
    if isinstance(one, Swift) and isinstance(other, Swift) and one.other_project(other):
        return False
    return same(identity(one), identity(other))


def _writers(d: Deployment) -> Iterator[Problem]:
    for name, site in d.secondaries.items():
        if d.shared and site.read_only is False:
            yield Problem(
                f"sites.{name}.read_only",
                "false on a secondary of shared storage",
                "Geo's worker deletes the tags that the primary lacks; with one storage under both "
                "registries these are the primary's live images",
                "true, or storage.mode: per_site",
            )
        if not d.shared and site.read_only and d.replication:
            yield Problem(
                f"sites.{name}.read_only",
                "true on a secondary that copies images",
                "its registry would refuse every copy",
                "false, or replication: false",
            )
        if not d.shared and site.read_only and not d.replication and site.storage == "keep":
            yield Problem(
                f"sites.{name}.read_only",
                "true where the storage is kept",
                "kept storage is left to its gitlab.rb, so nothing would make it read-only",
                "remove it, or name the site's bucket",
            )
    if d.primary in d.sites and d.sites[d.primary].read_only:
        yield Problem(
            f"sites.{d.primary}.read_only",
            "true on the primary",
            "nobody could push an image any more",
            "false",
        )


def _filesystem(d: Deployment) -> Iterator[Problem]:
    if d.shared and d.storage.filesystem:
        yield Problem(
            "storage.filesystem",
            "is given with mode shared",
            "a directory is on one server's disk, and no right could keep a secondary from writing to it",
            "an object storage, as storage.s3; or storage.mode: per_site",
        )
    for name, site in d.sites.items():
        several = len(site.nodes_with("registry")) > 1
        if several and not d.shared and isinstance(d.driver_of(name), Filesystem):
            yield Problem(
                f"sites.{name}.storage.filesystem",
                "is given to a site with several registry nodes",
                "each would have a part of the images on its own disk",
                "an object storage; or keep, where all mount one directory",
            )


def _one_azure(d: Deployment) -> Iterator[Problem]:
    """Distribution 2.8 begins its paths with `//` (seen); 3, and GitLab from 16.0 on, only if told to."""
    azure = d.storage.azure if d.shared else None
    kinds = {site.external_registry is None for site in d.sites.values()}
    if azure and len(kinds) == 2 and azure.legacyrootprefix is None and azure.trimlegacyrootprefix is None:
        yield Problem(
            "storage.azure.legacyrootprefix",
            "missing where GitLab's registry shares a container with another",
            "one may begin its paths with //, the other not, and neither would see the other's images",
            "true beside Distribution 2.8, false beside 3",
        )


def _of_these_versions(d: Deployment, key: str, driver: Driver, sites: list[str]) -> Iterator[Problem]:
    found = driver.options if isinstance(driver, S3) else driver
    at = f"{key}.options" if isinstance(driver, S3) else key
    for limit in versions.LIMITS:
        short = [site for site in sites if not limit.allows(d.registry_version(site))]
        if limit.driver == driver.driver and short:
            yield from _limited(d.registry_name(short[0]), limit, found, at if limit.key else key)
    if isinstance(driver, Azure) and not driver.accountname and not driver.serviceurl:
        yield Problem(
            f"{key}.accountname", "missing", "the registry would not know whose container", "acmeregistry"
        )


def _limited(registry: str, limit: versions.Limit, found: BaseModel, at: str) -> Iterator[Problem]:
    if limit.key and limit.key not in type(found).model_fields:
        return  # a key of the driver's credentials
    value = getattr(found, limit.key) if limit.key else None
    if limit.key and (value is None or (limit.values and value not in limit.values)):
        return
    yield Problem(
        f"{at}.{limit.key}" if limit.key else at,
        f"{'is' if value is None else f'{value!r} is'} not known to {registry}",
        "it would be ignored without a word: GitLab's own registry alone reads it"
        if limit.gitlabs_own
        else f"the registry of that version has it {limit.range}",
        limit.way_out,
    )


def _exclusive(key: str, driver: Driver) -> Iterator[Problem]:
    found = driver.options if isinstance(driver, S3) else driver
    at = f"{key}.options" if isinstance(driver, S3) else key
    for row in versions.EXCLUSIVES:
        if row.driver == driver.driver and all(getattr(found, name) for name in row.keys):
            yield Problem(
                f"{at}.{row.keys[0]}", f"is given beside {row.keys[1]}", row.why, f"remove {row.keys[0]}"
            )
    for needs in versions.NEEDS:
        if (
            needs.driver == driver.driver
            and getattr(found, needs.key) is not None
            and not getattr(found, needs.needed)
        ):
            yield Problem(
                f"{at}.{needs.key}",
                f"is given without {needs.needed}: true",
                "it would say nothing",
                f"{needs.needed}: true, or remove it",
            )
