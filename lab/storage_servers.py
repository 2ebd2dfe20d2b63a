"""OpenStack Swift for tests of the storages: in its own virtual environment, started on loopback.

Standard library only: this also runs before `.venv` exists.
"""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import virtualenv

ROOT = Path(__file__).resolve().parent.parent
PORT = 8085


def ensure(log: Path) -> Path:
    """The Python that has Swift."""
    title = "OpenStack Swift for tests of the storages, ten seconds"
    return virtualenv.ensure(ROOT, ".lab/storage-servers", ["storage"], title, log)


@dataclass(frozen=True)
class Swift:
    """A running Swift. The names of its users are "account:user"."""

    url: str

    def request(self, user: str, key: str, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of a user's request; `path` below the account: "/container/object"."""
        status, _, token = self._call("GET", "/auth/v1.0", {"X-Storage-User": user, "X-Storage-Pass": key})
        if status != 200:
            return status, b""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        account = user.partition(":")[0]
        return self._call(method, f"/v1/AUTH_{account}{path}", {"X-Auth-Token": token, **named})[:2]

    def _call(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes, str]:
        data = b"" if method == "PUT" else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - http by construction
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _EveryStatus())
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers.get("X-Auth-Token", "")


class _EveryStatus(urllib.request.HTTPErrorProcessor):
    """Returns every answer, whatever its status."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response


@contextmanager
def swift(directory: Path, users: Sequence[str]) -> Iterator[Swift]:
    """A Swift with these users ("account_user=key"; an administrator: " .admin") while the block runs."""
    # Late, because the lab's services need more than the standard library.
    from lab.services import CLEAN, listening, wait_for_service

    python = ensure(directory / "setup.log")
    log = directory / "swift.log"
    server = Path(__file__).with_name("swift_server.py")
    with log.open("wb") as output:
        command = [str(python), str(server), str(directory / "swift"), str(PORT), *users]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=CLEAN)
    try:
        wait_for_service(process, lambda: listening("127.0.0.1", PORT), "Swift", log)
        yield Swift(f"http://127.0.0.1:{PORT}")
    finally:
        process.terminate()
        process.wait(10)
