"""`.venv`: made from the pinned requirements, and made anew when they change.

Standard library only: this runs before `.venv` exists.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from lab.progress import run, step

REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "constraints.txt")
STAMP = "setup-stamp"

# pulumi_aws is by far the largest package and only a few of its services are ever imported, so installing
# it without byte code and compiling the rest ourselves saves ten seconds and 200 MB.
NOT_COMPILED = r"/pulumi_aws/(?!s3/|iam/|ec2/|vpc/|kms/|route53/|[^/]*$)"


def ensure_venv(root: Path, log: Path) -> Path:
    """Makes `root/.venv` unless it is as the requirements want it; returns its Python.

    A venv cannot be moved into place when it is ready, since its scripts hold its path. So the stamp is what
    makes it whole: taken away first, written last.
    """
    venv = root / ".venv"
    python = venv / "bin" / "python"
    stamp = venv / STAMP
    wanted = fingerprint(root)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    with step("Python packages into .venv, half a minute"):
        stamp.unlink(missing_ok=True)
        # Not sys.executable: run from an activated .venv, that is the very file about to be replaced.
        base = getattr(sys, "_base_executable", sys.executable)
        run([base, "-m", "venv", "--clear", venv], log=log)
        options = ["--no-compile", "--disable-pip-version-check", "--no-input"]
        files = [
            part for name in ("requirements.txt", "requirements-dev.txt") for part in ("-r", root / name)
        ]
        run([python, "-m", "pip", "install", *options, *files], log=log)
        run([python, "-m", "compileall", "-q", "-j", "0", "-x", NOT_COMPILED, venv / "lib"], log=log)
        stamp.write_text(wanted)
    return python


def fingerprint(root: Path) -> str:
    """Changes with the requirements, with Python's minor version, and when the checkout has moved."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {root}\n".encode())
    for name in REQUIREMENTS:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def pinned(root: Path, package: str) -> str:
    """The version of `package` in requirements.txt. Raises KeyError when it is not there."""
    for line in (root / "requirements.txt").read_text().splitlines():
        name, equals, version = line.partition("==")
        if equals and name.strip() == package:
            return version.strip()
    raise KeyError(package)
