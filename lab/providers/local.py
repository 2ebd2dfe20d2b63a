"""One command on this machine, as local.Command runs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from typing import IO

from lab.providers.output import Output
from lab.providers.resource import Call

# Go's names of signals, as they stand in its "signal: killed".
_SIGNALS = {1: "hangup", 2: "interrupt", 3: "quit", 6: "aborted", 9: "killed"}
_SIGNALS |= {11: "segmentation fault", 13: "broken pipe", 14: "alarm clock", 15: "terminated"}


def run(
    call: Call,
    arguments: list[str],
    *,
    directory: str | None,
    stdin: str | None,
    environment: dict[str, str],
    output: Output,
) -> dict[str, str]:
    """Runs it to its end, or kills it when the user cancels; returns {"stdout", "stderr"}.

    Raises RuntimeError with all output in it when the command (the last of the arguments) fails.
    """
    command = arguments[-1]
    try:
        process = subprocess.Popen(
            arguments,
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        return output.finish(command, f"fork/exec {arguments[0]}: {reason}")
    ended = threading.Event()
    threading.Thread(target=_kill_when_cancelled, args=(call, process, ended), daemon=True).start()
    threading.Thread(target=_feed, args=(process.stdin, stdin or ""), daemon=True).start()
    pumps = [
        output.pump("stdout", _reader(process.stdout)),
        output.pump("stderr", _reader(process.stderr)),
    ]
    for thread in pumps:
        thread.join()
    status = process.wait()
    ended.set()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
    return output.finish(command, _failure(status))


def _reader(stream: IO[bytes] | None) -> Callable[[], bytes]:
    return lambda: os.read(stream.fileno(), 1 << 16) if stream else b""


def _feed(stream: IO[bytes] | None, stdin: str) -> None:
    if stream:
        # A command that does not read it to the end may well succeed: that is its own affair.
        with contextlib.suppress(OSError), stream:
            stream.write(stdin.encode())


def _kill_when_cancelled(call: Call, process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    while not ended.wait(0.1):
        if call.cancelled.is_set():
            process.kill()
            return


def _failure(status: int) -> str | None:
    """What Go's exec.ExitError says; a negative status is the signal that killed the command."""
    if status < 0:
        return f"signal: {_SIGNALS.get(-status, f'signal {-status}')}"
    return f"exit status {status}" if status else None
