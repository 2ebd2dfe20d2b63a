"""What is told before a lab starts, and when a Ctrl-C ends it: one line, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from lab import __main__ as command
from lab import demo, interruptible, launch, setup

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
    assert "from Linux namespaces: run it on a Linux machine" in capsys.readouterr().err


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
    told = capsys.readouterr().err
    assert told.startswith("lab: no stack exsiting here. There are: ")
    assert "existing, replicated" in told


def test_a_stack_of_the_checkout_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(options: launch.Options) -> int:
        started.append(options.command)
        return 0

    monkeypatch.setattr(launch, "run", run)
    assert command.main(["demo", "existing"]) == 0
    assert started[0][-2:] == ["lab.demo", "existing"]


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


def test_make_has_the_preview_end_with_a_line_as_well() -> None:
    """Its module has a `main` that takes the arguments, as `lab.interruptible` calls it."""
    dry = subprocess.run(
        ["make", "-n", "preview-comment", "STACK=prod", "SETUP=this"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "==> pulumi preview of prod" in dry
    assert "-m lab.interruptible ci.comment --stack 'prod'" in dry


def test_the_demonstration_ends_with_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was built is read before destroy, and shown after the pages that destroy prints."""
    happened: list[str] = []
    lab = MagicMock()

    def pulumi(_: str, verb: str, *__: str, stack: str) -> MagicMock:
        happened.append(verb)
        return MagicMock(stdout='{"sites": {}, "proof": {"london": {"london-1": {"asked": "yes"}}}}')

    def run(_: object, verb: str, *__: str) -> str:
        happened.append(verb)
        return "1 unchanged"

    lab.pulumi = pulumi
    (tmp_path / "project").mkdir()
    (tmp_path / "project/Pulumi.existing.yaml").write_text("config: {gitlab-geo-registry:sites: {}}")
    lab.dir = tmp_path
    lab.hosts.return_value, lab.instances.return_value = [], {}
    lab.wait.return_value = 0.0
    lab.tags.return_value = {}
    lab.pull.return_value = lab.push.return_value = "sha256:1"
    monkeypatch.setattr(demo, "run", run)
    demo.show(lab, "existing")
    assert happened == ["up", "up", "output", "destroy"]
    shown = capsys.readouterr().out
    assert shown.index("pulumi destroy") < shown.index("what was built") < shown.index("london-1")
