"""A lab ends with its command and with its parent, and leaves nothing; these tests start labs of their own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """A lab started by `python -m lab run`; `directory` is its state."""

    def __init__(
        self, directory: Path, *arguments: str, terminal: int | None = None, path: str = os.environ["PATH"]
    ) -> None:
        self.directory = directory
        env = {"PATH": path, "HOME": os.environ["HOME"], "LAB_DIR": str(directory)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab", "run", *arguments],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # With a terminal: a session of its own that owns it, so that a ^C typed there becomes a SIGINT.
            start_new_session=terminal is not None,
            preexec_fn=None if terminal is None else _own_terminal,  # noqa: PLW1509 - one thread
        )

    def wait_for(self, file: str) -> None:
        """Wait until the lab's command (or its start) has made this file in the lab's directory."""
        deadline = time.monotonic() + 30
        while not (self.directory / file).exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, f"no {file}"
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        """Exit status and output; a lab that does not end fails the test."""
        output, _ = self.process.communicate(timeout=20)
        return self.process.returncode, output


def _own_terminal() -> None:
    os.close(os.open(os.ttyname(0), os.O_RDWR))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of a lab; whatever a failed test has left running ends afterwards."""
    lab_dir = tmp_path / "lab"
    yield lab_dir
    for process in left_processes(lab_dir):
        os.kill(process, signal.SIGKILL)


def left_processes(lab_dir: Path) -> list[int]:
    """Processes that belong to the lab: by argument, environment, directory or a mount they still see."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            seen = [(process / name).read_bytes() for name in ("cmdline", "environ", "mountinfo")]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(str(lab_dir).encode() in text for text in seen):
            found.append(int(process.name))
    return found


def nothing_left(lab_dir: Path, seconds: float = 10) -> None:
    """Assert that no process, mount or namespace of the lab remains, and no file of somebody else's.

    A namespace lives as long as a process or a mount is in it, so those two are enough.
    """
    deadline = time.monotonic() + seconds
    while left := left_processes(lab_dir):
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.05)
    assert str(lab_dir) not in Path("/proc/self/mountinfo").read_text()
    assert {path.lstat().st_uid for path in [lab_dir, *lab_dir.rglob("*")]} == {os.geteuid()}


def alive(lab_dir: Path) -> None:
    """The positive control of `nothing_left`: it finds a lab that runs, its hosts included."""
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left_processes(lab_dir)]
    assert sum(b"boot-host.sh" in command for command in commands) >= 2
    assert any(b"lab.aws_server" in command for command in commands)


# Where GitLab does not matter, servers without it start in a second.
BARE = ("--quiet", "--sites", "bare", "--")
COMMAND = ("sh", "-c", "touch $LAB_DIR/begun; exec sleep 600")


def test_the_exit_status_is_the_commands(directory: Path) -> None:
    """The lab's exit status is that of its command, and all that it made is gone."""
    lab = Running(directory, *BARE, "sh", "-c", "echo $LAB_DIR; setsid sleep 600 & exit 7")
    assert lab.end() == (7, f"{directory}\n")
    nothing_left(directory)


def test_success_leaves_no_state(directory: Path) -> None:
    """After success only the lock is left; after a failure the logs of all hosts can be read."""
    assert Running(directory, *BARE, "true").end() == (0, "")
    assert [entry.name for entry in directory.iterdir()] == ["lock"]
    assert Running(directory, *BARE, "false").end() == (1, "")
    assert "Server listening" in (directory / "logs/tokyo-1/auth.log").read_text()
    nothing_left(directory)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_stop(directory: Path, signum: signal.Signals) -> None:
    """A signal ends the command with SIGTERM, then the lab; the exit status tells the signal."""
    command = "trap 'touch $LAB_DIR/reported; exit' TERM; touch $LAB_DIR/begun; while :; do sleep 0.1; done"
    lab = Running(directory, *BARE, "bash", "-c", command)
    lab.wait_for("begun")
    alive(directory)
    lab.process.send_signal(signum)
    assert lab.end()[0] == 128 + signum
    assert (directory / "reported").exists()
    nothing_left(directory)


def test_a_command_that_will_not_stop(directory: Path) -> None:
    """A command that ignores SIGTERM goes after the grace period."""
    lab = Running(directory, *BARE, "bash", "-c", "trap '' TERM; touch $LAB_DIR/begun; sleep 600")
    lab.wait_for("begun")
    lab.process.terminate()
    assert lab.end()[0] == 128 + signal.SIGTERM
    nothing_left(directory)


def test_killed(directory: Path) -> None:
    """When `python -m lab` is killed, everything in the lab dies at once."""
    lab = Running(directory, "--quiet", "--", *COMMAND)
    lab.wait_for("begun")
    alive(directory)
    lab.process.kill()
    lab.end()
    nothing_left(directory)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_while_starting(directory: Path, signum: signal.Signals) -> None:
    """A lab that is still starting stops as well, and the next one starts in the same place."""
    lab = Running(directory, *BARE, *COMMAND)
    lab.wait_for("hosts/tokyo-1")
    lab.process.send_signal(signum)
    lab.end()
    nothing_left(directory)
    assert Running(directory, *BARE, "true").end() == (0, "")


def test_ctrl_c_on_the_terminal(directory: Path) -> None:
    """A ^C typed at the terminal is for the command, once; when that ends, so does the lab."""
    own, theirs = pty.openpty()
    command = "trap 'echo x >>$LAB_DIR/interrupted' INT; touch $LAB_DIR/begun; sleep 1; sleep 1; exit 5"
    lab = Running(directory, *BARE, "bash", "-c", command, terminal=theirs)
    lab.wait_for("begun")
    os.write(own, b"\x03")
    assert lab.end()[0] == 5
    assert (directory / "interrupted").read_text() == "x\n"
    nothing_left(directory)


@pytest.mark.parametrize("file", ["lock", "home", "hosts/tokyo-1"])
def test_ctrl_c_while_starting(directory: Path, file: str) -> None:
    """From its first moment on, a ^C ends a lab that starts with one line, and the next one starts."""
    own, theirs = pty.openpty()
    lab = Running(directory, *BARE, *COMMAND, terminal=theirs)
    lab.wait_for(file)
    os.write(own, b"\x03")
    status, output = lab.end()
    assert status == 130
    assert len(output.splitlines()) == 2, output  # the first is the terminal's, with its ^C
    assert "interrupted" in output
    nothing_left(directory)
    assert Running(directory, *BARE, "true").end() == (0, "")


def test_the_path_of_an_ordinary_user(directory: Path) -> None:
    """Debian gives an non-root user no /usr/sbin, where nft, dnsmasq and sshd are."""
    assert Running(directory, *BARE, "true", path="/usr/local/bin:/usr/bin:/bin").end() == (0, "")


def test_two_labs_at_once(directory: Path, tmp_path: Path) -> None:
    """Labs do not see each other: the same addresses, other hosts. One directory holds one lab."""
    lab = Running(directory, *BARE, *COMMAND)
    lab.wait_for("begun")
    ssh = [
        "ssh",
        "-o",
        "BatchMode=yes",
        "london-1",
        "sudo touch /etc/other; hostname; ls /tmp/lab-two || true",
    ]
    second = Running(tmp_path / "second", *BARE, *ssh)
    status, output = second.end()
    assert (status, output.splitlines()[0]) == (0, "london-1")
    status, output = Running(directory, *BARE, "true").end()
    assert (status, output) == (1, f"lab: a lab is already running in {directory}: choose another --name\n")
    alive(directory)
    lab.process.terminate()
    lab.end()
    nothing_left(directory)


def test_a_directory_of_somebody_else(directory: Path) -> None:
    """A directory with files that no lab has made is refused and left as it is."""
    directory.mkdir()
    (directory / "thesis.txt").write_text("years of work")
    status, output = Running(directory, "--", "true").end()
    assert status == 1
    assert "not a lab's directory" in output
    assert [entry.name for entry in directory.iterdir()] == ["thesis.txt"]


def test_the_checkout_stays_clean(directory: Path) -> None:
    """The stacks are the lab's own copies: `pulumi` inside writes nothing into the checkout."""
    stack = ROOT / "Pulumi.dev.yaml"
    before = stack.read_bytes()
    script = "pulumi config set lab true && pulumi stack ls && cat Pulumi.dev.yaml"
    status, output = Running(directory, *BARE, "sh", "-c", script).end()
    assert status == 0
    assert "dev*" in output
    assert "encryptionsalt:" in output
    assert stack.read_bytes() == before
