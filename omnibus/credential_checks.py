"""Whether each site may come to its storage, and no secondary more than read it where it is shared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from omnibus import versions
from omnibus.credentials import AzureKeys, Credentials, GcsKeys, Keys, SwiftKeys
from omnibus.drivers import S3, Azure
from omnibus.model import Deployment
from omnibus.problems import Problem

_MAY_WRITE = "the secondary could write there, and Geo's worker delete the primary's live images"


def access(d: Deployment) -> Iterator[Problem]:
    """S3: keys where they are needed and used, and none that is the primary's at a secondary."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name, site in d.sites.items():
        s3 = d.storage_of(name)
        if site.s3_keys:
            holders[site.s3_keys.access_key].append(name)
            if s3 is None and _named(d, name):
                yield Problem(
                    f"sites.{name}.s3_keys",
                    "given for a site whose storage is kept as it is"
                    if d.driver_of(name) is None
                    else "given for a site whose storage is not S3",
                    "they would be used nowhere",
                    "remove them, or name the bucket",
                )
        if s3 and s3.endpoint and not site.s3_keys:
            yield Problem(
                f"sites.{name}.s3_keys",
                "missing",
                f"{s3.endpoint} is not AWS: no user can be made there for the site",
                "{access_key: …, secret_key: …}",
            )
        if s3 and s3.endpoint and s3.create:
            own = "" if isinstance(site.storage, S3) else ".s3"
            where = "storage.s3" if d.shared else f"sites.{name}.storage{own}"
            yield Problem(
                f"{where}.create", "true with an endpoint", "buckets are only made on AWS", "create: false"
            )
    if d.shared:
        for names in holders.values():
            if d.primary in names and len(names) > 1:
                other = next(n for n in names if n != d.primary)
                yield Problem(
                    f"sites.{other}.s3_keys.access_key",
                    f"the same as the primary's ({d.primary})",
                    _MAY_WRITE,
                    "a key that may only read",
                )


def _named(d: Deployment, site: str) -> bool:
    """Whether it is said where the site's images are; if not, that is told, and no more can be."""
    return d.driver_of(site) is not None or (not d.shared and d.sites[site].storage == "keep")


def credentials(d: Deployment) -> Iterator[Problem]:
    """The other drivers: exactly the credentials of the driver in use, whole; at a secondary its own."""
    for name, site in d.sites.items():
        driver, given = d.driver_of(name), site.credentials.given()
        key = f"sites.{name}.credentials"
        wanted = driver.driver if driver and driver.driver in Credentials.model_fields else None
        for other in given.keys() - {wanted} if _named(d, name) else ():
            yield Problem(
                f"{key}.{other}",
                "given for a site whose storage is another",
                "they would be used nowhere",
                f"remove them{f', or credentials.{wanted}' if wanted else ''}",
            )
        if wanted and wanted not in given:
            field = Credentials.model_fields[wanted]
            yield Problem(
                f"{key}.{wanted}",
                "missing",
                "the storage would refuse the registry",
                next((m.example for m in field.metadata if hasattr(m, "example")), "{…}"),
            )
        if wanted and wanted in given:
            yield from _whole(d, f"{key}.{wanted}", name, given[wanted])
    yield from _own(d)


def _whole(d: Deployment, key: str, site: str, keys: Keys) -> Iterator[Problem]:
    if isinstance(keys, GcsKeys):
        found = [name for name in GcsKeys.model_fields if getattr(keys, name) is not None]
        if len(found) != 1:
            yield Problem(
                key,
                f"has {' and '.join(found) or 'nothing'}",
                "the registry would take one of them, or the servers' own identity",
                "one of credentials, keyfile, application_default: true",
            )
    if isinstance(keys, AzureKeys):
        yield from _azure(d, key, site, keys)
    if isinstance(keys, SwiftKeys) and keys.secretkey and d.shared and site != d.primary:
        yield Problem(
            f"{key}.secretkey",
            "given to a secondary of shared storage",
            f"a key for temporary URLs signs writes as well: {_MAY_WRITE}",
            "remove it: a secondary hands the images out itself",
        )


def _azure(d: Deployment, key: str, site: str, keys: AzureKeys) -> Iterator[Problem]:
    kind, needs = keys.credentials_type, AzureKeys.NEEDS[keys.credentials_type]
    for name in sorted({name for names in AzureKeys.NEEDS.values() for name in names}):
        there = getattr(keys, name) is not None
        if there != (name in needs):
            yield Problem(
                f"{key}.{name}",
                "is of no use" if there else "missing",
                f"credentials_type {kind} has {', '.join(needs) or 'no keys'}",
                "remove it" if there else "its value",
            )
    version = d.registry_version(site)
    for limit in versions.LIMITS:
        if limit.key == "credentials_type" and kind in limit.values and not limit.allows(version):
            yield Problem(
                f"{key}.{limit.key}",
                f"{kind!r} is not known to {d.registry_name(site)}",
                f"the registry has it {limit.range}",
                limit.way_out,
            )
    driver = d.driver_of(site)
    if kind == "shared_key" and isinstance(driver, Azure) and not driver.accountname:
        where = "storage" if d.shared else f"sites.{site}.storage"
        yield Problem(
            f"{where}.azure.accountname", "missing", "an account key signs with its name", "acmeregistry"
        )
    if d.shared and site != d.primary and kind == "shared_key":
        yield Problem(
            f"{key}.credentials_type",
            "shared_key at a secondary of shared storage",
            f"an account key may do everything: {_MAY_WRITE}",
            "client_secret or default_credentials, with the role Storage Blob Data Reader",
        )


def _plain(identity: str | None) -> str:
    """As the clouds read it: an application's id in any case, an address with blanks around it."""
    return (identity or "").strip().lower()


def _own(d: Deployment) -> Iterator[Problem]:
    primary = d.keys_of(d.primary) if d.shared and d.primary in d.sites else None
    if primary is None or primary.identity() is None:
        return
    for name in d.secondaries:
        keys = d.keys_of(name)
        if keys is not None and _plain(keys.identity()) == _plain(primary.identity()):
            yield Problem(
                f"sites.{name}.credentials.{keys.driver}.{keys.holder}",
                f"the same as the primary's ({d.primary})",
                _MAY_WRITE,
                "credentials that may only read",
            )
