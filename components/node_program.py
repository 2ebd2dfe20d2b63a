"""The Ruby program that runs on the nodes, as it is sent over stdin."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts" / "node"


@cache
def program() -> str:
    """The program without its comments, then the mark behind which it reads its payload."""
    return f"{lean(source())}\n__END__\n"


def source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.glob("*.rb")))


def lean(source: str) -> str:
    """Comments on lines of their own become empty lines, except the first, which Ruby reads.

    Line numbers in errors stay those of the source; the engine writes the text into its state for each node.
    """
    return re.sub(r"(?<=\n)[ ]*#[^\n]*", "", source)
