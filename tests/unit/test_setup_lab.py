"""What is reported before a lab starts, and when a Ctrl-C ends it: one line, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab import __main__ as command
from lab import launch, setup
from tools import interruptible

ROOT = Path(__file__).resolve().parents[2]


def test_without_the_named_python_make_says_what_is_needed() -> None:
    done = subprocess.run(
        ["make", "setup", "PYTHON=python3.x"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr.splitlines()[0]
    assert "make PYTHON=python3.12" in done.stderr.splitlines()[0]


def test_a_machine_without_namespaces_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert setup.main() == 1
    assert "are Linux namespaces: run it on a Linux machine" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["apply", "preview-comment"])
def test_a_target_without_its_stack_says_how_to_name_it(target: str) -> None:
    done = subprocess.run(
        ["make", "-o", "setup", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"make {target} STACK=prod" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stack_with_a_typo_is_told_before_the_lab_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "run", lambda _: pytest.fail("started"))
    assert command.main(["demo", "existing", "exsiting"]) == 1
    reported = capsys.readouterr().err
    assert reported.startswith("lab: unknown stack: exsiting. Known stacks: ")
    assert "existing, replicated" in reported


def test_a_ctrl_c_while_the_machine_is_checked_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: launch.Options) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "run", interrupted)
    assert command.main(["run", "--", "true"]) == 130
    assert capsys.readouterr().err == "\nlab: interrupted before it started\n"


@pytest.mark.parametrize("when", ["", "def main(argv):\n    "], ids=["imported", "run"])
def test_a_ctrl_c_in_a_module_that_the_lab_runs_is_one_line(tmp_path: Path, when: str) -> None:
    """Also while it is imported, which is when an impatient user presses it."""
    (tmp_path / "interrupted.py").write_text(f"{when}raise KeyboardInterrupt\n")
    (tmp_path / "whole.py").write_text("def main(argv):\n    return len(argv)\n")

    def run(module: str) -> tuple[int, str]:
        done = subprocess.run(
            launch.python(module, ["a", "b"]),
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    assert run("interrupted") == (130, f"{interruptible.MESSAGE}\n")
    assert run("whole") == (2, "")


def test_the_shell_of_the_lab_ends_well_whatever_its_last_command_was() -> None:
    """A Ctrl-C at its prompt, and make would otherwise call leaving it an error."""
    done = subprocess.run(
        ["bash", "-c", command.BANNER],
        input="false\n",
        env={**os.environ, "LAB_DIR": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
