"""The command that makes the registry read its configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import IO

from .report import Failure

SECONDS = 120


def restart(command: str) -> None:
    """Without a shell, with a time limit. Raises Failure with its last lines of output."""
    # To a file: a service that the command starts may keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command.split(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise _failed(command, f"{command}: {error.strerror}") from None
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise _failed(command, f"{command}: did not end within {SECONDS} s") from None
        if status:
            raise _failed(command, f"{command} ended with status {status}{_last_lines(output)}")


def _last_lines(output: IO[bytes]) -> str:
    output.seek(0)
    lines = [line.strip()[:300] for line in output.read(100_000).decode(errors="replace").splitlines()]
    return "".join(f"\n         {line}" for line in [line for line in lines if line][-4:])


def _failed(command: str, cause: str) -> Failure:
    remedy = f"run `{command}` on this host, fix the cause, then `pulumi up` again"
    return Failure("registry-restart-failed", "the restart failed", cause=cause, remedy=remedy)
