"""A tree as YAML text: pure ASCII, so that every parser reads it the same way."""

from __future__ import annotations

import re
from typing import Any

from .document import Scalar, Tree

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class NotRendered(Exception):
    """A value with a custom tag, which this program does not know."""


def flow(value: Tree) -> str:
    """On one line: `{"region": "eu-west-1", "secure": true}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return _scalar(value)


def block(value: Tree, indent: int) -> list[str]:
    """On separate, indented lines; lists of plain values stay on the line of their key."""
    margin = " " * indent
    lines: list[str] = []
    if isinstance(value, dict):
        for name, member in value.items():
            if beside(member):
                lines.append(f"{margin}{key(name)}: {flow(member)}")
            else:
                lines.append(f"{margin}{key(name)}:")
                lines += block(member, indent + 2)
    elif isinstance(value, list):
        for member in value:
            first, *rest = [flow(member)] if beside(member) else block(member, indent + 2)
            lines += [f"{margin}- {first.lstrip()}", *rest]
    return lines


def beside(value: Tree) -> bool:
    """Whether a value is on the line of its key."""
    if isinstance(value, list):
        return not any(isinstance(member, (dict, list)) for member in value)
    return not (isinstance(value, dict) and value)


def key(name: Any) -> str:
    """A key before its colon."""
    if isinstance(name, str) and _PLAIN_KEY.match(name) and name.lower() not in _NOT_TEXT:
        return name
    return _scalar(name)


def _scalar(value: Any) -> str:
    if isinstance(value, Scalar):
        if value.tag in ("null", "bool", "int", "float", "timestamp"):
            return value.text
        raise NotRendered(value.tag)
    return '"' + "".join(_escaped(c) for c in value) + '"'


def _escaped(c: str) -> str:
    if c in _SHORT:
        return _SHORT[c]
    if " " <= c <= "~":
        return c
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
