"""Other sites than the usual two, each in a lab of its own inside this one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.api import Lab

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("layout", "script"),
    [
        ("two-nodes", "two_nodes"),
        ("bastion", "bastion"),
        ("three-sites", "three_sites"),
        ("private-ca", "private_ca"),
        ("unified", "unified"),
        ("external", "external"),
    ],
)
def test_other_layouts(layout: str, script: str, lab: Lab) -> None:
    """What the script says in its docstrings; the lab ends with its status."""
    command = [
        sys.executable,
        "-m",
        "lab",
        "run",
        "--name",
        f"e2e-{layout}",
        "--sites",
        layout,
        "--quiet",
        "--here",
    ]
    done = subprocess.run(
        [*command, "--", "python", "-m", f"tests.e2e.layouts.{script}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "LAB_DIR": str(lab.dir / "tmp" / layout)},
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
