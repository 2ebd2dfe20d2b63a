"""Answers of a provider: differences, and outputs with their secrets still marked."""

from __future__ import annotations

import re
from typing import Any

from pulumi.runtime.proto import provider_pb2 as pb

from lab.providers.protocol import PropertyMap, differences, has_secret, plain, secret, top


def diff(old: PropertyMap, new: PropertyMap, replace_on: tuple[str, ...]) -> pb.DiffResponse:
    """The differences between plain inputs; `replace_on` as in `Resource`."""
    detail: dict[str, pb.PropertyDiff] = {}
    replaces: list[str] = []
    for path, kind in differences(old, new):
        replace = bool({top(path), re.sub(r"\[\d+]", "", path)} & set(replace_on))
        if replace and top(path) not in replaces:
            replaces.append(top(path))
        value = pb.PropertyDiff.Kind.Value(kind.upper() + ("_REPLACE" if replace else ""))
        detail[path] = pb.PropertyDiff(kind=value, inputDiff=True)
    return pb.DiffResponse(
        changes=pb.DiffResponse.DIFF_SOME if detail else pb.DiffResponse.DIFF_NONE,
        diffs=sorted({top(path) for path in detail}),
        detailedDiff=detail,
        hasDetailedDiff=True,
        replaces=replaces,
    )


def rewrap(wrapped: PropertyMap, values: PropertyMap) -> PropertyMap:
    """`values` with the secrets of `wrapped` marked again: as before if a value is equal, else as a whole."""

    def again(key: str, value: Any) -> Any:
        if key not in wrapped or not has_secret(wrapped[key]):
            return value
        return wrapped[key] if plain(wrapped[key]) == value else secret(value)

    return {key: again(key, value) for key, value in values.items()}
