"""Starts a lab from outside: checks the machine, makes the namespaces, sees to it that all ends with us."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import debian, gitlab_registry
from lab.progress import SetupError
from lab.project import CHECKOUT

PR_SET_PDEATHSIG = 1
SI_KERNEL = 0x80
INTERRUPTED = "\nlab: interrupted while it started. Nothing of it is left running; run it again."
WATCHED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class CannotStart(Exception):
    """Why the lab cannot start here, in one line for the user."""


@dataclass(frozen=True)
class Options:
    """What `python -m lab run` was asked for."""

    name: str
    sites: str
    quiet: bool
    command: list[str]
    cwd: str | None = None
    """Where the command runs; None is the lab's project directory."""
    keep_state: bool = False


def run(options: Options) -> int:
    """Run the command in a fresh lab; returns its exit status, 128+n if signal n told us to stop.

    What the lab leaves in its directory, its logs above all, stays after a failure until the next start.
    """
    lab_dir = Path(os.environ.get("LAB_DIR") or CHECKOUT / ".lab" / options.name).absolute()
    try:
        check_machine()
        lock = claim(lab_dir)
    except CannotStart as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    status = _supervise(lab_dir, options, lock)
    if status == 0 and not options.keep_state:
        _clear(lab_dir)
    return status


def check_machine() -> None:
    """CannotStart for missing packages, refused namespaces, and a GITLAB_REGISTRY that is not one."""
    missing = debian.missing_packages()
    if missing:
        raise CannotStart(f"packages are missing: {debian.install_line(missing)}")
    try:
        gitlab_registry.chosen()
        debian.ensure_namespaces(root=os.geteuid() == 0)
    except SetupError as error:
        raise CannotStart(str(error)) from error


def claim(lab_dir: Path) -> int:
    """Take the lab's directory, empty it, and return a lock that lives as long as any process holding it."""
    marker = lab_dir / "lock"
    if lab_dir.exists() and any(lab_dir.iterdir()) and not marker.exists():
        raise CannotStart(f"{lab_dir} is not a lab's directory and not empty, so it is not touched")
    lab_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(marker, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStart(f"a lab runs in {lab_dir} already: choose another --name") from None
    _clear(lab_dir)
    return lock


def _clear(lab_dir: Path) -> None:
    """Remove the lab's state but its lock. All of it is ours: hosts live on a tmpfs that is gone by now."""
    for entry in lab_dir.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user", "--map-auto"]
    spaces = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *user, *spaces, "--propagation", "private", "--"]


def _supervise(lab_dir: Path, options: Options, lock: int) -> int:
    """Run lab.inside in namespaces until its command ends, we are told to stop, or we are killed."""
    # While we live we hold the write end. Its closing tells the lab to end in good order.
    lifeline, ours = os.pipe()
    # From the lab comes a byte when its command runs: from then on Ctrl-C is that one's matter.
    begun, theirs = os.pipe()
    os.set_blocking(begun, False)
    arguments = {**asdict(options), "lab_dir": str(lab_dir), "lifeline": lifeline, "begun": theirs}
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # It died before the line above.
        # Not SIGINT: what a Ctrl-C means for a lab that is still starting is our matter, not unshare's.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED - {signal.SIGINT})

    inside = subprocess.Popen(
        [*_unshare(), sys.executable, "-m", "lab.inside", json.dumps(arguments)],
        pass_fds=(lifeline, theirs, lock),
        preexec_fn=die_with_parent,  # noqa: PLW1509 - there are no threads here
        cwd=CHECKOUT,
        # The lab needs programs that an ordinary user of Debian has not on PATH: nft, dnsmasq, sshd.
        env={**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", ""), debian.SYSTEM_PATH])},
    )
    os.close(lifeline)
    os.close(theirs)
    asked: int | None = None
    running = False
    while inside.poll() is None:
        info = signal.sigwaitinfo(WATCHED)
        if info.si_signo == signal.SIGCHLD:
            continue
        if info.si_signo == signal.SIGINT and info.si_code == SI_KERNEL:
            if running := running or _has_byte(begun):
                continue  # It has reached the lab's command as well.
            inside.kill()
            inside.wait()
            print(INTERRUPTED, file=sys.stderr)
            return 128 + signal.SIGINT
        if asked is None:
            asked = info.si_signo
            os.close(ours)
        else:
            inside.kill()
    return 128 + asked if asked is not None else _status(inside.returncode)


def _has_byte(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) != b""
    except BlockingIOError:
        return False


def _status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


def python(module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs a module of this checkout inside the lab; a Ctrl-C ends it with a line."""
    return [sys.executable, "-m", "lab.interruptible", module, *arguments]
