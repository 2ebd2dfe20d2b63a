"""Changes the values of a YAML text; what does not change stays the same byte for byte.

Values, keys and items are replaced by their positions in the text. At the end the new text is parsed, and
the change is refused unless it has exactly the desired values.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, NamedTuple, Sequence

from .document import MERGE, Document, Node, Tree, Unreadable, read
from .render import NotRendered, beside, block, flow
from .text_edits import NOT_EDITABLE, Refused, TextEdits

__all__ = ["Refused", "rewrite"]


class Place(NamedTuple):
    """The position of a value: its collection, and the end of its colon or dash (`lead`)."""

    inside: Node
    lead: int

    @property
    def item(self) -> bool:
        return self.inside.kind == "sequence"


def rewrite(text: str, new: Tree) -> str:
    """The text with the values of `new`. Raises Refused if that is impossible."""
    try:
        document = Document(text)
        if not isinstance(document.root.tree, dict):
            raise Refused("it is not a map")
        rewriter = _Rewriter(document)
        rewriter.change(document.root, new, None)
        result = rewriter.result()
        if read(result) == new:
            return result
    except Unreadable as error:
        raise Refused(str(error)) from None
    except NotRendered as error:
        raise Refused(f"it has a value with the tag {error}") from None
    raise Refused(NOT_EDITABLE)


class _Rewriter(TextEdits):
    def __init__(self, document: Document) -> None:
        super().__init__(document.text)
        self.aliased = document.aliased

    # -- values

    def change(self, node: Node, new: Tree, place: Place | None) -> None:
        """Change one value to `new`; without a place it is the whole document."""
        if node.tree == new:
            return
        if node.anchor in self.aliased:
            raise Refused(f"a value to change is referenced elsewhere in it (&{node.anchor})")
        mark, kind = self.mark(), {"mapping": dict, "sequence": list}.get(node.kind)
        if kind is None or not isinstance(new, kind) or not new or not node.tree or not self.inner(node, new):
            self.drop(mark)
            self.replace(node, new, place)

    def inner(self, node: Node, new: Any) -> bool:
        """Change a collection in place; False if it must be replaced as a whole."""
        if node.kind == "mapping":
            if MERGE in node.tree:
                raise Refused("a value to change is merged from another place in it (<<)")
            return self.flow_mapping(node, new) if node.flow else self.block_mapping(node, new)
        kept = _kept(node, new)
        if kept is None:
            return False
        return self.flow_sequence(node, new, kept) if node.flow else self.block_sequence(node, new, kept)

    def replace(self, node: Node, new: Tree, place: Place | None) -> None:
        if place is None:
            if not node.flow:
                raise Refused(NOT_EDITABLE)
            self.put(node.start, node.end, flow(new))
        elif place.inside.flow:
            put = flow(new)
            if not place.item and self.text[place.lead - 1] != ":":
                put = ": " + put  # a key alone, which stands for null
            elif not place.item and node.start == node.end:
                put = self.padded(put, node.start)
            self.put(node.start, node.end, put)
        elif place.item:
            lines = [flow(new)] if beside(new) else block(new, place.inside.column + 2)
            self.put(place.lead, node.end, " " + self.eol.join(lines).lstrip())
        elif "\n" not in self.text[place.lead : node.start]:
            self.replace_beside(node, new, place)
        else:
            begin, below = self.line(node.start), self.below(node)
            if beside(new):
                self.put(place.lead, place.lead, " " + flow(new))
                self.put(begin, below)
            else:
                lines = block(new, place.inside.column + 2)
                ending = self.eol if self.text[begin:below].endswith("\n") else ""
                self.put(begin, below, self.eol.join(lines) + ending)

    def replace_beside(self, node: Node, new: Tree, place: Place) -> None:
        """A value that begins on the line of its key."""
        if beside(new):
            self.put(node.start, node.end, self.padded(flow(new), node.start))
        else:
            self.put(place.lead, node.end)
            self.insert(node, block(new, place.inside.column + 2))

    def padded(self, value: str, start: int) -> str:
        return value if self.text[start - 1].isspace() else " " + value

    # -- mappings

    def block_mapping(self, node: Node, new: dict[Any, Tree]) -> bool:
        runs = list(_runs([k.tree in new for k, _ in node.pairs]))
        for first, last in runs:
            begin = node.pairs[first][0].start
            if not self.leads(begin):
                # On the line of a dash: the next pair moves there.
                if first != 0 or last + 1 == len(node.pairs):
                    return False
                self.put(begin, node.pairs[last + 1][0].start)
            else:
                for pair in node.pairs[first : last + 1]:
                    self.put(self.line(pair[0].start), self.below(pair[1]))
        for name, value in node.pairs:
            if name.tree in new:
                self.change(value, new[name.tree], Place(node, self.colon(name, value)))
        added = {k: v for k, v in new.items() if k not in node.tree}
        if added:
            self.insert(node, block(added, node.column))
        return True

    def flow_mapping(self, node: Node, new: dict[Any, Tree]) -> bool:
        stays = [k.tree in new for k, _ in node.pairs]
        if not any(stays):
            return False
        self.cut(stays, [(k.start, max(k.end, v.end)) for k, v in node.pairs])
        for name, value in node.pairs:
            if name.tree in new:
                self.change(value, new[name.tree], Place(node, self.colon(name, value)))
        last = [pair for pair, there in zip(node.pairs, stays) if there][-1]
        for k, v in new.items():
            if k not in node.tree:
                end = max(last[0].end, last[1].end)
                self.put(end, end, f", {flow(k)}: {flow(v)}")
        return True

    def colon(self, name: Node, value: Node) -> int:
        """The end of the colon between a key and its value; the end of the key if there is none."""
        found = re.compile(r"\s*:").match(self.text, name.end, max(value.start, name.end))
        if found:
            return found.end()
        if value.start > name.end:
            raise Refused(NOT_EDITABLE)
        return name.end

    # -- lists

    def block_sequence(self, node: Node, new: list[Tree], kept: Sequence[int]) -> bool:
        if self.text[node.start] != "-" or not kept:
            return False
        dashes = [self.dash(node, number) for number in range(len(node.items))]
        for number, item in enumerate(node.items):
            if number not in kept:
                if not self.leads(dashes[number]):
                    return False
                self.put(self.line(dashes[number]), self.below(item))
        for number, value in zip(kept, new):
            self.change(node.items[number], value, Place(node, dashes[number] + 1))
        if len(new) > len(kept):
            self.insert(node, block(new[len(kept) :], node.column))
        return True

    def dash(self, node: Node, number: int) -> int:
        if number == 0:
            return node.start
        before = self.text[: node.items[number].start + 1]
        lead = re.compile(rf"^[ \t]{{{node.column}}}-", re.MULTILINE)
        found = [m.end() - 1 for m in lead.finditer(before, node.items[number - 1].end)]
        if not found:
            raise Refused(NOT_EDITABLE)
        return found[-1]

    def flow_sequence(self, node: Node, new: list[Tree], kept: Sequence[int]) -> bool:
        if not kept:
            return False
        self.cut(
            [number in kept for number in range(len(node.items))], [(i.start, i.end) for i in node.items]
        )
        for number, value in zip(kept, new):
            self.change(node.items[number], value, Place(node, node.items[number].start))
        end = node.items[kept[-1]].end
        for value in new[len(kept) :]:
            self.put(end, end, f", {flow(value)}")
        return True

    def cut(self, stays: Sequence[bool], places: Sequence[tuple[int, int]]) -> None:
        """Remove parts of a flow collection, each run of them with one comma."""
        for first, last in _runs(stays):
            if first:
                self.put(places[first - 1][1], places[last][1])
            else:
                self.put(places[0][0], places[last + 1][0])


def _runs(stays: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last of each run of parts that do not stay."""
    first = None
    for number, there in enumerate([*stays, True]):
        if not there and first is None:
            first = number
        elif there and first is not None:
            yield first, number - 1
            first = None


def _kept(node: Node, new: list[Tree]) -> list[int] | None:
    """The items that stay, in order, if all others of `new` come after them; else None.

    Items are identified by their `name`, or by being equal.
    """
    old = [_name(item.tree) for item in node.items]
    kept: list[int] = []
    for number, value in enumerate(new):
        after = kept[-1] + 1 if kept else 0
        name = _name(value)
        if name in old[after:] and len(kept) == number:
            kept.append(old.index(name, after))
        elif name in old[after:]:
            return None
    return kept


def _name(item: Tree) -> str:
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        return f"name={item['name']}"
    return repr(item)
