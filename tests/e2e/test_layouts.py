"""Other sites than the usual two, each in a lab of its own inside this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab.api import Lab

LAYOUTS = ("three-sites", "external", "two-nodes", "private-ca", "bastion", "unified")
AT_ONCE = 2
"""Labs side by side: most of their time is spent waiting for hosts."""

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs(lab: Lab, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Done]]]:
    """Those that are asked for, begun at once."""
    asked = {item.callspec.params["layout"] for item in request.session.items if hasattr(item, "callspec") and "layout" in item.callspec.params}  # fmt: skip
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run, lab, name) for name in LAYOUTS if name in asked}


def run(lab: Lab, layout: str, name: str | None = None) -> Done:
    """The layout's script, or another one for it, in a lab of its own."""
    name = name or layout.replace("-", "_")
    where = ["--name", f"e2e-{name}", "--sites", layout, "--quiet", "--here"]
    script = f"tests.e2e.layouts.{name}"
    return subprocess.run(
        [sys.executable, "-m", "lab", "run", *where, "--", "python", "-m", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "LAB_DIR": str(lab.dir / "tmp" / name)},
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_layouts(layout: str, runs: dict[str, Future[Done]]) -> None:
    """What the script says in its docstrings; the lab ends with its status."""
    done = runs[layout].result()
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
