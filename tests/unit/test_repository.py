"""What the repository promises to someone who has just found it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

from tools.virtualenv import PROGRAM, direct

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT = {"benchmarks", "lab", "tests", "tools"}
"""Folders that `pulumi up` does not need."""


def test_the_program_requires_what_it_imports_and_nothing_else() -> None:
    """A package that only the lab or a benchmark imports is in a group in pyproject.toml."""
    folders = [path for path in ROOT.iterdir() if path.name[0] != "." and path.name not in DEVELOPMENT]
    files = [file for path in folders for file in [path, *path.rglob("*.py")] if file.suffix == ".py"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    packages = packages_distributions()
    modules = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE)) & packages.keys()
    imported = {packages[module][0].lower().replace("_", "-") for module in modules}
    required = {re.split(r"[=<>]", package)[0] for package in direct(ROOT, PROGRAM)}
    assert required == imported - {"pydantic-core"}


def test_the_version_is_in_one_place() -> None:
    """pyproject.toml has it; the changelog says what is in it, newest first; nothing else repeats it."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    releases = re.findall(r"^## \[(.+?)\] - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == version
    again = rf"(?<![\w.]){re.escape(version)}(?![\w.])"
    pages = [*ROOT.glob("*.py"), *ROOT.glob("*.yaml"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    assert [page.name for page in pages if re.search(again, page.read_text())] == []


def test_one_command_installs_every_hook() -> None:
    """`pre-commit install`, as CONTRIBUTING.md has it, installs the types of hooks that are listed there only."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    stages = {stage for repo in config["repos"] for hook in repo["hooks"] for stage in hook.get("stages", [])}
    assert set(config["default_install_hook_types"]) == {"pre-commit", *stages}
