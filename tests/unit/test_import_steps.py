"""The order of an import at a site with two registry nodes, and where it continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from operations.import_registry import Import
from operations.ssh import NodeSession

DONE = {"running": False, "ok": True, "done": 3, "seconds": 1, "why": None, "dry_run": False}


class Node:
    """A session with a node whose import is as far as `phase`; `asked`: the actions of all nodes."""

    def __init__(self, name: str, phase: str, asked: list[str]) -> None:
        self.node, self.phase, self._asked = self, phase, asked
        self.name = name
        self._step: str | None = None

    def run(self, verb: str, request: dict[str, Any], secrets: dict[str, str]) -> dict[str, Any]:
        action = request["action"]
        if action not in ("check", "phase", "progress"):
            self._asked.append(
                f"{self.name} {action} {request.get('step') or request.get('phase') or ''}".strip()
            )
        if action == "run":
            self._step = request["step"]
        if action == "read_only":
            self.phase = "read-only"
        if action == "record":
            self.phase = request["phase"]
        return {
            **DONE,
            "phase": self.phase,
            "step": self._step,
            "progress": DONE | {"step": self._step},
            "repositories": 3,
            "database": "db:5432/registry",
            "read_only_seconds": 4,
            "tags": 3,
            "digests": 3,
            "broken": 0,
        }


def imported(first: str, second: str, *, up: bool = True) -> list[str]:
    """What is asked of two nodes at these phases, `pulumi up` included."""
    asked: list[str] = []
    nodes = [Node("one", first, asked), Node("two", second, asked)]

    def switch() -> bool:
        asked.append("up")
        if up:
            for node in nodes:
                node.phase = "switched"
        return up

    work = Import("tokyo", cast("list[NodeSession]", nodes), {}, ask=False)
    assert work.run(switch) is up
    return asked


TAGS = [
    "one read_only",
    "two read_only",
    "one run 2",
    "one compare",
    "one record imported",
    "two record imported",
]
END = ["up", "one run 3", "one record done", "two record done"]


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        ("checked", "checked", ["one run 1", *TAGS, *END]),
        # The earlier run ended between two nodes.
        ("read-only", "checked", ["one run 1", *TAGS, *END]),
        ("read-only", "read-only", [*TAGS, *END]),
        ("imported", "read-only", [*TAGS, *END]),
        ("imported", "imported", END),
        ("switched", "imported", END),
        ("switched", "switched", END[1:]),
        ("done", "switched", END[1:]),
    ],
)
def test_an_import_continues_with_the_node_that_is_least_far(
    first: str, second: str, asked: list[str]
) -> None:
    """No node takes pushes while another's tags are imported."""
    assert imported(first, second) == asked


def test_a_failed_update_leaves_the_site_read_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert imported("imported", "imported", up=False) == ["up"]
    assert "stays read-only until `pulumi up` succeeds" in capsys.readouterr().out


def test_ctrl_c_lets_pulumi_end_by_itself(tmp_path: Path) -> None:
    """Killed in the middle, it leaves a locked stack and operations that nobody knows the end of."""
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(
        "#!/bin/sh\ntrap 'sleep 1; echo cleaned > cleaned; exit 1' INT\necho > begun\n"
        "while :; do sleep 0.1; done\n"
    )
    pulumi.chmod(0o755)
    code = (
        "import os, sys; from pathlib import Path; from operations import import_registry as i; "
        "from operations.stack import Stack; os.environ['PATH'] = sys.argv[1] + ':' + os.environ['PATH']; "
        "i._switch(Stack('prod', Path(sys.argv[1]), 'x', None, {}, {}), yes=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    assert (tmp_path / "cleaned").exists()
