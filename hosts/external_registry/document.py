"""A YAML file as a tree of values, each with its position in the text."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Union

from yaml import events
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

STANDARD = "tag:yaml.org,2002:"


class Unreadable(Exception):
    """Why a text is not YAML that can be edited here; contains only names of keys from it."""


class Scalar(NamedTuple):
    """Not a string: `Scalar("int", "0644")`, as it is written, because YAML parsers differ in its meaning."""

    tag: str
    text: str


NULL = Scalar("null", "null")
MERGE = Scalar("merge", "<<")

Tree = Union[str, Scalar, List[Any], Dict[Any, Any]]
"""Strings are `str`, other scalars `Scalar`, also as keys of a map."""


class Node:
    """One value in the text. `end` follows its last character; `below` is where the next line starts."""

    def __init__(self, kind: str, start: int, column: int, end: int) -> None:
        self.kind = kind
        self.start, self.column, self.end = start, column, end
        self.below: int | None = None
        self.tree: Tree = NULL
        self.flow = False
        self.anchor: str | None = None
        self.items: list[Node] = []
        self.pairs: list[tuple[Node, Node]] = []


class _Events(Reader, Scanner, Parser, Resolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Resolver.__init__(self)


def _stream(text: str) -> Any:
    return _Events(text)


class Document:
    """`root`: its only value; `aliased`: the anchors that are referenced elsewhere in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.aliased: dict[str, bool] = {}
        self._anchors: dict[str, Node] = {}
        try:
            self._stream = _stream(text)
            self._stream.get_event()  # start of the stream
            if isinstance(self._stream.peek_event(), events.StreamEndEvent):
                raise Unreadable("it is empty")
            self._stream.get_event()  # start of the document
            self.root = self._node()
            self._stream.get_event()
            if not isinstance(self._stream.peek_event(), events.StreamEndEvent):
                raise Unreadable("it contains several documents")
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise Unreadable(f"{error.problem} in line {mark.line + 1 if mark else 0}") from None
        except YAMLError:
            raise Unreadable("it contains characters that YAML does not allow") from None
        except RecursionError:
            raise Unreadable("it is nested too deeply") from None

    def _node(self) -> Node:
        event = self._stream.get_event()
        start, end = event.start_mark, event.end_mark
        node = Node("scalar", start.index, start.column, end.index)
        if isinstance(event, events.AliasEvent):
            return self._alias(node, event)
        node.anchor = event.anchor
        if event.anchor:
            self._anchors.pop(event.anchor, None)
        if isinstance(event, events.ScalarEvent):
            self._scalar(node, event)
        elif isinstance(event, events.SequenceStartEvent):
            self._sequence(node, event)
        else:
            self._mapping(node, event)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, node: Node, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise Unreadable(f"line {event.start_mark.line + 1} refers to an unknown anchor")
        self.aliased[event.anchor] = True
        node.kind = "alias"
        node.tree = self._anchors[event.anchor].tree
        return node

    def _scalar(self, node: Node, event: Any) -> None:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._stream.resolve(ScalarNode, event.value, event.implicit)
        tag = tag[len(STANDARD) :] if tag.startswith(STANDARD) else tag
        node.tree = event.value if tag == "str" else NULL if tag == "null" else Scalar(tag, event.value)
        if event.style in ("|", ">"):
            whole = self.text[node.start : node.end]
            header = whole.splitlines()[0]
            node.end = node.start + len(whole.rstrip("\r\n"))
            if "+" in header.split("#")[0]:
                node.below = node.start + len(whole)

    def _sequence(self, node: Node, event: Any) -> None:
        node.kind, node.flow = "sequence", bool(event.flow_style)
        while not isinstance(self._stream.peek_event(), events.SequenceEndEvent):
            node.items.append(self._node())
        node.tree = [item.tree for item in node.items]
        self._end(node, node.items)

    def _mapping(self, node: Node, event: Any) -> None:
        node.kind, node.flow = "mapping", bool(event.flow_style)
        values: dict[Any, Tree] = {}
        while not isinstance(self._stream.peek_event(), events.MappingEndEvent):
            line = self._stream.peek_event().start_mark.line + 1
            key, value = self._node(), self._node()
            if isinstance(key.tree, (dict, list)):
                raise Unreadable(f"line {line} has a map or a list as a key")
            if key.tree in values:
                raise Unreadable(f"{shown(key.tree)} is a duplicate key, the second time in line {line}")
            values[key.tree] = value.tree
            node.pairs.append((key, value))
        node.tree = values
        self._end(node, [part for pair in node.pairs for part in pair])

    def _end(self, node: Node, parts: list[Node]) -> None:
        closing = self._stream.get_event()
        if node.flow:
            node.end = closing.end_mark.index
        elif parts:
            # For the parser, a block ends where the next value starts, including the comments in between.
            node.end, node.below = parts[-1].end, parts[-1].below
            if node.pairs and self.text[node.start] != "?":
                node.column = parts[0].column


def shown(key: Tree) -> str:
    """A key as it is written."""
    return key.text if isinstance(key, Scalar) else str(key)


def read(text: str) -> Tree:
    """The tree of a text."""
    return Document(text).root.tree


def tree(value: Any) -> Tree:
    """A JSON value → a tree."""
    if isinstance(value, bool):
        return Scalar("bool", "true" if value else "false")
    if isinstance(value, (int, float)):
        return Scalar("int" if isinstance(value, int) else "float", repr(value))
    if isinstance(value, dict):
        return {key: tree(member) for key, member in value.items()}
    if isinstance(value, list):
        return [tree(member) for member in value]
    return NULL if value is None else value


def strings(value: Tree) -> Iterator[str]:
    """Every scalar below, as it is written."""
    if isinstance(value, dict):
        for member in value.values():
            yield from strings(member)
    elif isinstance(value, list):
        for member in value:
            yield from strings(member)
    else:
        yield shown(value)
