"""Set-up as a whole, `.venv`, and what it prints when it cannot go on."""

from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import setup, virtualenv
from lab.progress import SetupError, elapsed, locked, run

ROOT = Path(__file__).resolve().parents[2]


def test_runs_before_any_package_is_installed() -> None:
    """Set-up and all that it loads need nothing but the standard library."""
    modules = (
        "lab.setup, lab.debian, lab.engine, lab.golang, lab.progress, lab.storage_servers, lab.virtualenv"
    )
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}"
    # -S leaves out site-packages, -I the environment.
    subprocess.run([sys.executable, "-S", "-I", "-c", program], check=True)


def test_an_old_python_gets_one_line_that_says_what_to_do() -> None:
    problem = setup.python_problem((3, 9, 2), "/usr/bin/python3")
    assert "3.11 or newer" in problem
    assert "/usr/bin/python3 is 3.9.2" in problem
    assert "make PYTHON=" in problem
    assert "\n" not in problem


def test_an_old_python_ends_set_up_before_anything_is_touched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "python_problem", lambda: "Python is too old")
    monkeypatch.setattr(setup, "_set_up", lambda _: pytest.fail("went on"))
    assert setup.main() == 1
    assert capsys.readouterr().err == "Python is too old\n"


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 1), (4, 0, 0)])
def test_a_new_enough_python_is_no_problem(version: tuple[int, ...]) -> None:
    assert setup.python_problem(version, "python3") == ""


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
    for name in virtualenv.REQUIREMENTS:
        (tmp_path / name).write_text(f"# {name}\n")
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


@pytest.mark.parametrize("name", virtualenv.REQUIREMENTS)
def test_a_changed_requirement_makes_the_venv_anew(checkout: Path, commands: list[str], name: str) -> None:
    virtualenv.ensure_venv(checkout, checkout / "log")
    commands.clear()
    (checkout / name).write_text("another==1.0\n")
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
    (checkout / "constraints.txt").write_text("changed\n")

    def interrupted(argv: Sequence[object], *, log: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(virtualenv, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            virtualenv.ensure_venv(checkout, checkout / "log")
    (checkout / "constraints.txt").write_text("# constraints.txt\n")
    commands.clear()
    virtualenv.ensure_venv(checkout, checkout / "log")
    assert commands


def test_a_checkout_that_has_moved_needs_a_new_venv(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The scripts of a venv hold its path."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in virtualenv.REQUIREMENTS:
        (elsewhere / name).write_bytes((checkout / name).read_bytes())
    assert virtualenv.fingerprint(checkout) != virtualenv.fingerprint(elsewhere)


def test_every_direct_requirement_is_pinned_as_in_the_constraints() -> None:
    constraints = set((ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines())
    direct = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-dev.txt").read_text()
    pins = [line for line in direct.lower().splitlines() if line and line[0] not in "#-"]
    assert len(pins) > 10
    for pin in pins:
        assert re.sub(r"\[.*\]", "", pin) in constraints


def test_the_aws_provider_is_not_older_than_its_refresh_can_be_trusted() -> None:
    """7.51.1 is known to wrap more than Terraform's 6.40; an older one has to be looked into (requirements.txt)."""
    pin = re.search(r"^pulumi-aws==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pin and tuple(map(int, pin[1].split("."))) >= (7, 51, 1)


def test_the_package_that_breaks_the_language_host_stays_out() -> None:
    """pulumi-aws-stubs has a version number that the lab's language host cannot read."""
    assert "pulumi-aws-stubs==" not in "".join(
        (ROOT / name).read_text().replace("_", "-") for name in virtualenv.REQUIREMENTS
    )


# Running programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("'NewConnectionError(...)': /simple/pulumi/", "The package registry cannot be reached"),
        ("something else", ""),
    ],
)
def test_what_to_do_stands_below_a_programs_own_words(tmp_path: Path, said: str, told: str) -> None:
    with pytest.raises(SetupError) as caught:
        run(["sh", "-c", f'echo "{said}"; exit 1'], log=tmp_path / "log")
    last = str(caught.value).splitlines()[-1]
    assert last.startswith(told) if told else last == f"    | {said}"


def test_a_place_that_is_not_ours_is_told() -> None:
    """Without a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", "from lab import setup; setup._set_up = lambda _: open('/proc/x', 'w'); print(setup.main())"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "must be yours to write" in done.stderr
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


def test_a_succeeding_program_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(["sh", "-c", "echo noise; echo noise >&2"], log=tmp_path / "log")
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "log").read_text().count("\nnoise") == 2


def test_a_second_set_up_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock is the kernel's, held by an open file: it ends with its holder, however that ends."""
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(0.1, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        release.start()
        with locked(tmp_path / "lock", "this checkout"):
            assert "at work on this checkout: waiting" in capsys.readouterr().out
        release.join()
    with locked(tmp_path / "lock", "this checkout"):
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (83.2, "1 min 23 s")])
def test_elapsed_time_reads_as_people_say_it(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
