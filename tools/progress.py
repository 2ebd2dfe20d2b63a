"""Short progress lines and quiet child processes for setup.

Standard library only: all of this runs before `.venv` exists.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HEARTBEAT_SECONDS = 30
TAIL_LINES = 25


class SetupError(Exception):
    """Setup cannot continue. The text says why and what to do; it is shown without a traceback."""


def say(text: str) -> None:
    print(text, flush=True)


def elapsed(seconds: float) -> str:
    """`83.2` → `1 min 23 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announces a long step, and how long it took once it has succeeded."""
    say(f"==> {title}")
    start = time.monotonic()
    yield
    say(f"    done in {elapsed(time.monotonic() - start)}")


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    detached: bool = False,
) -> None:
    """Runs a program with its output in `log`, with a sign of life every half minute.

    It dies with us, however we die; `detached` is for what must not be cut short (a package installation):
    it has a session of its own, and an interrupt waits for its end.
    Raises SetupError with the end of the output when the exit status is not 0.
    """
    words = [str(word) for word in argv]
    prefix = [] if detached else ["setpriv", "--pdeathsig", "TERM", "--"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(words)}\n".encode())
        output.flush()
        begin = output.tell()
        with subprocess.Popen(
            [*prefix, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=detached,
        ) as process:
            try:
                _wait(process)
            except BaseException:
                if detached and process.poll() is None:
                    say("    interrupted: waiting until the packages are whole")
                elif not detached:
                    process.terminate()
                process.wait()
                raise
    if process.returncode != 0:
        tail = log.read_bytes()[begin:].decode(errors="replace").splitlines()[-TAIL_LINES:]
        shown = "\n".join(f"    | {line}" for line in tail)
        raise SetupError(
            f"{words[0]} failed with status {process.returncode}; all of it is in {log}\n"
            f"{shown}{_remedy(shown)}"
        )


_REMEDIES = {
    "ResolutionImpossible": "constraints.txt does not lock what pyproject.toml asks for: run `make lock`.",
    "No space left on device": "The disk is full: the checkout takes 0.5 GB, ~/.cache 0.2 GB.",
    "Temporary failure in name resolution|Network is unreachable|NewConnectionError|Could not resolve|"
    "No matching distribution found": "The package registry cannot be reached: look at the network, and at "
    "pip's settings (`pip config list`) where yours is another. Then run it again.",
}


def _remedy(output: str) -> str:
    """What to do about it, where the program's own words lead elsewhere."""
    return next((f"\n{text}" for said, text in _REMEDIES.items() if re.search(said, output)), "")


def _wait(process: subprocess.Popen[bytes]) -> None:
    start = time.monotonic()
    while True:
        try:
            process.wait(HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"    … {elapsed(time.monotonic() - start)}")
        else:
            return


@contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Only one setup at a time; a second one reports that it waits. A killed one leaves no lock behind."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"==> another setup is running for {what}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fail(text: str) -> int:
    """Prints an error on standard error; returns the exit status for it."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
    return 1
