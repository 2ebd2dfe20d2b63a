"""A real registry on loopback, started with the storage that a node's settings say."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.registry import make_image, skopeo
from lab.services import CLEAN, listening, wait_for_service
from plan.node import node_settings
from tests.configurations import deployment
from tests.storages import Node

PORT = 5901


def rendered(raw: dict[str, Any], site: str, driver: str | None = None) -> dict[str, Any]:
    """`registry['storage']` as real Ruby makes it of the node's settings, secrets and all.

    `driver` renames the driver, for a registry that knows GitLab's newer one by its former name.
    """
    d = deployment(raw)
    keys, s3_keys = d.keys_of(site), d.sites[site].s3_keys
    secrets = keys.secrets() if keys else s3_keys.secrets() if s3_keys else {}
    with Node() as node:
        found: dict[str, Any] = node.storage(node_settings(d, site, f"{site}-1").text, secrets)
    return {driver if driver and name.startswith(driver) else name: value for name, value in found.items()}


def as_distribution_3(storage: Mapping[str, Any]) -> dict[str, Any]:
    """Azure's settings in Distribution 3's words: it nests what GitLab's azure_v2 has flat, and names the kind always."""
    words = {"credentials_type": "type", "tenant_id": "tenantid", "client_id": "clientid", "secret": "secret"}
    found = {name: value for name, value in storage.items() if not name.startswith("azure")}
    [provided] = [value for name, value in storage.items() if name.startswith("azure")]
    credentials = {theirs: provided[own] for own, theirs in words.items() if own in provided}
    plain = {name: value for name, value in provided.items() if name not in words}
    return found | {"azure": plain | {"credentials": {"type": "shared_key"} | credentials}}


@dataclass(frozen=True)
class Registry:
    """A running registry without token authentication, which would hide what the storage answers."""

    url: str
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """What the registry, and who is sent on from it to the storage, was started with."""

    def status(self, method: str, path: str) -> int:
        command = ["curl", "--silent", "--noproxy", "*", "--request", method, "--output", "/dev/null"]
        command += ["--write-out", "%{http_code}", f"http://{self.url}{path}"]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def push(self, ref: str, seed: bytes) -> str:
        """Push a small image; its digest."""
        with tempfile.TemporaryDirectory(prefix="image-") as directory:
            make_image(Path(directory, "image"), seed)
            self._copy(f"oci:{directory}/image", f"docker://{self.url}/{ref}", "--dest-tls-verify=false")
        return self.pull(ref)

    def pull(self, ref: str) -> str:
        """Pull every byte of an image; its digest."""
        with tempfile.TemporaryDirectory(prefix="image-") as directory:
            digest = Path(directory, "digest")
            options = ["--src-tls-verify=false", f"--digestfile={digest}"]
            self._copy(f"docker://{self.url}/{ref}", f"oci:{directory}/image:pulled", *options)
            return digest.read_text().strip()

    def _copy(self, source: str, target: str, *options: str) -> None:
        skopeo("copy", "--quiet", "--preserve-digests", *options, source, target, env=self.env)


class RefusedError(RuntimeError):
    """The registry did not start; the message is what it said."""


@contextmanager
def registry(
    storage: Mapping[str, Any],
    directory: Path,
    program: tuple[str, ...] = ("docker-registry", "serve"),
    env: Mapping[str, str] | None = None,
) -> Iterator[Registry]:
    """A registry with this storage while the block runs. RefusedError where it does not start with it."""
    config = {"version": 0.1, "storage": dict(storage), "http": {"addr": f"127.0.0.1:{PORT}", "secret": "x"}}
    file, log = directory / "registry.json", directory / "registry.log"
    file.write_text(json.dumps(config))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, file],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**CLEAN, **(env or {})},
        )
    try:
        try:
            wait_for_service(process, lambda: listening("127.0.0.1", PORT), "the registry", log)
        except RuntimeError as error:
            said = re.search(r"panic: (.*)", log.read_text(errors="replace"))
            raise RefusedError(said[1] if said else str(error)) from error
        yield Registry(f"127.0.0.1:{PORT}", log, env or {})
    finally:
        process.terminate()
        process.wait(10)
