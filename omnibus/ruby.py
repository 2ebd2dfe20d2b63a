"""Python value → Ruby literal.

The literals are pure ASCII and mean the same under any locale: omnibus reads gitlab.rb with the
locale of whoever runs `gitlab-ctl reconfigure`, and under LANG=C a raw non-ASCII character in a
source file is a syntax error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Secret:
    """A value that stays in the secrets file; the settings only say where to find it."""

    name: str


Value: TypeAlias = "str | bool | int | float | Secret | Sequence[Value] | Mapping[str, Value] | None"

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\", "#": "\\#"}


def string(text: str) -> str:
    """`it's` → `'it\\'s'`; anything beyond printable ASCII → a double-quoted literal with escapes.

    Raises ValueError for a lone surrogate, which no Ruby string holds.
    """
    if all(" " <= c <= "~" for c in text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return '"' + "".join(_escape(c) for c in text) + '"'


def _escape(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if " " <= c <= "~":
        return c
    if "\ud800" <= c <= "\udfff":
        raise ValueError(f"a lone surrogate ({c!r}) has no meaning in a Ruby string")
    return f"\\u{{{ord(c):x}}}"


def literal(value: Value, indent: int = 0) -> str:
    """One Ruby literal; mappings, and lists of mappings, over several lines.

    Raises ValueError for infinities and lone surrogates, TypeError for types that Ruby has no literal for.
    """
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return _collection(value, indent)
    match value:
        case None:
            return "nil"
        case Secret(name):
            return f"secrets[{string(name)}]"
        case bool():
            return "true" if value else "false"
        case str():
            return string(value)
        case int() | float() if math.isfinite(value):
            return repr(value)
        case float():
            raise ValueError(f"{value} has no Ruby literal")
    raise TypeError(f"{type(value).__name__} has no Ruby literal here")


def _collection(value: Mapping[str, Value] | Sequence[Value], indent: int) -> str:
    inner, outer = " " * (indent + 2), " " * indent
    if isinstance(value, Mapping):
        rows = [f"{inner}{string(k)} => {literal(v, indent + 2)},\n" for k, v in value.items()]
        return "{\n" + "".join(rows) + outer + "}" if rows else "{}"
    if not any(isinstance(v, Mapping) for v in value):
        return "[" + ", ".join(literal(v, indent) for v in value) + "]"
    return "[\n" + "".join(f"{inner}{literal(v, indent + 2)},\n" for v in value) + outer + "]"
