"""Where a registry's images are, from its driver's settings: equal for two registries on one storage.

Also runs on the host of an external registry: only Python 3.8 and its standard library. The program on
GitLab nodes has the same in Ruby (gitlab_node/storage.rb); tests/unit/test_storages.py compares both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

BESIDE_DRIVERS = ("cache", "delete", "maintenance", "redirect", "tag")
"""Keys below `storage` that are not drivers (Distribution, configuration.Storage.Type)."""


def driver(name: str) -> str:
    """The name that all versions of a driver have in common: `s3` for `s3_v2` and `s3aws`."""
    return "s3" if name.startswith("s3") else name.replace("_v2", "")


def place(name: str, settings: Mapping[str, Any]) -> list[str | None]:
    """The service, the bucket and the directory in it, as far as the driver has them.

    `settings`: the driver's keys; booleans may be text. For a filesystem only the path: which disk that is on
    is known on the host.
    """
    root = _trimmed(settings.get("rootdirectory"))
    if name.startswith("s3"):
        return [_server(settings.get("regionendpoint")), settings.get("bucket"), root]
    if name == "filesystem":
        return [root]
    if name.startswith("azure"):
        return _azure(settings, root)
    if name == "swift":
        keystone = re.sub(r"/v[0-9.]+$", "", _address(settings.get("authurl") or ""))
        return [keystone, settings.get("container"), _trimmed(settings.get("prefix"))]
    if name == "oss":
        return [_server(settings.get("endpoint")), settings.get("bucket"), root]
    universe = (settings.get("universe_domain") or "").lower()
    return [settings.get("bucket"), root, *([universe] if universe not in ("", "googleapis.com") else [])]


def _trimmed(path: str | None) -> str:
    return (path or "").strip("/")


def _address(url: str) -> str:
    """A URL's address in its canonical form: `https://S3.example.com.:443/` → `s3.example.com`."""
    host, slash, path = re.sub(r"^[a-z]+://", "", url.lower()).partition("/")
    host = re.sub(r":(80|443)$", "", re.sub(r"\.+(?=:|$)", "", host))
    host = re.sub(r"^\[(.*)\]", lambda match: f"[{_compressed(match.group(1))}]", host)
    return f"{host}{slash}{path}".rstrip("/")


def _compressed(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def _server(endpoint: str | None) -> str | None:
    """None for AWS and Alibaba Cloud, explicit or not: there a bucket's name is globally unique."""
    plain = _address(endpoint or "")
    known = r"([a-z0-9-]+\.)*(s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?|oss-[a-z0-9-]+\.aliyuncs\.com)"
    return None if not plain or re.fullmatch(known, plain) else plain


def _azure(settings: Mapping[str, Any], root: str) -> list[str | None]:
    url = re.match(r"[a-z]+://([^/]+)", settings.get("serviceurl") or "")
    account = f"{settings.get('accountname') or ''}.blob.{settings.get('realm') or 'core.windows.net'}"
    legacy = _is(settings, "legacyrootprefix", "true") or _is(settings, "trimlegacyrootprefix", "false")
    return [
        _address(url.group(1) if url else account),
        settings.get("container"),
        f"/{root}" if legacy else root,
    ]


def _is(settings: Mapping[str, Any], key: str, value: str) -> bool:
    return str(settings.get(key)).lower() == value
