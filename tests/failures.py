"""The messages in the source that have a code: code, words and place of each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components import session_errors, start_errors
from config import errors as config_errors
from hosts.programs import GITLAB_NODE as NODE

REGISTRY = NODE.parent / "external_registry"
CONFIG = Path(config_errors.__file__).parent
ROOT = CONFIG.parent
SESSIONS = [Path(session_errors.__file__), Path(start_errors.__file__)]
CODE = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+"
_RUBY = r"""(?:Failure\.new|(?<![.\w])(?:new|failed|refused))\("""
_QUOTED = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_PYTHON = {"Failure", "cls", "_message"}


@dataclass(frozen=True)
class Written:
    """A failure in the source. `words`: of its first line, with … for what differs from run to run."""

    code: str
    words: str
    at: str


def of_nodes() -> list[Written]:
    """Of the program on GitLab nodes (Ruby)."""
    found = []
    for path, text in _texts(NODE, "*.rb"):
        for match in re.finditer(rf"{_RUBY}'({CODE})',\s*{_QUOTED}", text):
            words = re.sub(r"#\{[^}]*\}", "…", match[2][1:-1].replace("\\'", "'"))
            found.append(Written(match[1], words, _at(path, text, match.start())))
    return found


def without_a_code() -> list[str]:
    """FILE:LINE of each failure in the Ruby source that begins with words instead of a code."""
    return [
        _at(path, text, match.start())
        for path, text in _texts(NODE, "*.rb")
        for match in re.finditer(rf"{_RUBY}\s*(?!'{CODE}',){_QUOTED},", text)
    ]


def of_registries() -> list[Written]:
    """Of the program on hosts of external registries (Python)."""
    return [one for path, _ in _texts(REGISTRY, "*.py") for one in _python(path)]


def of_sessions() -> list[Written]:
    """Of SSH sessions; the codes of start_errors.py stand in its table."""
    own, table = SESSIONS
    begun = ast.walk(ast.parse(table.read_text(encoding="utf-8")))
    tuples = [node.elts[1] for node in begun if isinstance(node, ast.Tuple) and len(node.elts) == 3]
    codes = [str(second.value) for second in tuples if isinstance(second, ast.Constant)]
    codes.append("program-not-started")  # the last resort, below the table
    made = _python(own)
    (words,) = {one.words for one in made if one.code == "…"}
    return [
        *(one for one in made if one.code != "…"),
        *(Written(code, words, table.name) for code in dict.fromkeys(codes)),
    ]


def of_configurations() -> list[Written]:
    """Of configuration errors, in Python below config/: what stands first is the code, or a choice of two."""
    by_pydantic = [Written(code, "", "errors.py") for code in {*config_errors.CODES.values()}]
    return [one for path, _ in _texts(CONFIG, "**/*.py") for one in _config_errors(path)] + by_pydantic


def of_components() -> list[Written]:
    """Of what the program finds out before it changes anything: in AWS, in key files, in existing storage."""
    found: list[Written] = []
    for path in [*sorted((ROOT / "components").glob("*.py")), ROOT / "plan/existing_storage.py"]:
        text = path.read_text(encoding="utf-8")
        found += _config_errors(path)
        if "RunError" in text and path not in SESSIONS:
            found += _in_brackets(path, text)
    return found


def of_operations() -> list[Written]:
    """Of the programs that are run beside `pulumi up`."""
    sources = sorted((ROOT / "operations").glob("*.py"))
    return [one for path in sources for one in _in_brackets(path, path.read_text(encoding="utf-8"))]


def _in_brackets(path: Path, text: str) -> list[Written]:
    coded = re.finditer(rf"\[({CODE})\]|return \"({CODE})\"", text)
    return [Written(one[1] or one[2], "", _at(path, text, one.start())) for one in coded]


def _config_errors(path: Path) -> Iterator[Written]:
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in {"ConfigError", "error"}:
            continue
        constants = [one.value for one in ast.walk(call.args[0]) if isinstance(one, ast.Constant)]
        codes = [one for one in constants if re.fullmatch(CODE, str(one))]
        if not codes and not isinstance(call.args[0], ast.Name):
            codes = [""]
        yield from (Written(str(code), "", f"{path.name}:{call.lineno}") for code in codes)


def _texts(directory: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(directory.glob(pattern)):
        yield path, path.read_text(encoding="utf-8")


def _at(path: Path, text: str, position: int) -> str:
    return f"{path.name}:{text.count(chr(10), 0, position) + 1}"


def _python(path: Path) -> list[Written]:
    found = []
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        said: dict[str, str] = {}
        for node in sorted(ast.walk(function), key=lambda node: getattr(node, "lineno", 0)):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                said[node.targets[0].id] = _words(node.value)
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and getattr(called, "attr", getattr(called, "id", "")) in _PYTHON:
                code, what = node.args[:2]
                if not isinstance(code, ast.Constant) and getattr(called, "id", "") == "cls":
                    continue  # another class
                words = said[what.id] if isinstance(what, ast.Name) else _words(what)
                found.append(Written(_words(code), words, f"{path.name}:{node.lineno}"))
    return found


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) for part in node.values)
    return "…"
