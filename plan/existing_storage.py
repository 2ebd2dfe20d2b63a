"""Storage that registries keep: whether two sites use the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from config.errors import ConfigError
from config.model import Deployment
from config.storage_drivers import Filesystem
from config.storage_drivers.identity import comparable, identity


@dataclass(frozen=True)
class ExistingStoragePlan:
    """`known`: site → identity of its configured storage, None where that needs no comparison.

    `inspected`: site that keeps its storage → the host on which that storage is looked up.
    """

    known: dict[str, dict[str, Any] | None]
    inspected: dict[str, str]


def existing_storage(d: Deployment) -> ExistingStoragePlan | None:
    """None if the configuration names the storage of every site."""
    known: dict[str, dict[str, Any] | None] = {}
    inspected: dict[str, str] = {}
    for name, site in d.sites.items():
        driver = d.driver_of(name)
        if driver is None and site.registry_kind != "manual":
            inspected[name] = next(iter(site.external_hosts or site.nodes_with("registry")))
        else:
            # Directories of two nodes are distinct: each node checks that its directory is on a local disk.
            known[name] = None if driver is None or isinstance(driver, Filesystem) else identity(driver)
    return ExistingStoragePlan(known, inspected) if any(d.driver_of(n) is None for n in d.sites) else None


def shared_storage(identities: dict[str, dict[str, Any] | None]) -> ConfigError | None:
    """site → identity of its storage; an error if two sites of a stack with storage per site use the same."""
    users: dict[str, str] = {}
    for site, storage in identities.items():
        if storage is None:
            continue
        other = users.setdefault(repr(comparable(storage)), site)
        if other != site:
            where = ":".join(str(part) for part in storage["place"] if part)
            return ConfigError(
                "existing-storage-not-unique",
                f"sites.{site}.storage",
                f"{storage['driver']} {where} is also the storage of {other}",
                expectation=f"storage.mode: shared, or a separate storage for {site}",
                consequence="with storage per site, Geo's worker deletes what the primary does not have, and "
                "these are the primary's live images",
                example=f"{{bucket: acme-registry-{site}, region: eu-west-1}}",
            )
    return None
