"""The nodes' program as it is sent: deflated, in base64, its comments left out."""

from __future__ import annotations

import base64
import textwrap
import zlib

from components.node_program import PACKED, lean, source, unpacked


def renew() -> None:
    """Only for another program: else it would be another file at each author's, whose zlib may be another."""
    if stale():
        PACKED.write_text(packed(source()), encoding="utf-8")


def stale() -> bool:
    """Whether the file is not there or has another program."""
    return not PACKED.exists() or unpacked(PACKED.read_text(encoding="utf-8")) != lean(source())


def packed(source: str) -> str:
    """What the file is to be."""
    text = base64.b64encode(zlib.compress(lean(source).encode(), 9)).decode()
    return "\n".join([*textwrap.wrap(text, 120), ""])
