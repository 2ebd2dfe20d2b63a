"""Setup as a whole, `.venv`, and what it prints when it cannot go on."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import setup
from tools import virtualenv
from tools.progress import SetupError, locked, run

ROOT = Path(__file__).resolve().parents[2]


def test_runs_before_any_package_is_installed() -> None:
    """Setup and all that it loads need nothing but the standard library."""
    modules = "lab.setup, tools.debian, tools.engine, tools.golang, tools.progress, lab.storage_servers, tools.virtualenv, tools.lock"
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}"
    # -S leaves out site-packages, -I the environment.
    subprocess.run([sys.executable, "-S", "-I", "-c", program], check=True)


def test_an_old_python_gets_one_line_that_says_what_to_do() -> None:
    problem = setup.python_problem((3, 9, 2), "/usr/bin/python3")
    assert "3.11 or newer" in problem
    assert "/usr/bin/python3 is 3.9.2" in problem
    assert "make PYTHON=" in problem
    assert "\n" not in problem


def test_a_problem_is_shown_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(root: Path) -> None:
        raise SetupError("do this first")

    monkeypatch.setattr(setup, "_set_up", refuse)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert setup.main() == 1
    assert capsys.readouterr().err == "do this first\n"


def test_an_interrupt_says_that_it_can_be_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(root: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "_set_up", interrupted)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert setup.main() == 130
    assert "Run it again" in capsys.readouterr().err


# .venv ---------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    tmp_path = tmp_path / "checkout"
    tmp_path.mkdir()
    (tmp_path / virtualenv.SOURCE).write_text(
        '[project]\ndependencies = ["pulumi==3.1"]\n[dependency-groups]\ndev = ["moto[ec2]"]\nstorage = ["swift"]\n'
    )
    (tmp_path / virtualenv.LOCK).write_text("# locked\n")
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> list[str]:
    """The commands that would have run; the first makes a `.venv/bin/python`."""
    ran: list[str] = []

    def record(argv: Sequence[object], *, log: Path) -> None:
        ran.append(" ".join(map(str, argv)))
        (checkout / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (checkout / ".venv/bin/python").touch()

    monkeypatch.setattr(virtualenv, "run", record)
    return ran


def test_a_second_set_up_leaves_the_venv_alone(checkout: Path, commands: list[str]) -> None:
    virtualenv.ensure_venv(checkout, checkout / "log")
    assert any("pip install" in command for command in commands)
    commands.clear()
    assert virtualenv.ensure_venv(checkout, checkout / "log") == checkout / ".venv/bin/python"
    assert commands == []


def test_the_venv_has_the_packages_of_its_groups_at_locked_versions(
    checkout: Path, commands: list[str]
) -> None:
    virtualenv.ensure_venv(checkout, checkout / "log")
    install = next(command for command in commands if "pip install" in command)
    assert install.endswith(f"--constraint={checkout / virtualenv.LOCK} pulumi==3.1 moto[ec2]")


@pytest.mark.parametrize(
    ("name", "line", "changed"),
    [
        (virtualenv.LOCK, "# locked", "another==1.0"),
        (virtualenv.SOURCE, "pulumi==3.1", "pulumi==3.2"),
        (virtualenv.SOURCE, "moto[ec2]", "moto[s3]"),
    ],
)
def test_a_changed_dependency_recreates_the_venv(
    checkout: Path, commands: list[str], name: str, line: str, changed: str
) -> None:
    virtualenv.ensure_venv(checkout, checkout / "log")
    commands.clear()
    (checkout / name).write_text((checkout / name).read_text().replace(line, changed))
    virtualenv.ensure_venv(checkout, checkout / "log")
    assert "--clear" in commands[0]


def test_a_venv_whose_python_is_gone_is_made_anew(checkout: Path, commands: list[str]) -> None:
    virtualenv.ensure_venv(checkout, checkout / "log")
    commands.clear()
    (checkout / ".venv/bin/python").unlink()
    virtualenv.ensure_venv(checkout, checkout / "log")
    assert commands


def test_an_interrupted_installation_is_not_taken_for_a_whole_one(
    checkout: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the venv had been whole before: the stamp goes first and comes back last."""
    virtualenv.ensure_venv(checkout, checkout / "log")
    (checkout / virtualenv.LOCK).write_text("changed\n")

    def interrupted(argv: Sequence[object], *, log: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(virtualenv, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            virtualenv.ensure_venv(checkout, checkout / "log")
    (checkout / virtualenv.LOCK).write_text("# locked\n")
    commands.clear()
    virtualenv.ensure_venv(checkout, checkout / "log")
    assert commands


# Running programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reported"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("'NewConnectionError(...)': /simple/pulumi/", "The package registry cannot be reached"),
        ("ERROR: ResolutionImpossible: for help visit", "constraints.txt does not lock"),
        ("something else", ""),
    ],
)
def test_what_to_do_stands_below_a_programs_own_words(tmp_path: Path, said: str, reported: str) -> None:
    with pytest.raises(SetupError) as caught:
        run(["sh", "-c", f'echo "{said}"; exit 1'], log=tmp_path / "log")
    last = str(caught.value).splitlines()[-1]
    assert last.startswith(reported) if reported else last == f"    | {said}"


def test_a_place_that_is_not_ours_is_told() -> None:
    """Without a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", "from lab import setup; setup._set_up = lambda _: open('/proc/x', 'w'); print(setup.main())"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "must be writable for you" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failing_program_shows_the_end_of_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    with pytest.raises(SetupError) as caught:
        run(["sh", "-c", "echo first; echo the reason >&2; exit 3"], log=log)
    assert "failed with status 3" in str(caught.value)
    assert "| the reason" in str(caught.value)
    assert str(log) in str(caught.value)
    assert "of an earlier run" not in str(caught.value)


def test_a_second_set_up_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock is the kernel's, held by an open file: it ends with its holder, however that ends."""
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(0.1, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        release.start()
        with locked(tmp_path / "lock", "this checkout"):
            assert "running for this checkout: waiting" in capsys.readouterr().out
        release.join()
    with locked(tmp_path / "lock", "this checkout"):
        assert capsys.readouterr().out == ""
