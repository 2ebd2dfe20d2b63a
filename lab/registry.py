"""Generated images, pushed and pulled with skopeo through GitLab's token service."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.host import RUN

USER, PASSWORD = "root", "lab-password"
CREDENTIALS = f"{USER}:{PASSWORD}"


def make_image(directory: Path, *seeds: bytes) -> None:
    """An OCI layout of an image with one small layer; the same seed gives the same digests everywhere.

    Of several seeds: an index with an image for each of them.
    """
    (directory / "blobs/sha256").mkdir(parents=True)
    manifests = [_manifest(directory, seed, f"arch{n}") for n, seed in enumerate(seeds)]
    index = {"schemaVersion": 2, "manifests": manifests}
    if len(seeds) > 1:
        whole = json.dumps(index | {"mediaType": "application/vnd.oci.image.index.v1+json"})
        index = {"schemaVersion": 2, "manifests": [_blob(directory, whole.encode(), "index.v1+json")]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _blob(directory: Path, data: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    (directory / "blobs/sha256" / digest).write_bytes(data)
    full_type = f"application/vnd.oci.image.{media_type}"
    return {"mediaType": full_type, "digest": f"sha256:{digest}", "size": len(data)}


def _manifest(directory: Path, seed: bytes, architecture: str) -> dict[str, object]:
    layer = _layer(seed)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(directory, json.dumps(config).encode(), "config.v1+json"),
        "layers": [_blob(directory, gzip.compress(layer, mtime=0), "layer.v1.tar+gzip")],
    }
    found = _blob(directory, json.dumps(manifest).encode(), "manifest.v1+json")
    return found | {"platform": {"os": "linux", "architecture": architecture}}


def _layer(seed: bytes) -> bytes:
    """A tar with one file of 4 KiB that is derived from the seed."""
    content = b"".join(hashlib.sha256(seed + bytes([n])).digest() for n in range(128))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("lab/content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class SkopeoError(RuntimeError):
    """skopeo failed; the message is its output."""


def skopeo(*arguments: str, timeout: float = 60, env: Mapping[str, str] | None = None) -> str:
    """Run skopeo with `env` in addition, and return its stdout; SkopeoError has its stderr."""
    command = ["skopeo", "--insecure-policy", f"--registries.d={RUN / 'registries.d'}", *arguments]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    if done.returncode:
        raise SkopeoError(f"skopeo {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def push(registry: str, ref: str, *seeds: bytes, credentials: str = CREDENTIALS) -> str:
    """Push the image of this seed, or the index of several, to "group/app:tag"; its digest, "sha256:…"."""
    with tempfile.TemporaryDirectory(prefix="lab-image-") as directory:
        image = Path(directory, "image")
        make_image(image, *seeds)
        digest = Path(directory, "digest")
        options = [
            "--all",
            "--preserve-digests",
            f"--digestfile={digest}",
            f"--dest-creds={credentials}",
        ]
        skopeo("copy", *options, f"oci:{image}", f"docker://{registry}/{ref}")
        return digest.read_text().strip()


def pull(registry: str, ref: str, credentials: str = CREDENTIALS) -> str:
    """Pull an image completely, discard it and return its digest."""
    with tempfile.TemporaryDirectory(prefix="lab-image-") as directory:
        digest = Path(directory, "digest")
        source = f"docker://{registry}/{ref}"
        options = [
            "--preserve-digests",
            f"--digestfile={digest}",
            f"--src-creds={credentials}",
        ]
        skopeo("copy", *options, source, f"oci:{directory}/image:pulled")
        return digest.read_text().strip()


def tags(registry: str, repository: str) -> dict[str, str]:
    """Tag → digest of a repository; {} if it is unknown to the registry or has no tag left."""
    try:
        listed = json.loads(
            skopeo("list-tags", f"--creds={CREDENTIALS}", f"docker://{registry}/{repository}")
        )
    except SkopeoError as error:
        if "404 (Not Found)" in str(error) or "name unknown" in str(error).lower():
            return {}
        raise
    found = {}
    for tag in sorted(listed["Tags"] or []):
        try:
            found[tag] = digest(registry, f"{repository}:{tag}")
        except SkopeoError as error:
            if "manifest unknown" not in str(error):
                raise  # Otherwise it was deleted after it was listed.
    return found


def digest(registry: str, ref: str) -> str:
    """The digest that a tag points to."""
    return f"sha256:{hashlib.sha256(_raw(registry, ref).encode()).hexdigest()}"


def manifest(registry: str, ref: str) -> dict[str, Any]:
    """The manifest that a tag or "group/app@sha256:…" refers to."""
    found: dict[str, Any] = json.loads(_raw(registry, ref))
    return found


def _raw(registry: str, ref: str) -> str:
    return skopeo("inspect", "--raw", f"--creds={CREDENTIALS}", f"docker://{registry}/{ref}")


def delete_tag(registry: str, ref: str) -> None:
    """Delete what a tag points to. The registry deletes digests, including other tags on the same digest."""
    skopeo("delete", f"--creds={CREDENTIALS}", f"docker://{registry}/{ref}")
