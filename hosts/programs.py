"""The programs that run on hosts: their text, which is sent over stdin.

It is compressed, because the engine stores it in its state: docs/adr/0011-program-sent-compressed.md.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tokenize
import zlib
from functools import cache
from pathlib import Path

import yaml

from omnibus import storage_place

GITLAB_NODE = Path(__file__).with_name("gitlab_node")
EXTERNAL_REGISTRY = Path(__file__).with_name("external_registry")
VERIFY = (
    "report",
    "failure",
    "files",
    "in_place",
    "omnibus",
    "unreached",
    "registry",
    "registry_log",
    "events",
    "checks",
    "verification",
    "main",
)
"""The files that verification on a node needs: the engine stores what it sends in its state, per node."""
# Constants of files.rb are used while others are loaded; main.rb runs the program.
_ORDER = {"files": -1, "main": 1}
END = "\n__END__\n"
"""Between the program on GitLab nodes and its payload."""
# The part of PyYAML that is pure Python and reads: the host might not have PyYAML.
PYYAML_MODULES = ("error", "events", "nodes", "parser", "reader", "resolver", "scanner", "tokens")
# The program needs only Ruby's standard library, and starts faster without gems.
RUBY = "/opt/gitlab/embedded/bin/ruby --disable-gems -"
# Isolated from the environment and from the user's modules.
PYTHON = "python3 -I -"


@cache
def gitlab_node(files: tuple[str, ...] = ()) -> str:
    """The Ruby program without its comments, then the mark before its payload. `files`: by default all."""
    program = f"Zlib.inflate('{_packed(lean(source(files)))}'.unpack1('m')).force_encoding('UTF-8')"
    return f"require 'zlib'\neval({program}, TOPLEVEL_BINDING, 'gitlab_node'){END}"


def source(files: tuple[str, ...] = ()) -> str:
    paths = sorted(GITLAB_NODE.glob("*.rb"), key=lambda path: (_ORDER.get(path.stem, 0), path.stem))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if not files or path.stem in files)


def lean(source: str) -> str:
    """Comment lines become empty lines, except the first, which Ruby reads.

    Line numbers in errors stay those of the source.
    """
    return re.sub(r"(?<=\n)[ ]*#[^\n]*", "", source)


@cache
def external_registry() -> str:
    """The Python program, to be followed by the call with its payload."""
    bootstrap = _without_comments(EXTERNAL_REGISTRY / "bootstrap.py")
    modules = f"zlib.decompress(base64.b64decode('{_packed(json.dumps(external_modules()))}'))"
    return f"{bootstrap}\n\nimport base64, json, zlib\nMODULES = json.loads({modules})\n"


def external_modules() -> dict[str, str]:
    """Name → source without comments, of the Python program's modules and of what they need."""
    sources = {"yaml": "", "registry": "", "omnibus": ""}
    sources |= {
        f"yaml.{name}": _without_comments(Path(yaml.__file__).with_name(f"{name}.py"))
        for name in PYYAML_MODULES
    }
    paths = [path for path in EXTERNAL_REGISTRY.glob("*.py") if path.stem not in ("__init__", "bootstrap")]
    sources |= {f"registry.{path.stem}": _without_comments(path) for path in paths}
    sources["omnibus.storage_place"] = _without_comments(Path(storage_place.__file__))
    return sources


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _without_comments(path: Path) -> str:
    """A module without its comments, since the engine stores it in its state; line numbers stay."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join([*lines, ""])
