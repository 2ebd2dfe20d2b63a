"""Which package imports which: the product knows nothing of the lab, and what is pure needs no Pulumi."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARROWS = {
    "__main__": {"config", "plan", "components"},
    "config": {"omnibus"},
    "plan": {"config", "omnibus"},
    "components": {"config", "plan", "omnibus", "hosts"},
    "operations": {"config", "plan", "omnibus", "hosts"},
    "omnibus": set(),
    "hosts": {"omnibus"},
    "tools": {"config", "omnibus"},
    "lab": {"tools"},
    "benchmarks": {"lab", "tools", "config", "plan"},
}
PURE = ("config", "plan", "omnibus", "tools")


def modules(package: str) -> list[Path]:
    """A module of the top level, or all of a package."""
    file = ROOT / f"{package}.py"
    return [file] if file.exists() else sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ARROWS)
def test_imports_follow_the_arrows(package: str) -> None:
    """Imports within functions count as well."""
    found = set()
    for file in modules(package):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    assert found & (ARROWS.keys() | {"tests"}) - {package} == ARROWS[package]


def test_what_is_pure_is_imported_without_pulumi() -> None:
    """Each module by itself, with pulumi and its providers blocked."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in PURE
        for path in modules(package)
        if path.stem != "__main__" and path != ROOT / "config/stack.py"
    ]
    code = (
        "import sys, importlib\n"
        "sys.modules |= dict.fromkeys(('pulumi', 'pulumi_aws', 'pulumi_command'))\n"
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(names) > 40
