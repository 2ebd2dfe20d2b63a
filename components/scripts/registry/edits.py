"""What is set in a configuration, and how it is taken back: on trees, apart from any text.

An edit is `{"path": [...]}` with one of `value` (the place says just this), `absent` (there is no such place)
and `only` (a mapping that is there has no other keys). In a path `{"name": …}` is the item of a list by that
name.
"""

from __future__ import annotations

from typing import Any, Iterator

from .document import Tree, tree

Edit = Any
ABSENT = object()


def applied(old: Tree, edits: list[Edit]) -> Tree:
    """The tree after the edits; the old one stays as it is."""
    new = old
    for edit in edits:
        if "only" in edit:
            for other in _others(new, edit):
                new = put(new, [*edit["path"], other], ABSENT)
        else:
            new = put(new, edit["path"], ABSENT if "absent" in edit else tree(edit["value"]))
    return new


def reverted(now: Tree, original: Tree, edits: list[Edit]) -> Tree:
    """What the tree would be without the edits: at their places it says what the original says."""
    new = now
    for edit in edits:
        path = edit["path"]
        if "only" in edit:
            for other in _others(original, edit):
                new = put(new, [*path, other], get(original, [*path, other]))
        else:
            new = put(new, path, get(original, path))
            # What is empty now, and had nothing in it before, came with the edit.
            for above in range(len(path) - 1, 0, -1):
                there, before = get(new, path[:above]), get(original, path[:above])
                if there in ({}, []) and not (before and type(before) is type(there)):
                    new = put(new, path[:above], before)
    return new


def _others(at: Tree, edit: Edit) -> Iterator[Any]:
    found = get(at, edit["path"])
    return iter([key for key in found if key not in edit["only"]] if isinstance(found, dict) else [])


def get(at: Any, path: list[Any]) -> Any:
    """What stands at a path, or ABSENT."""
    for part in path:
        if isinstance(part, dict):
            found = [item for item in at if _is(item, part)] if isinstance(at, list) else []
            at = found[0] if found else ABSENT
        else:
            at = at.get(part, ABSENT) if isinstance(at, dict) else ABSENT
    return at


def put(at: Any, path: list[Any], value: Any) -> Any:
    """A copy with that value at the path, and what is needed on the way there; ABSENT takes it away."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if value is ABSENT and get(at, [part]) is ABSENT:
        return at
    if isinstance(part, dict):
        return _put_item(at if isinstance(at, list) else [], part, rest, value)
    new = dict(at) if isinstance(at, dict) else {}
    inner = put(new.get(part, ABSENT), rest, value)
    if inner is ABSENT:
        new.pop(part, None)
    else:
        new[part] = inner
    return new


def _put_item(at: list[Any], part: dict[str, str], rest: list[Any], value: Any) -> list[Any]:
    """In a list: the first of that name is changed, others of that name go, a new one comes last."""
    new: list[Any] = []
    found = False
    for item in at:
        if not _is(item, part):
            new.append(item)
        elif not found:
            found = True
            inner = put(item, rest, value)
            new += [] if inner is ABSENT else [inner]
    return new if found or value is ABSENT else [*new, put(ABSENT, rest, value)]


def _is(item: Any, part: dict[str, str]) -> bool:
    return isinstance(item, dict) and item.get("name") == part["name"]
