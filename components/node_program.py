"""The Ruby program that runs on the nodes, as it is sent.

Packed, because the engine writes it into its state and its log over and over. Packed beforehand, by
`make reference`, because zlib's output is not the same on every machine that runs the stack. omnibus' Ruby
has zlib (omnibus-gitlab, config/software/ruby.rb).
"""

from __future__ import annotations

import base64
import re
import zlib
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts" / "node"
# Deflated and in base64.
PACKED = SCRIPTS / "program.packed"
UNPACK = """require 'zlib'
eval(Zlib.inflate('
%s'.unpack1('m')).force_encoding('UTF-8'), TOPLEVEL_BINDING, 'program')"""


@cache
def program() -> str:
    """The program, with the mark behind which its order is read.

    What is packed is looked at, and goes only if it is this program; one that was edited since goes as it is.
    """
    packed = PACKED.read_text(encoding="utf-8")
    text = UNPACK % packed if unpacked(packed) == lean(source()) else source()
    return f"{text}\n__END__\n"


def source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.glob("*.rb")))


def lean(source: str) -> str:
    """Comments on lines of their own are empty lines, save the first, which Ruby reads."""
    return re.sub(r"(?<=\n)[ ]*#[^\n]*", "", source)


def unpacked(packed: str) -> str | None:
    """The program in there; None of a file that is damaged."""
    try:
        return zlib.decompress(base64.b64decode(packed)).decode()
    except (ValueError, zlib.error):
        return None
