"""`make … SETUP=tools.ci_setup`: what checks, tests without the lab and a preview need, without the lab.

CI containers cannot create namespaces, which the lab's hosts consist of. Standard library only: this runs
before `.venv` exists.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools import debian, engine
from tools.progress import SetupError, fail, locked, run, say, step
from tools.virtualenv import ensure_venv

NEEDED = ("ruby", "rubocop", "shellcheck", "openssl", "ca-certificates", "curl")
"""Debian packages: the tests run the node's program, and the linters read it and the shell scripts."""


ROOT = Path(__file__).resolve().parent.parent


def main(root: Path = ROOT) -> int:
    """Returns the exit status: 0, or 1 for a problem that has been explained."""
    log = root / ".lab" / "setup.log"
    try:
        with locked(root / ".lab" / "setup.lock", "this checkout"):
            _packages(log)
            python = ensure_venv(root, log)
            say(f"engine   {engine.ensure_engine(python, log, root)}")
    except SetupError as error:
        return fail(str(error))
    return 0


def _packages(log: Path) -> None:
    missing = [package for package in debian.missing_packages() if package in NEEDED]
    if not missing:
        return
    if os.geteuid() != 0:
        raise SetupError(
            f"Debian packages are missing. Run this, then try again:\n  {debian.install_line(missing)}"
        )
    with step(f"Debian packages: {' '.join(missing)}"):
        run(["apt-get", "-q", "update"], log=log, detached=True)
        run(["apt-get", "-yq", "install", "--no-install-recommends", *missing], log=log, detached=True)


if __name__ == "__main__":
    sys.exit(main())
