"""Pieces of a text taken out and put in, all by their places in the text as it was."""

from __future__ import annotations

from .document import Node


class Refused(Exception):
    """Why a text cannot be changed by this program; holds no value of it."""


ODD = "its form is not one that can be edited safely"


class Splices:
    """`text` and what is to become of it; `eol`: how its lines end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.eol = "\r\n" if "\r\n" in text else "\n"
        self._made: list[tuple[int, int, str]] = []

    def put(self, start: int, end: int, instead: str = "") -> None:
        self._made.append((start, end, instead))

    def mark(self) -> int:
        """To go back to with `drop`."""
        return len(self._made)

    def drop(self, mark: int) -> None:
        del self._made[mark:]

    def result(self) -> str:
        """The text with all of it done. Raises Refused where two pieces overlap."""
        parts, at = [], 0
        # An insertion comes before whatever begins at the same place; of two, the deeper one was made first.
        for start, end, instead in sorted(self._made, key=lambda piece: piece[:2]):
            if start < at:
                raise Refused(ODD)
            parts += [self.text[at:start], instead]
            at = end
        return "".join([*parts, self.text[at:]])

    def insert(self, node: Node, lines: list[str]) -> None:
        """Lines below a value, before the comments that follow it."""
        at, put = self.below(node), self.eol.join(lines)
        self.put(at, at, put + self.eol if self.text[:at].endswith("\n") else self.eol + put)

    def line(self, at: int) -> int:
        """Where the line begins; behind the mark that some editors put before the first."""
        return self.text.rfind("\n", 0, at) + 1 or len(self.text) - len(self.text.lstrip("\ufeff"))

    def leads(self, at: int) -> bool:
        """Whether nothing stands before it on its line."""
        return not self.text[self.line(at) : at].strip()

    def below(self, node: Node) -> int:
        """Where the line after a value begins, or the text's end."""
        if node.below is not None:
            return node.below
        end = self.text.find("\n", node.end)
        return len(self.text) if end < 0 else end + 1
