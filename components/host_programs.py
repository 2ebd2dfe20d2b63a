"""The programs that run on hosts: their text, which is sent over stdin, and their command lines."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml

from omnibus import storage_place
from plan.node import HostPlan, NodePlan

HOSTS = Path(__file__).parents[1] / "hosts"
GITLAB_NODE, EXTERNAL_REGISTRY = HOSTS / "gitlab_node", HOSTS / "external_registry"
VERIFY = (
    "report",
    "files",
    "in_place",
    "omnibus",
    "causes",
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
# The part of PyYAML that is pure Python and reads: the host might not have PyYAML.
PYYAML_MODULES = ("error", "events", "nodes", "parser", "reader", "resolver", "scanner", "tokens")
# The program needs only Ruby's standard library, and starts faster without gems.
_RUBY = "/opt/gitlab/embedded/bin/ruby --disable-gems -"
# Isolated from the environment and from the user's modules.
_PYTHON = "python3 -I -"


def command_line(host: HostPlan, verb: str) -> str:
    """`exec sudo -n … ruby - apply`. Program and secrets come over stdin."""
    sudo = "" if host.ssh.user == "root" else "sudo -n "
    return f"exec {sudo}{_RUBY if isinstance(host, NodePlan) else _PYTHON} {verb}"


def stdin(host: HostPlan, payload: Mapping[str, Any], verb: str) -> pulumi.Output[str]:
    """The program, or what `verb` needs of it, and its payload, as one secret."""
    text = pulumi.Output.json_dumps(payload)
    if isinstance(host, NodePlan):
        program = gitlab_node(VERIFY if verb == "verify" else ())
        return pulumi.Output.secret(text.apply(lambda sent: program + sent))
    return pulumi.Output.secret(text.apply(lambda sent: f"{external_registry()}run(MODULES, {sent!r})\n"))


@cache
def gitlab_node(files: tuple[str, ...] = ()) -> str:
    """The Ruby program without its comments, then the mark before its payload. `files`: by default all."""
    return f"{lean(source(files))}\n__END__\n"


def source(files: tuple[str, ...] = ()) -> str:
    paths = sorted(GITLAB_NODE.glob("*.rb"), key=lambda path: (_ORDER.get(path.stem, 0), path.stem))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if not files or path.stem in files)


def lean(source: str) -> str:
    """Comment lines become empty lines, except the first, which Ruby reads.

    Line numbers in errors stay those of the source; the engine stores the text in its state per node.
    """
    return re.sub(r"(?<=\n)[ ]*#[^\n]*", "", source)


@cache
def external_registry() -> str:
    """The Python program without its comments, to be followed by the call with its payload."""
    sources = {"yaml": "", "registry": "", "omnibus": ""}
    sources |= {
        f"yaml.{name}": _without_comments(Path(yaml.__file__).with_name(f"{name}.py"))
        for name in PYYAML_MODULES
    }
    paths = [path for path in EXTERNAL_REGISTRY.glob("*.py") if path.stem not in ("__init__", "bootstrap")]
    sources |= {f"registry.{path.stem}": _without_comments(path) for path in paths}
    sources["omnibus.storage_place"] = _without_comments(Path(storage_place.__file__))
    bootstrap = _without_comments(EXTERNAL_REGISTRY / "bootstrap.py")
    return f"{bootstrap}\n\nMODULES = {json.dumps(sources, indent=1, sort_keys=True)}\n"


def _without_comments(path: Path) -> str:
    """A module without its comments, since the engine stores it in its state; line numbers stay."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join([*lines, ""])
