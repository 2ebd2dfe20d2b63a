"""Where a registry's images are, in the form that the program on GitLab's nodes has (node/5_storage.rb)."""

from __future__ import annotations

import re
import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from .document import MERGE, Scalar, Tree
from .edits import ABSENT, get
from .files import read
from .report import Failure

BESIDE_DRIVERS = ("cache", "delete", "maintenance", "redirect", "tag")
"""What stands below `storage` and is no driver (Distribution, configuration.Storage.Type)."""

Identity = Any
"""`{"driver": …, "place": […]}`, equal for two registries on one storage; None where there is no storage."""


def identity(config: Tree) -> Identity:
    """Where the images are that this configuration leads to."""
    storage = get(config, ["storage"])
    if isinstance(storage, str):
        storage = {storage: {}}
    if not isinstance(storage, dict):
        return None
    if MERGE in storage or (isinstance(config, dict) and MERGE in config):
        raise Failure(
            "where the registry has its images cannot be seen",
            cause="its storage is merged from elsewhere in its configuration (<<)",
            remedy="write the storage out, then `pulumi up` again",
        )
    names = [name for name in storage if name not in BESIDE_DRIVERS]
    if not names:
        return None
    name = names[0]
    return {
        "driver": "s3" if name.startswith("s3") else name.replace("_v2", ""),
        "place": _place(name, _plain(storage[name])),
    }


def _plain(driver: Tree) -> dict[str, str]:
    """The driver's keys, numbers and truth values as they are written."""
    found = driver.items() if isinstance(driver, dict) else ()
    return {str(k): v.text if isinstance(v, Scalar) else str(v) for k, v in found}


def _place(name: str, driver: dict[str, str]) -> list[str | None]:
    root = _trimmed(driver.get("rootdirectory"))
    if name.startswith("s3"):
        return [_server(driver.get("regionendpoint")), driver.get("bucket"), root]
    if name == "filesystem":
        return directory(f"/{root}")
    if name.startswith("azure"):
        return _azure(driver, root)
    if name == "swift":
        keystone = re.sub(r"/v[0-9.]+$", "", _address(driver.get("authurl", "")))
        return [keystone, driver.get("container"), _trimmed(driver.get("prefix"))]
    if name == "oss":
        return [_server(driver.get("endpoint")), driver.get("bucket"), root]
    universe = driver.get("universe_domain", "").lower()
    return [driver.get("bucket"), root, *([universe] if universe not in ("", "googleapis.com") else [])]


def _trimmed(path: str | None) -> str:
    return (path or "").strip("/")


def _address(url: str) -> str:
    """Where a URL leads, however it is written."""
    host, slash, path = re.sub(r"^[a-z]+://", "", url.lower()).partition("/")
    host = re.sub(r":(80|443)$", "", re.sub(r"\.+(?=:|$)", "", host))
    host = re.sub(r"^\[(.*)\]", lambda its: f"[{_compressed(its.group(1))}]", host)
    return f"{host}{slash}{path}".rstrip("/")


def _compressed(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def _azure(driver: dict[str, str], root: str) -> list[str | None]:
    url = re.match(r"[a-z]+://([^/]+)", driver.get("serviceurl", ""))
    account = f"{driver.get('accountname', '')}.blob.{driver.get('realm', 'core.windows.net')}"
    host = _address(url.group(1) if url else account)
    legacy = driver.get("legacyrootprefix") == "true" or driver.get("trimlegacyrootprefix") == "false"
    return [host, driver.get("container"), f"/{root}" if legacy else root]


def _server(endpoint: str | None) -> str | None:
    """None for AWS and Alibaba Cloud themselves, written out or not: a bucket's name says it all."""
    plain = _address(endpoint or "")
    known = r"([a-z0-9-]+\.)*(s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?|oss-[a-z0-9-]+\.aliyuncs\.com)"
    return None if not plain or re.fullmatch(known, plain) else plain


def directory(path: str) -> list[str | None]:
    """[whose disk, path on it]; a network file system is one for every host that mounts it, wherever."""
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    said = subprocess.run(["df", "-PT", str(existing)], stdout=subprocess.PIPE, check=False).stdout.decode()
    source, kind, *_, target = (said.splitlines() or [""])[-1].split(None, 6) or ["", "", ""]
    if re.match(r"nfs|cifs|smb|ceph|gluster|fuse|lustre|gfs|ocfs", kind):
        below = path[len(target) :] if path.startswith(target) else path
        return [source, below.strip("/")]
    return [_machine(), path[1:]]


def _machine() -> str:
    return (read("/etc/machine-id") or b"").decode().strip() or socket.gethostname()


def refuse_to_hide_images(order: dict[str, Any], now: Tree, new: Tree) -> None:
    """Raises Failure where the registry would come up on another storage, without images that it may hold."""
    was, will = identity(now), identity(new)
    if was is None or was == will or order["data_moved"] or was["driver"] == "inmemory":
        return
    known = _holds_images(now)
    if known is False:
        return
    place = " ".join(filter(None, was["place"][1:]))
    to = (order["storage"] or {}).get("shown") or "what its configuration said before"
    holds = "the registry holds images" if known else "whether the registry holds images cannot be seen here"
    raise Failure(
        f"refused: its registry would move from {was['driver']} {place} to {to}",
        cause=f"{holds}, and after the change it would not find them",
        remedy='copy the images to the new place (docs/storage.md, "Images that are there already"), '
        "then `pulumi config set --path storage.data_moved true`",
    )


def _holds_images(config: Tree) -> bool | None:
    """True, False, or None where it cannot be known: without a key the registry cannot be asked."""
    root = get(config, ["storage", "filesystem", "rootdirectory"])
    database = get(config, ["database", "enabled"])
    if not isinstance(root, str) or database not in (ABSENT, Scalar("bool", "false")):
        return None
    if not Path(root).is_dir():
        return None  # a container's own directory, perhaps
    repositories = Path(root, "docker/registry/v2/repositories")
    return repositories.is_dir() and any(repositories.iterdir())
