"""The identity of a registry's storage, in the same form as on GitLab nodes (gitlab_node/storage.rb)."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path
from typing import Any

from omnibus import storage_place

from .document import MERGE, Scalar, Tree
from .edits import ABSENT, get
from .files import read
from .report import Failure

Identity = Any
"""`{"driver": …, "place": […]}`, equal for two registries on the same storage; None if there is none."""


def identity(config: Tree) -> Identity:
    """The storage in this configuration."""
    storage = get(config, ["storage"])
    if isinstance(storage, str):
        storage = {storage: {}}
    if not isinstance(storage, dict):
        return None
    if MERGE in storage or (isinstance(config, dict) and MERGE in config):
        raise Failure(
            "storage-undetermined",
            "the storage of the registry cannot be determined",
            cause="its configuration merges the storage from another place (<<)",
            remedy="write the storage out, then `pulumi up` again",
        )
    names = [name for name in storage if name not in storage_place.BESIDE_DRIVERS]
    if not names:
        return None
    name = names[0]
    settings = _plain(storage[name])
    place = storage_place.place(name, settings)
    return {
        "driver": storage_place.driver(name),
        "place": directory(f"/{place[0]}") if name == "filesystem" else place,
    }


def _plain(driver: Tree) -> dict[str, str]:
    """The driver's keys, with numbers and booleans as they are written."""
    items = driver.items() if isinstance(driver, dict) else ()
    return {str(k): v.text if isinstance(v, Scalar) else str(v) for k, v in items}


def directory(path: str) -> list[str | None]:
    """[owner of the disk, path on it]; a network file system is the same for every host and mount point."""
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    output = subprocess.run(["df", "-PT", str(existing)], stdout=subprocess.PIPE, check=False).stdout.decode()
    source, kind, *_, target = (output.splitlines() or [""])[-1].split(None, 6) or ["", "", ""]
    if re.match(r"nfs|cifs|smb|ceph|gluster|fuse|lustre|gfs|ocfs", kind):
        below = path[len(target) :] if path.startswith(target) else path
        return [source, below.strip("/")]
    return [_machine(), path[1:]]


def _machine() -> str:
    return (read("/etc/machine-id") or b"").decode().strip() or socket.gethostname()


def refuse_to_hide_images(order: dict[str, Any], now: Tree, new: Tree) -> None:
    """Raise Failure if the registry would use another storage, without the images that it may hold."""
    was, will = identity(now), identity(new)
    if was is None or was == will or order["data_moved"] or was["driver"] == "inmemory":
        return
    known = _holds_images(now)
    if known is False:
        return
    place = " ".join(filter(None, was["place"][1:]))
    to = (order["storage"] or {}).get("shown") or "what its configuration said before"
    move = f"from {was['driver']} {place} to {to}"
    holds = "the registry holds images" if known else "it is unknown whether the registry holds images"
    raise Failure(
        "storage-would-move",
        f"refused: its registry would move {move}",
        cause=f"{holds}; after the change it would not find them",
        remedy='copy the images to the new storage (docs/storage.md, "Existing images"), '
        "then `pulumi config set --path storage.data_moved true`",
    )


def _holds_images(config: Tree) -> bool | None:
    """True, False, or None if it is unknown: without a key the registry does not answer."""
    root = get(config, ["storage", "filesystem", "rootdirectory"])
    database = get(config, ["database", "enabled"])
    if not isinstance(root, str) or database not in (ABSENT, Scalar("bool", "false")):
        return None
    if not Path(root).is_dir():
        return None  # possibly a directory inside a container
    repositories = Path(root, "docker/registry/v2/repositories")
    return repositories.is_dir() and any(repositories.iterdir())
