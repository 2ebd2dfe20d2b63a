"""Equality and drift: configured values compared with those of AWS."""

from __future__ import annotations

import json
from typing import Any

from lab.providers.protocol import PropertyMap

_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
_MAPS = ("tags", "tagsAll", "volumeTags")
"""Maps of which AWS returns every key: one that was added manually is drift too."""


_LISTS = ("Action", "NotAction", "Resource", "NotResource")


def canonical(text: Any) -> Any:
    """A JSON document, normalized in its spaces and the order of its keys; anything else as it is.

    Policies with the same meaning are equal, as in the real provider (hashicorp/awspolicyequivalence).
    """
    try:
        return json.dumps(_policy(json.loads(text)), sort_keys=True)
    except (TypeError, ValueError):
        return text


def _policy(document: Any) -> Any:
    """A policy with all its lists in one order; other documents as they are."""
    if not isinstance(document, dict) or "Statement" not in document:
        return document
    stated = document["Statement"]
    statements = [_statement(one) for one in (stated if isinstance(stated, list) else [stated])]
    return {**document, "Statement": sorted(statements, key=lambda one: json.dumps(one, sort_keys=True))}


def _statement(stated: Any) -> Any:
    if not isinstance(stated, dict):
        return stated
    one = {key: value for key, value in stated.items() if value not in ("", None)}
    for name in _LISTS:
        if name in one:
            one[name] = _members(one[name])
    for name in ("Principal", "NotPrincipal"):
        if one.get(name) == "*":
            one[name] = {"AWS": "*"}
        if isinstance(one.get(name), dict):
            one[name] = {kind: _members(who) for kind, who in one[name].items()}
    if isinstance(one.get("Condition"), dict):
        one["Condition"] = {
            test: {key: _members(value) for key, value in keys.items()}
            for test, keys in one["Condition"].items()
        }
    return one


def _members(value: Any) -> list[str]:
    """A single value is a list of one, and `true` the text "true"."""
    values = value if isinstance(value, list) else [value]
    return sorted(json.dumps(one) if isinstance(one, bool | int) else str(one) for one in values)


def unordered(value: Any) -> Any:
    """A list of strings in order: all of those among the inputs of the aws types here are sets."""
    return sorted(value) if _is_set(value) else value


def settled(stated: Any, real: Any) -> Any:
    """`stated` if `real` is equal to it in AWS's form, else `real`.

    AWS adds defaults and rewrites JSON documents; only what was configured is compared.
    """
    if isinstance(stated, dict) and isinstance(real, dict):
        return {
            key: settled(value, real[key]) for key, value in stated.items() if real.get(key) is not None
        } | {key: value for key, value in stated.items() if value in _NOTHING and real.get(key) is None}
    if _is_set(stated) and _is_set(real):
        return stated if sorted(stated) == sorted(real) else real
    if isinstance(stated, list) and isinstance(real, list) and len(stated) == len(real):
        return [settled(*pair) for pair in zip(stated, real, strict=True)]
    if isinstance(stated, str) and isinstance(real, str) and canonical(stated) == canonical(real):
        return stated
    return stated if stated in _NOTHING and real in _NOTHING else real


def refreshed(known: PropertyMap, found: PropertyMap) -> PropertyMap:
    """The known properties with their current values; unread ones stay, missing ones are removed."""
    now = {
        key: value if key not in found else found[key] if key in _MAPS else settled(value, found[key])
        for key, value in known.items()
    }
    return {key: value for key, value in now.items() if value is not None or key not in found}


def completed(stated: Any, found: Any) -> Any:
    """What was configured, with what AWS added to it, at every depth of objects."""
    if isinstance(stated, dict) and isinstance(found, dict):
        both = {key: completed(value, found[key]) for key, value in stated.items() if key in found}
        return {**{key: value for key, value in found.items() if value is not None}, **stated, **both}
    return stated


def _is_set(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
