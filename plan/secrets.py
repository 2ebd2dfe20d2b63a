"""The secrets that all sites share: which are generated, and on which node the key pair is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from config.model import Deployment
from plan import database
from plan.key_rotation import KeyRotation


@dataclass(frozen=True)
class SecretsPlan:
    """`http_scopes`: site → the name of its HTTP secret, one for all registries on one storage.

    `key_node`: the node of the primary whose key pair is read. `inspected_first`: the node whose registry
    storage is inspected before that, if it is another node. `databases`: site → its password.
    """

    notification_rotation: int
    http_rotation: int
    key_rotation: KeyRotation
    http_scopes: dict[str, str]
    key_node: str
    inspected_first: str | None
    protect: bool
    databases: dict[str, str] = field(repr=False)


def key_rotation(d: Deployment) -> KeyRotation:
    rotate = d.rotate
    return KeyRotation(rotate.registry_key, rotate.registry_key_finished, rotate.registry_key_now)


def secrets(d: Deployment) -> SecretsPlan:
    site = d.sites[d.primary]
    # Where tokens are signed: a registry on a separate node may trust a key that is not in use.
    name = next(iter(site.nodes_with("rails")))
    registries = site.nodes_with("registry")
    apart = registries and name not in registries and not site.aws and d.driver_of(d.primary)
    return SecretsPlan(
        notification_rotation=d.rotate.notification_secret,
        http_rotation=d.rotate.http_secret,
        key_rotation=key_rotation(d),
        http_scopes={
            name: "shared" if d.shared else name for name in d.sites if d.shared or d.driver_of(name)
        },
        key_node=name,
        inspected_first=next(iter(registries)) if apart else None,
        protect=d.protected,
        databases={
            name: password for name, other in d.sites.items() if (password := database.password(other))
        },
    )
