"""The nodes' program as it is sent: deflated, in base64, its comments left out."""

from __future__ import annotations

import base64
import re
import textwrap
import zlib
from pathlib import Path

from components import node


def lean(source: str) -> str:
    """Comments on lines of their own are empty lines, save the first, which Ruby reads."""
    return re.sub(r"(?<=\n)[ ]*#[^\n]*", "", source)


def text(source: str) -> str:
    """What the file is to be."""
    packed = base64.b64encode(zlib.compress(lean(source).encode(), 9)).decode()
    return "\n".join([node.digest(source), *textwrap.wrap(packed, 120), ""])


def unpacked(text: str) -> tuple[str, str]:
    """The digest and the program in such a file."""
    mark, _, packed = text.partition("\n")
    return mark, zlib.decompress(base64.b64decode(packed)).decode()


def stale(file: Path, source: str) -> bool:
    """Whether the file is not there or has another program."""
    return not file.exists() or unpacked(file.read_text(encoding="utf-8")) != (
        node.digest(source),
        lean(source),
    )
