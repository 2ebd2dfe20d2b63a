"""The output of a command: stored per stream and combined, and shown line by line while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from lab.providers.resource import Log

Stream = Literal["stdout", "stderr"]
_LONGEST_LINE = 64 * 1024
"""Bytes.  The real provider logs with Go's bufio.Scanner, which stops at a longer line."""
_LOGGED: dict[str | None, tuple[Stream, ...]] = {
    None: ("stdout", "stderr"),
    "stdoutAndStderr": ("stdout", "stderr"),
    "stdout": ("stdout",),
    "stderr": ("stderr",),
    "none": (),
}
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


class LineTooLong(Exception):
    """A logged line is longer than the real provider supports: there the command would hang forever."""


class Output:
    """Collects both streams of one command; safe to feed from two threads."""

    def __init__(self, log: Log, logging: str | None) -> None:
        """`logging` is the resource's input: stdout, stderr, none, or stdoutAndStderr (the default)."""
        self._log = log
        self._logged = _LOGGED[logging]
        self._parts: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}
        self._both: list[bytes] = []
        self._line = b""
        self._lock = threading.Lock()
        self.too_long = False

    def feed(self, stream: Stream, chunk: bytes) -> None:
        with self._lock:
            self._parts[stream].append(chunk)
            self._both.append(chunk)
            if stream in self._logged and not self.too_long:
                *lines, self._line = (self._line + chunk).split(b"\n")
                for line in lines:
                    self._show(line)
                self.too_long |= len(self._line) >= _LONGEST_LINE

    def _show(self, line: bytes) -> None:
        if len(line) >= _LONGEST_LINE:
            self.too_long = True
        else:
            self._log(line.removesuffix(b"\r").decode(errors="replace"))

    def pump(self, stream: Stream, read: Callable[[], bytes]) -> threading.Thread:
        """A started thread that feeds what `read` returns, until that is empty."""

        def loop() -> None:
            while chunk := read():
                self.feed(stream, chunk)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return thread

    def finish(self, command: str, failure: str | None) -> dict[str, str]:
        """The outputs stdout and stderr; raises RuntimeError in the real provider's words on a `failure`."""
        with self._lock:
            if self._line and not self.too_long:
                self._show(self._line)
            if self.too_long:
                raise LineTooLong(
                    f"running {quoted(command)}: a line of {_LONGEST_LINE} bytes or more with logging on; "
                    "pulumi-command would hang here forever: set logging to none"
                )
            if failure:
                shown = b"".join(self._both).decode(errors="replace")
                raise RuntimeError(f"{failure}: running {quoted(command)}:\n{shown}")
            return {stream: _text(parts).removesuffix("\n") for stream, parts in self._parts.items()}


def _text(parts: list[bytes]) -> str:
    return b"".join(parts).decode(errors="surrogateescape")


def sendable(output: dict[str, str]) -> dict[str, str]:
    """The outputs for the engine; output that is not UTF-8 cannot be sent, even if the command succeeded."""
    for text in output.values():
        if any("\udc80" <= character <= "\udcff" for character in text):
            raise RuntimeError("grpc: error while marshaling: string field contains invalid UTF-8")
    return output


def quoted(text: str) -> str:
    """Go's %q, as in the real provider's errors."""

    def escaped(character: str) -> str:
        if character in _ESCAPES:
            return _ESCAPES[character]
        if character.isprintable():
            return character
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return '"' + "".join(map(escaped, text)) + '"'
