"""Starts a lab from outside: checks the machine, creates the namespaces, and ends everything when it ends."""

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

from lab import gitlab_registry
from lab.project import CHECKOUT
from tools import debian
from tools.progress import SetupError

PR_SET_PDEATHSIG = 1
SI_KERNEL = 0x80
INTERRUPTED = "\nlab: interrupted during startup. No part of it is still running; run it again."
WATCHED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class CannotStart(Exception):
    """Why the lab cannot start here, in one line for the user."""


@dataclass(frozen=True)
class Options:
    """The options of `python -m lab run`."""

    name: str
    sites: str
    quiet: bool
    command: list[str]
    cwd: str | None = None
    """The command's working directory; None is the lab's project directory."""
    keep_state: bool = False


def run(options: Options) -> int:
    """Run the command in a fresh lab; returns its exit status, or 128+n after signal n.

    After a failure, the lab's directory with its logs stays until the next start.
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
    """CannotStart for missing packages, refused namespaces, and an invalid GITLAB_REGISTRY."""
    missing = debian.missing_packages()
    if missing:
        raise CannotStart(f"packages are missing: {debian.install_line(missing)}")
    try:
        gitlab_registry.chosen()
        debian.ensure_namespaces(root=os.geteuid() == 0)
    except SetupError as error:
        raise CannotStart(str(error)) from error


def claim(lab_dir: Path) -> int:
    """Lock and empty the lab's directory; the returned lock is held while any process has it open."""
    marker = lab_dir / "lock"
    if lab_dir.exists() and any(lab_dir.iterdir()) and not marker.exists():
        raise CannotStart(f"{lab_dir} is not a lab's directory and not empty, so it is not changed")
    lab_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(marker, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStart(f"a lab is already running in {lab_dir}: choose another --name") from None
    _clear(lab_dir)
    return lock


def _clear(lab_dir: Path) -> None:
    """Remove the lab's state except its lock. The user owns all of it: the hosts' tmpfs no longer exists."""
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
    """Run lab.supervisor in namespaces until its command ends, or this process gets a signal or is killed."""
    # This process holds the write end. The lab shuts down cleanly when it is closed.
    lifeline, held = os.pipe()
    # The lab sends a byte when its command runs: from then on, the command handles Ctrl-C.
    begun, theirs = os.pipe()
    os.set_blocking(begun, False)
    arguments = {**asdict(options), "lab_dir": str(lab_dir), "lifeline": lifeline, "begun": theirs}
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # The parent died before the line above.
        # Not SIGINT: this process, not unshare, handles a Ctrl-C while the lab is starting.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED - {signal.SIGINT})

    inside = subprocess.Popen(
        [*_unshare(), sys.executable, "-m", "lab.supervisor", json.dumps(arguments)],
        pass_fds=(lifeline, theirs, lock),
        preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has no threads
        cwd=CHECKOUT,
        # The lab needs programs that are not on the PATH of a non-root user of Debian: nft, dnsmasq, sshd.
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
                continue  # The lab's command has received it as well.
            inside.kill()
            inside.wait()
            print(INTERRUPTED, file=sys.stderr)
            return 128 + signal.SIGINT
        if asked is None:
            asked = info.si_signo
            os.close(held)
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
    """The command that runs a module of this checkout inside the lab; a Ctrl-C ends it with one line."""
    return [sys.executable, "-m", "tools.interruptible", module, *arguments]
