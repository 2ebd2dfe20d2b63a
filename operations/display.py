"""What operations print: lines, durations and progress, also where there is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

WIDTH = 30
LINE_SECONDS = 10
"""Between two lines of progress where there is no terminal."""


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
        if not self._total:
            return f"{done} {self._unit}, {duration(seconds)}"
        share = min(done / self._total, 1.0)
        bar = "=" * round(WIDTH * share)
        left = f", {duration(seconds / share - seconds)} left" if 0 < share < 1 else ""
        return f"[{bar:{WIDTH}}] {done} of {self._total} {self._unit}{left}"
