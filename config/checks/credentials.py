"""Whether each site can use its storage, and no secondary can write to shared storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from config.credentials import AzureKeys, Credentials, GcsKeys, Keys, SwiftKeys
from config.errors import ConfigError, field_help
from config.model import Deployment
from config.storage_drivers import S3, Azure
from omnibus import versions

_MAY_WRITE = (
    "the secondary could write to the storage, and Geo's worker could delete the primary's live images"
)


def access(d: Deployment) -> Iterator[ConfigError]:
    """S3 keys: only where needed and used, and no secondary has the primary's."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name, site in d.sites.items():
        s3 = d.storage_of(name)
        if site.s3_keys:
            holders[site.s3_keys.access_key].append(name)
            if s3 is None and _is_named(d, name):
                kept = d.driver_of(name) is None
                yield ConfigError(
                    "s3-keys-unused",
                    f"sites.{name}.s3_keys",
                    f"provided for a site whose storage is {'kept' if kept else 'not S3'}",
                    expectation="s3_keys only for a site whose storage is a named S3 bucket",
                    consequence="they would have no effect",
                    example="remove them, or name the bucket",
                )
        if s3 and s3.endpoint and not site.s3_keys:
            yield ConfigError(
                "s3-keys-missing",
                f"sites.{name}.s3_keys",
                "missing",
                expectation="s3_keys of each site with an endpoint",
                consequence=f"{s3.endpoint} is not AWS: the stack cannot create a user there for the site",
                example="{access_key: …, secret_key: …}",
            )
        if s3 and s3.endpoint and s3.create:
            suffix = "" if isinstance(site.storage, S3) else ".s3"
            where = "storage.s3" if d.shared else f"sites.{name}.storage{suffix}"
            yield ConfigError(
                "bucket-not-on-aws",
                f"{where}.create",
                "true with an endpoint",
                expectation="create: false with an endpoint",
                consequence="the stack creates buckets on AWS only, and the registry would not find its "
                "bucket",
                example="false",
            )
    if d.shared:
        for names in holders.values():
            if d.primary in names and len(names) > 1:
                other = next(n for n in names if n != d.primary)
                yield ConfigError(
                    "s3-key-of-primary",
                    f"sites.{other}.s3_keys.access_key",
                    f"the same as the primary's ({d.primary})",
                    expectation="a key that can only read the bucket",
                    consequence=_MAY_WRITE,
                    example="AKIA… of a user with read permissions",
                )


def _is_named(d: Deployment, site: str) -> bool:
    """Whether the configuration says where the site's images are; if not, another check reports that."""
    return d.driver_of(site) is not None or (not d.shared and d.sites[site].storage == "keep")


def credentials(d: Deployment) -> Iterator[ConfigError]:
    """Other drivers: complete credentials of the driver in use only, and no secondary has the primary's."""
    for name, site in d.sites.items():
        driver, provided = d.driver_of(name), site.credentials.configured()
        key = f"sites.{name}.credentials"
        wanted = driver.driver if driver and driver.driver in Credentials.model_fields else None
        for other in provided.keys() - {wanted} if _is_named(d, name) else ():
            yield ConfigError(
                "credentials-unused",
                f"{key}.{other}",
                "provided for a site that uses a different storage driver"
                if driver
                else "provided for a site whose storage is kept",
                expectation=f"credentials for {wanted} only" if wanted else "no credentials for this storage",
                consequence="they would have no effect",
                example="remove them",
            )
        if wanted and wanted not in provided:
            about = field_help(Credentials, wanted)
            yield ConfigError(
                "credentials-missing",
                f"{key}.{wanted}",
                "missing",
                expectation=about.expectation,
                consequence=about.consequence,
                example=about.example,
            )
        if wanted and wanted in provided:
            yield from _complete(d, f"{key}.{wanted}", name, provided[wanted])
    yield from _distinct_from_primary(d)


def _complete(d: Deployment, key: str, site: str, keys: Keys) -> Iterator[ConfigError]:
    if isinstance(keys, GcsKeys):
        provided = [name for name in GcsKeys.model_fields if getattr(keys, name) is not None]
        if len(provided) != 1:
            yield ConfigError(
                "gcs-credentials-ambiguous",
                key,
                f"has {' and '.join(provided) or 'nothing'}",
                expectation="exactly one of credentials, keyfile and application_default",
                consequence="the registry would use one of them, or the identity of the machine",
                example="{application_default: true}",
            )
    if isinstance(keys, AzureKeys):
        yield from _azure(d, key, site, keys)
    if isinstance(keys, SwiftKeys) and keys.secretkey and d.shared and d.is_secondary(site):
        yield ConfigError(
            "signing-key-on-secondary",
            f"{key}.secretkey",
            "provided for a secondary of shared storage",
            expectation="no secretkey at a secondary, whose registry serves the images itself",
            consequence=f"a key for temporary URLs signs writes as well: {_MAY_WRITE}",
            example="remove it",
        )


def _azure(d: Deployment, key: str, site: str, keys: AzureKeys) -> Iterator[ConfigError]:
    kind, needs = keys.credentials_type, AzureKeys.NEEDS[keys.credentials_type]
    for name in sorted({name for names in AzureKeys.NEEDS.values() for name in names}):
        present = getattr(keys, name) is not None
        if present != (name in needs):
            yield ConfigError(
                "azure-key-unused" if present else "azure-key-missing",
                f"{key}.{name}",
                "not used" if present else "missing",
                expectation=f"with credentials_type {kind}: {', '.join(needs) or 'no other keys'}",
                consequence=f"{name} would have no effect"
                if present
                else field_help(AzureKeys, name).consequence,
                example="remove it" if present else field_help(AzureKeys, name).example,
            )
    version = d.registry_version(site)
    for limit in versions.LIMITS:
        if limit.key == "credentials_type" and kind in limit.values and not limit.allows(version):
            yield ConfigError(
                "azure-credentials-not-in-version",
                f"{key}.{limit.key}",
                f"{kind!r} is not known to {d.registry_name(site)}",
                expectation=limit.expectation,
                consequence=limit.consequence,
                example=limit.way_out,
            )
    driver = d.driver_of(site)
    if kind == "shared_key" and isinstance(driver, Azure) and not driver.accountname:
        where = "storage" if d.shared else f"sites.{site}.storage"
        yield ConfigError(
            "azure-account-name-missing",
            f"{where}.azure.accountname",
            "missing",
            expectation="accountname with credentials_type shared_key",
            consequence="the registry signs its requests with the account's name and key",
            example="acmeregistry",
        )
    if d.shared and d.is_secondary(site) and kind == "shared_key":
        yield ConfigError(
            "account-key-on-secondary",
            f"{key}.credentials_type",
            "shared_key at a secondary of shared storage",
            expectation="client_secret or default_credentials, with the role Storage Blob Data Reader",
            consequence=f"an account key has all permissions: {_MAY_WRITE}",
            example="client_secret",
        )


def _plain(identity: str | None) -> str:
    """As cloud services read it: an application's id in any case, an address with surrounding spaces."""
    return (identity or "").strip().lower()


def _distinct_from_primary(d: Deployment) -> Iterator[ConfigError]:
    primary = d.keys_of(d.primary) if d.shared and d.primary in d.sites else None
    if primary is None or primary.identity() is None:
        return
    for name in d.secondaries:
        keys = d.keys_of(name)
        if keys is not None and _plain(keys.identity()) == _plain(primary.identity()):
            yield ConfigError(
                "credentials-of-primary",
                f"sites.{name}.credentials.{keys.driver}.{keys.holder}",
                f"the same as the primary's ({d.primary})",
                expectation="credentials that can only read the storage",
                consequence=_MAY_WRITE,
                example="a separate identity with read permissions",
            )
