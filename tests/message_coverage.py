"""Where the program makes its messages, by its source, and which of them a test has brought about."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Place(NamedTuple):
    """A call in the source; a call of several lines is on all of them."""

    file: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.file}:{self.first}"


def places(files: Iterable[Path], name: str) -> set[Place]:
    """Every call of `name`, also as an attribute, in these files."""
    return {
        Place(str(file.relative_to(ROOT)), call.lineno, call.end_lineno or call.lineno)
        for file in files
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and name in {getattr(call.func, "id", ""), getattr(call.func, "attr", "")}
    }


class Reported:
    """Remembers where the instances of a class are made."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type[Any]) -> None:
        self.lines: set[tuple[str, int]] = set()
        made = kind.__init__

        def remembered(instance: Any, *args: Any, **kwargs: Any) -> None:
            self._remember(sys._getframe(1))
            made(instance, *args, **kwargs)

        patch.setattr(kind, "__init__", remembered)

    def _remember(self, frame: FrameType) -> None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT):
            self.lines.add((str(file.relative_to(ROOT)), frame.f_lineno))

    def missing(self, among: set[Place]) -> list[str]:
        """Those that nothing was made at, as FILE:LINE."""
        at = self.lines
        return sorted(
            str(p) for p in among if not any(file == p.file and p.first <= n <= p.last for file, n in at)
        )
