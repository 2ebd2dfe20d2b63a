"""Shared storage: a secondary's registry, which may not write its lock file, still starts at any time."""

from __future__ import annotations

import os
import subprocess
import sys

from lab.api import Lab


def test_registries_that_only_read_start_on_any_day(lab: Lab) -> None:
    """What the script says in its docstrings, in a lab of three sites."""
    where = ["--name", "e2e-lock-file", "--sites", "three-sites", "--quiet", "--here"]
    done = subprocess.run(
        [sys.executable, "-m", "lab", "run", *where, "--", "python", "-m", "tests.e2e.layouts.lock_file"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "LAB_DIR": str(lab.dir / "tmp" / "lock-file")},
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
