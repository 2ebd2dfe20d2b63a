"""Edits of a text: pieces replaced at their positions in the original text."""

from __future__ import annotations

from .document import Node


class Refused(Exception):
    """Why this program cannot change a text; contains none of its values."""


NOT_EDITABLE = "its form cannot be edited safely"


class TextEdits:
    """`text` and the edits to apply; `eol`: its line ending."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.eol = "\r\n" if "\r\n" in text else "\n"
        self._edits: list[tuple[int, int, str]] = []

    def put(self, start: int, end: int, replacement: str = "") -> None:
        self._edits.append((start, end, replacement))

    def mark(self) -> int:
        """A position in the list of edits, for `drop`."""
        return len(self._edits)

    def drop(self, mark: int) -> None:
        del self._edits[mark:]

    def result(self) -> str:
        """The text with all edits applied. Raises Refused if two overlap."""
        parts, position = [], 0
        # An insertion comes before an edit with the same start; of two, the deeper one was added first.
        for start, end, replacement in sorted(self._edits, key=lambda edit: edit[:2]):
            if start < position:
                raise Refused(NOT_EDITABLE)
            parts += [self.text[position:start], replacement]
            position = end
        return "".join([*parts, self.text[position:]])

    def insert(self, node: Node, lines: list[str]) -> None:
        """Lines below a value, before the comments that follow it."""
        start, added = self.below(node), self.eol.join(lines)
        self.put(start, start, added + self.eol if self.text[:start].endswith("\n") else self.eol + added)

    def line(self, position: int) -> int:
        """The start of the line; after the byte order mark that some editors write before the first."""
        return self.text.rfind("\n", 0, position) + 1 or len(self.text) - len(self.text.lstrip("\ufeff"))

    def leads(self, position: int) -> bool:
        """Whether there is only whitespace before it on its line."""
        return not self.text[self.line(position) : position].strip()

    def below(self, node: Node) -> int:
        """The start of the line after a value, or the end of the text."""
        if node.below is not None:
            return node.below
        end = self.text.find("\n", node.end)
        return len(self.text) if end < 0 else end + 1
