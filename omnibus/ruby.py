"""Python value → Ruby literal.

The literals are pure ASCII and mean the same under any locale: the Linux package reads gitlab.rb with
the locale of the user who runs `gitlab-ctl reconfigure`, and under LANG=C a raw non-ASCII character in a
source file is a syntax error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Secret:
    """A value that stays in the secrets file; the settings only refer to it."""

    name: str


@dataclass(frozen=True)
class Computed:
    """A value that is known only once AWS has created something: an address. Texts have a mark instead."""

    name: str

    @property
    def mark(self) -> str:
        # Literals are ASCII: no other text in a settings file has these characters.
        return f"⟦{self.name}⟧"


@dataclass(frozen=True)
class Template:
    """A text with marks of computed values, and their names."""

    text: str
    names: tuple[str, ...]

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with the values. ValueError for one that is not a host name or an address."""
        text = self.text
        for name in self.names:
            if not re.fullmatch(r"[A-Za-z0-9.:-]+", values[name]):
                raise ValueError(f"{name} is not a host name or an address")
            text = text.replace(Computed(name).mark, values[name])
        return text


def template(text: str) -> str | Template:
    """The text as it is, unless it has marks."""
    names = dict.fromkeys(re.findall("⟦([a-z_]+)⟧", text))
    return Template(text, tuple(names)) if names else text


Value: TypeAlias = (
    "str | bool | int | float | Secret | Computed | Sequence[Value] | Mapping[str, Value] | None"
)


def secret_names(value: object) -> Iterator[str]:
    """The names of the secrets in a value, at any depth, in order."""
    if isinstance(value, Secret):
        yield value.name
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from secret_names(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from secret_names(inner)


def filled(
    value: Any,
    values: Mapping[str, Any],
    fill: Callable[[Template, Mapping[str, Any]], Any] = Template.filled,
) -> Any:
    """The same value with each `Secret` and `Computed` replaced by its value; `fill` fills a template."""
    if isinstance(value, Secret | Computed):
        return values[value.name]
    if isinstance(value, Template):
        return fill(value, values)
    if isinstance(value, Mapping):
        return {key: filled(inner, values, fill) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, values, fill) for inner in value]
    return value


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\", "#": "\\#"}


def string(text: str) -> str:
    """`it's` → `'it\\'s'`; anything beyond printable ASCII → a double-quoted literal with escapes.

    Raises ValueError for a lone surrogate, which no Ruby string can hold.
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
        raise ValueError(f"a Ruby string cannot hold a lone surrogate ({c!r})")
    return f"\\u{{{ord(c):x}}}"


def literal(value: Value, indent: int = 0) -> str:
    """One Ruby literal; maps, and lists of maps, over several lines.

    Raises ValueError for infinities and lone surrogates, TypeError for types that Ruby has no literal for.
    """
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return _collection(value, indent)
    match value:
        case None:
            return "nil"
        case Secret(name):
            return f"secrets[{string(name)}]"
        case Computed():
            return f"'{value.mark}'"
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
