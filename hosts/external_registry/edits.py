"""Applies edits to a configuration, and reverts them: on trees, independent of the text.

An edit is `{"path": [...]}` with one of `value` (the value at the path), `absent` (nothing is at the path)
and `only` (a map at the path has no other keys). In a path, `{"name": …}` selects the item of a list
with that name.
"""

from __future__ import annotations

from typing import Any, Iterator

from .document import Tree, tree

Edit = Any
ABSENT = object()


def applied(old: Tree, edits: list[Edit]) -> Tree:
    """A new tree with the edits applied."""
    new = old
    for edit in edits:
        if "only" in edit:
            for other in _others(new, edit):
                new = put(new, [*edit["path"], other], ABSENT)
        else:
            new = put(new, edit["path"], ABSENT if "absent" in edit else tree(edit["value"]))
    return new


def reverted(now: Tree, original: Tree, edits: list[Edit]) -> Tree:
    """A new tree without the edits: at their paths it has the values of the original."""
    new = now
    for edit in edits:
        path = edit["path"]
        if "only" in edit:
            for other in _others(original, edit):
                new = put(new, [*path, other], get(original, [*path, other]))
        else:
            new = put(new, path, get(original, path))
            # A collection that is empty now and was not there, or empty, before was created by the edit.
            for above in range(len(path) - 1, 0, -1):
                now, before = get(new, path[:above]), get(original, path[:above])
                if now in ({}, []) and not (before and type(before) is type(now)):
                    new = put(new, path[:above], before)
    return new


def _others(tree: Tree, edit: Edit) -> Iterator[Any]:
    value = get(tree, edit["path"])
    return iter([key for key in value if key not in edit["only"]] if isinstance(value, dict) else [])


def get(value: Any, path: list[Any]) -> Any:
    """The value at a path, or ABSENT."""
    for part in path:
        if isinstance(part, dict):
            items = [item for item in value if _is(item, part)] if isinstance(value, list) else []
            value = items[0] if items else ABSENT
        else:
            value = value.get(part, ABSENT) if isinstance(value, dict) else ABSENT
    return value


def put(tree: Any, path: list[Any], value: Any) -> Any:
    """A copy with that value at the path, and with the collections above it; ABSENT removes it."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if value is ABSENT and get(tree, [part]) is ABSENT:
        return tree
    if isinstance(part, dict):
        return _put_item(tree if isinstance(tree, list) else [], part, rest, value)
    new = dict(tree) if isinstance(tree, dict) else {}
    inner = put(new.get(part, ABSENT), rest, value)
    if inner is ABSENT:
        new.pop(part, None)
    else:
        new[part] = inner
    return new


def _put_item(items: list[Any], part: dict[str, str], rest: list[Any], value: Any) -> list[Any]:
    """Change the first item of that name, remove others of that name, or append a new one."""
    new: list[Any] = []
    found = False
    for item in items:
        if not _is(item, part):
            new.append(item)
        elif not found:
            found = True
            inner = put(item, rest, value)
            new += [] if inner is ABSENT else [inner]
    return new if found or value is ABSENT else [*new, put(ABSENT, rest, value)]


def _is(item: Any, part: dict[str, str]) -> bool:
    return isinstance(item, dict) and item.get("name") == part["name"]
