"""What operations print: lines, durations and progress, also where there is no terminal."""

from __future__ import annotations

import os
import sys
import time
from threading import Lock
from types import TracebackType
from typing import Self, TextIO

WIDTH = 30
LINE_SECONDS = 10
"""Between two lines of progress where there is no terminal."""
WORTH_SECONDS = 2
"""What takes less time needs no bars."""


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)


def duration(seconds: float | None) -> str:
    """`3725` → `1 h 2 min`; `83.2` → `1 min 23 s`."""
    minutes, rest = divmod(round(seconds or 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """A bar in a terminal, otherwise a line from time to time. `total`: None if it is not known."""

    def __init__(self, unit: str, total: int | None) -> None:
        self._unit, self._total = unit, total
        self._terminal = sys.stdout.isatty()
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._terminal:
            print(flush=True)

    def show(self, done: int, seconds: float) -> None:
        """`done` units after `seconds`, with the time left."""
        if self._terminal:
            print(f"\r    {self._text(done, seconds)}\x1b[K", end="", flush=True)
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            say(f"    {self._text(done, seconds)}")

    def _text(self, done: int, seconds: float) -> str:
        return bar(self._unit, done, self._total, seconds)


class Bars:
    """A bar for each name, all of them in place in a terminal, otherwise lines from time to time.

    On stderr, because the result is on stdout; none if it takes less than `WORTH_SECONDS`.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._texts: dict[str, str] = {}
        self._drawn = 0
        self._lock = Lock()
        self._began = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._write("\x1b[J" if self._drawn else "")

    def show(self, name: str, unit: str, done: float, total: int) -> None:
        """From any thread."""
        with self._lock:
            now = time.monotonic()
            self._texts[name] = f"{name:12}  {bar(unit, done, total, now - self._began)}"
            if self._stream.isatty():
                if now - self._began >= WORTH_SECONDS:
                    width = os.get_terminal_size(self._stream.fileno()).columns
                    self._write("".join(f"{text[: width - 1]}\x1b[K\n" for text in self._texts.values()))
                    self._drawn = len(self._texts)
            elif now - self._last >= LINE_SECONDS:
                self._last = now
                self._write("".join(f"{text}\n" for text in self._texts.values()))

    def _write(self, text: str) -> None:
        """Over what was drawn before."""
        self._stream.write((f"\x1b[{self._drawn}A" if self._drawn else "") + text)
        self._stream.flush()


def bar(unit: str, done: float, total: int | None, seconds: float) -> str:
    """`done` units after `seconds`, with the time left. `total`: None if it is not known."""
    if not total:
        return f"{done:.0f} {unit}, {duration(seconds)}"
    share = min(done / total, 1.0)
    left = f", {duration(seconds / share - seconds)} left" if 0 < share < 1 else ""
    return f"[{'=' * round(WIDTH * share):{WIDTH}}] {done:.0f} of {total} {unit}{left}"
