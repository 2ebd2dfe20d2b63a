"""A YAML file as a tree of what it says, where each part knows at which characters of the text it stands."""

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
    """Why a text is no YAML that can be edited here; tells nothing of it but names of keys."""


class Scalar(NamedTuple):
    """What is no text: `Scalar("int", "0644")`, as it is written: YAML's readers differ in what it means."""

    tag: str
    text: str


NULL = Scalar("null", "null")
MERGE = Scalar("merge", "<<")

Tree = Union[str, Scalar, List[Any], Dict[Any, Any]]
"""Texts are `str`, other scalars `Scalar`, also as keys of a mapping."""


class Node:
    """One value in the text. `end` is behind its last character, `below` where a line after it begins."""

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
    """`root`: its one value; `aliased`: the anchors that other places of the text refer to."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.aliased: dict[str, bool] = {}
        self._anchors: dict[str, Node] = {}
        try:
            self._stream = _stream(text)
            self._stream.get_event()  # the stream's start
            if isinstance(self._stream.peek_event(), events.StreamEndEvent):
                raise Unreadable("it is empty")
            self._stream.get_event()  # the document's
            self.root = self._node()
            self._stream.get_event()
            if not isinstance(self._stream.peek_event(), events.StreamEndEvent):
                raise Unreadable("it holds several documents")
        except MarkedYAMLError as error:
            at = error.problem_mark or error.context_mark
            raise Unreadable(f"{error.problem} in line {at.line + 1 if at else 0}") from None
        except YAMLError:
            raise Unreadable("it holds characters that YAML does not have") from None
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
            raise Unreadable(f"line {event.start_mark.line + 1} refers to what is not there")
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
        found: dict[Any, Tree] = {}
        while not isinstance(self._stream.peek_event(), events.MappingEndEvent):
            line = self._stream.peek_event().start_mark.line + 1
            key, value = self._node(), self._node()
            if isinstance(key.tree, (dict, list)):
                raise Unreadable(f"line {line} has a mapping or a list as a key")
            if key.tree in found:
                raise Unreadable(f"{shown(key.tree)} stands twice, the second time in line {line}")
            found[key.tree] = value.tree
            node.pairs.append((key, value))
        node.tree = found
        self._end(node, [part for pair in node.pairs for part in pair])

    def _end(self, node: Node, parts: list[Node]) -> None:
        closing = self._stream.get_event()
        if node.flow:
            node.end = closing.end_mark.index
        elif parts:
            # The parser's own end of a block is where the next thing begins, comments in between included.
            node.end, node.below = parts[-1].end, parts[-1].below
            if node.pairs and self.text[node.start] != "?":
                node.column = parts[0].column


def shown(key: Tree) -> str:
    """A key as a person knows it."""
    return key.text if isinstance(key, Scalar) else str(key)


def read(text: str) -> Tree:
    """What the text says."""
    return Document(text).root.tree


def tree(value: Any) -> Tree:
    """What JSON has → the same as a tree."""
    if isinstance(value, bool):
        return Scalar("bool", "true" if value else "false")
    if isinstance(value, (int, float)):
        return Scalar("int" if isinstance(value, int) else "float", repr(value))
    if isinstance(value, dict):
        return {key: tree(its) for key, its in value.items()}
    if isinstance(value, list):
        return [tree(its) for its in value]
    return NULL if value is None else value


def strings(at: Tree) -> Iterator[str]:
    """Every scalar below, as it is written."""
    if isinstance(at, dict):
        for its in at.values():
            yield from strings(its)
    elif isinstance(at, list):
        for its in at:
            yield from strings(its)
    else:
        yield shown(at)
