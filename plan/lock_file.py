"""The lock file that read-only registries need but cannot write: which node writes it, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from config.model import Deployment
from config.storage_drivers import S3, Azure, Gcs
from omnibus.ruby import Secret
from plan import node, storage


@dataclass(frozen=True)
class LockFilePlan:
    """`node`: a node of the primary; `payload`: the input of its program."""

    node: str
    payload: dict[str, Any] = field(repr=False)


def lock_file(d: Deployment) -> LockFilePlan | None:
    """None unless the storage is shared, with a driver whose registries have lock files.

    Also without a secondary: adding one later opens no session to the primary. Not for swift and oss: GitLab
    dropped both before its registry had lock files, and Distribution has none. With storage per site, no
    registry may write to the storage of a site with `read_only`; its nodes report that.
    """
    site_name, driver = d.primary, d.driver_of(d.primary)
    if not d.shared or not isinstance(driver, S3 | Gcs | Azure):
        return None
    site, keys = d.sites[site_name], d.keys_of(site_name)
    # For an external registry, a web node: the registry's host might not have Ruby.
    name = next(iter(site.nodes_with("registry") or site.nodes_with("rails")))
    headers = {"headers": storage.headers(driver)} if isinstance(driver, S3) else {}
    payload = {
        "node": name,
        "site": site_name,
        "registry_kind": site.registry_kind,
        "storage": {**(storage.access(d, site_name) or {}), **headers},
        "secrets": {name: Secret(name) for name in keys.secrets()} if keys else {},
        "files": node.files(d, site_name, site.nodes[name]),
        # With another version or proof, the file is written again if it is missing.
        "triggers": {"gitlab_version": d.gitlab_version, "proof": d.proof},
    }
    return LockFilePlan(name, payload)
