"""What operations show while they work: bars in a terminal, lines elsewhere."""

from __future__ import annotations

import os
import pty
import termios
import tty
from collections.abc import Iterator
from io import StringIO

import pytest

from operations.display import Bars, bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr("operations.display.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal of 60 columns."""
    screen, program = pty.openpty()
    tty.setraw(program)
    termios.tcsetwinsize(program, (24, 60))
    yield screen, program
    os.close(screen)


def test_a_bar_says_how_much_is_left() -> None:
    """Nothing of it at the beginning and at the end, or if the total is not known."""
    assert bar("repositories", 0, 40, 1) == f"[{'':30}] 0 of 40 repositories"
    assert bar("repositories", 10, 40, 60) == f"[{'=' * 8:30}] 10 of 40 repositories, 3 min 0 s left"
    assert bar("nodes", 40, 40, 60) == f"[{'=' * 30}] 40 of 40 nodes"
    assert bar("blobs", 7, None, 60) == "7 blobs, 1 min 0 s"


def test_a_terminal_has_a_line_for_each_name_and_is_clean_at_the_end(
    clock: list[float], terminal: tuple[int, int]
) -> None:
    """They are drawn in place, after two seconds, and cut to the width of the terminal."""
    screen, program = terminal
    with os.fdopen(program, "w") as stream, Bars(stream) as bars:
        bars.show("nodes", "nodes", 1, 2)
        clock[0] += 3
        bars.show("tokyo", "repositories", 5, 10)
        first = os.read(screen, 1000).decode()
        bars.show("tokyo", "repositories", 10, 10)
        second = os.read(screen, 1000).decode()
        bars.__exit__()
        last = os.read(screen, 1000).decode()
    assert [line.partition("\x1b")[0].rstrip() for line in first.splitlines()] == [
        "nodes         [===============               ] 1 of 2 nodes",
        "tokyo         [===============               ] 5 of 10 repo",
    ]
    assert second.startswith("\x1b[2Anodes ") and "10 of 10" in second
    assert last == "\x1b[2A\x1b[J"


def test_elsewhere_there_is_a_line_for_each_name_every_ten_seconds(clock: list[float]) -> None:
    """None before."""
    stream = StringIO()
    with Bars(stream) as bars:
        for seconds in (3, 6, 8, 9):
            clock[0] = 100.0 + seconds
            bars.show("nodes", "nodes", 2, 2)
            bars.show("tokyo", "repositories", seconds, 20)
        assert stream.getvalue() == ""
        clock[0] = 111.0
        bars.show("tokyo", "repositories", 10, 20)
        clock[0] = 120.0
        bars.show("tokyo", "repositories", 19, 20)
    assert stream.getvalue().splitlines() == [
        f"nodes         [{'=' * 30}] 2 of 2 nodes",
        f"tokyo         [{'=' * 15:30}] 10 of 20 repositories, 11 s left",
    ]
