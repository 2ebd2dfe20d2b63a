"""A complete OpenStack Swift in one process: proxy, account, container and object server on loopback.

Run by the Python of `lab/storage_servers.py`, which has Swift from PyPI. It checks users with TempAuth and
permissions with Swift's own ACLs, and also supports S3 (s3api: AWS Signature Version 4, with the same
permissions). Objects are in memory, their metadata in SQLite files. Only the cache is not Swift's own, which
would use memcached.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import eventlet  # type: ignore[import-not-found]

eventlet.monkey_patch()  # before Swift imports sockets

from eventlet import wsgi  # noqa: E402
from swift.common.ring import RingBuilder  # type: ignore[import-not-found]  # noqa: E402
from swift.common.utils import set_swift_dir  # type: ignore[import-not-found]  # noqa: E402
from swift.common.wsgi import loadapp  # type: ignore[import-not-found]  # noqa: E402

PORTS = {"object": 6200, "container": 6201, "account": 6202}
"""Offsets are the same for every lab: the servers of a lab are in its own network namespace."""

SERVER = """\
[DEFAULT]
swift_dir = {dir}
devices = {dir}/devices
mount_check = false
[app:main]
use = egg:swift#{app}
"""
PROXY = """\
[DEFAULT]
swift_dir = {dir}
[pipeline:main]
pipeline = catch_errors cache bulk tempurl s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
paste.filter_factory = swift_server:cache
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = eu-west-1
[filter:tempauth]
use = egg:swift#tempauth
{users}
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""


class _Cache:
    """The interface of Swift's memcache client, for one process."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, key: str, **_: Any) -> Any:
        return self._kept.get(key)

    def set(self, key: str, value: Any, **_: Any) -> None:
        self._kept[key] = value

    def delete(self, key: str, **_: Any) -> None:
        self._kept.pop(key, None)

    def incr(self, key: str, delta: int = 1, **_: Any) -> int:
        self._kept[key] = int(self._kept.get(key) or 0) + delta
        return int(self._kept[key])


def cache(_global: dict[str, str], **_: str) -> Any:
    """The filter that provides the cache to Swift's proxy."""
    kept = _Cache()

    def within(app: Any) -> Any:
        def call(environ: dict[str, Any], start: Any) -> Any:
            environ["swift.cache"] = kept
            return app(environ, start)

        return call

    return within


def main(directory: Path, port: int, users: list[str]) -> None:
    """Serves until it is stopped. `users`: "account_user=key", or "account_user=key .admin"."""
    sys.modules["swift_server"] = sys.modules["__main__"]
    (directory / "devices" / "d1").mkdir(parents=True)
    (directory / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = lab\nswift_hash_path_suffix = lab\n"
    )
    set_swift_dir(str(directory))
    for name, its_port in PORTS.items():
        builder = RingBuilder(2, 1, 0)
        place = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": its_port, "device": "d1", "weight": 1}
        builder.add_dev(place)
        builder.rebalance()
        builder.get_ring().save(str(directory / f"{name}.ring.gz"))
    lines = "\n".join(f"user_{user.replace('=', ' = ', 1)}" for user in users)
    apps = {its_port: ("mem_object" if name == "object" else name) for name, its_port in PORTS.items()}
    for its_port, app in apps.items():
        _serve(directory / f"{app}.conf", SERVER.format(dir=directory, app=app), its_port)
    _serve(directory / "proxy.conf", PROXY.format(dir=directory, users=lines), port).wait()


def _serve(file: Path, text: str, port: int) -> Any:
    file.write_text(text)
    app = loadapp(str(file), global_conf={"log_name": file.stem})
    return eventlet.spawn(wsgi.server, eventlet.listen(("127.0.0.1", port)), app, log_output=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
