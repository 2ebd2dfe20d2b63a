"""Virtual environments: the dependencies in pyproject.toml, at the versions that constraints.txt locks.

Standard library only: this runs before `.venv` exists.
"""

from __future__ import annotations

import hashlib
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tools.progress import run, step

PROGRAM = "program"
"""What `pulumi up` needs: [project] in pyproject.toml. All other groups are in [dependency-groups]."""
SOURCE, LOCK = "pyproject.toml", "constraints.txt"
STAMP = "setup-stamp"

# pulumi_aws is by far the largest package and only a few of its services are ever imported, so installing
# it without byte code and compiling the rest ourselves saves ten seconds and 200 MB.
NOT_COMPILED = r"/pulumi_aws/(?!s3/|iam/|ec2/|vpc/|kms/|route53/|[^/]*$)"


def ensure_venv(root: Path, log: Path) -> Path:
    """`.venv`, with the program's packages and those of its tests and linters; returns its Python."""
    return ensure(root, ".venv", [PROGRAM, "dev"], "Python packages into .venv, half a minute", log)


def ensure(root: Path, place: str, groups: Sequence[str], title: str, log: Path) -> Path:
    """Creates the virtual environment `root/place` unless it is up to date; returns its Python.

    A venv cannot be moved into place when it is ready, since its scripts hold its path. So the stamp is what
    makes it whole: removed first, written last.
    """
    venv = root / place
    python = venv / "bin" / "python"
    stamp = venv / STAMP
    packages = direct(root, *groups)
    wanted = fingerprint(root, place, packages)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    with step(title):
        stamp.unlink(missing_ok=True)
        # Not sys.executable: run from an activated .venv, that is the very file about to be replaced.
        base = getattr(sys, "_base_executable", sys.executable)
        run([base, "-m", "venv", "--clear", venv], log=log)
        options = ["--no-compile", "--disable-pip-version-check", "--no-input", f"--constraint={root / LOCK}"]
        run([python, "-m", "pip", "install", *options, *packages], log=log)
        run([python, "-m", "compileall", "-q", "-j", "0", "-x", NOT_COMPILED, venv / "lib"], log=log)
        stamp.write_text(wanted)
    return python


def direct(root: Path, *groups: str) -> list[str]:
    """The direct dependencies of these groups, such as `moto[ec2]` or `pulumi==3.259.0`."""
    source = tomllib.loads((root / SOURCE).read_text(encoding="utf-8"))
    known = {PROGRAM: source["project"]["dependencies"], **source["dependency-groups"]}
    return [package for group in groups for package in known[group]]


def fingerprint(root: Path, place: str, packages: Sequence[str]) -> str:
    """Changes with the packages, the lock, Python's minor version, and when the checkout has moved."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {root / place} {packages}\n".encode())
    digest.update((root / LOCK).read_bytes())
    return digest.hexdigest()


def pinned(root: Path, package: str) -> str:
    """The version of `package` in requirements.txt. Raises KeyError when it is not there."""
    for line in (root / "requirements.txt").read_text().splitlines():
        name, equals, version = line.partition("==")
        if equals and name.strip() == package:
            return version.strip()
    raise KeyError(package)
