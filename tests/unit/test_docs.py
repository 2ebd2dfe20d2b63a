"""The pages of docs/ and README.md: what they tell a person to type is run, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs import DOCS, FOR_DEVELOPERS, PAGES, commands, prose, read, spans

ROOT = DOCS.parent
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@dataclass(frozen=True)
class Claim:
    """A test that takes a page's commands, or those of one section, from the page itself and runs them."""

    page: str
    section: str
    where: str


def claims(paths: list[Path]) -> list[Claim]:
    """Every call with a page's name for its first argument: commands("state.md"), reader.does("x.md", "Add a site")."""
    return [claim for path in paths for claim in claims_of(path.read_text(encoding="utf-8"), path)]


def claims_of(source: str, path: Path) -> list[Claim]:
    return [*_claims(ast.parse(source), path)]


def _claims(tree: ast.Module, path: Path) -> Iterator[Claim]:
    names = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def text(node: ast.expr) -> str:
        value = names.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        return value if isinstance(value, str) else ""

    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            page, section = [*(text(arg) for arg in call.args[:2]), "", ""][:2]
            if name in {"commands", "does"} and page.endswith(".md"):
                yield Claim(page, section, f"{path.relative_to(ROOT)}::{function.name}")


def unclaimed(page: str, made: list[Claim]) -> list[str]:
    """Commands of a page that no test takes from it."""
    taken = {line for claim in made if claim.page == page for line in commands(page, claim.section)}
    return [line for line in commands(page) if line not in taken and line not in ELSEWHERE]


ELSEWHERE = {"make demo", "make test"}
"""Of make: what they run is all the other tests, and the lab with which those are run."""

CLAIMS = claims([path for path in TESTS if path != Path(__file__)])


@pytest.mark.parametrize("page", PAGES + FOR_DEVELOPERS)
def test_every_command_is_run_by_a_test_or_needs_an_account(page: str) -> None:
    """The former are ```sh blocks, the latter ```sh account."""
    assert unclaimed(page, CLAIMS) == []


@pytest.mark.parametrize("page", PAGES + FOR_DEVELOPERS)
def test_the_targets_of_make_exist(page: str) -> None:
    """Wherever a page speaks of one."""
    makefile = (ROOT / "Makefile").read_text()
    said = re.findall(
        r"\bmake ([a-z][a-z-]+)\b", "\n".join([*spans(page), *commands(page), *commands(page, account=True)])
    )
    assert [target for target in said if f"\n{target}:" not in makefile] == []


# -- links


def slug(heading: str) -> str:
    """The anchor that GitHub and GitLab make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        slug(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line))
        for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def broken(page: str) -> list[str]:
    """Links of a page to a file or a heading that is not there."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", file):
            continue
        path = (DOCS / page).parent / file if file else DOCS / page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES + FOR_DEVELOPERS)
def test_links_lead_somewhere(page: str) -> None:
    """To a file, and to a heading of it."""
    assert broken(page) == []


def test_the_index_names_every_page() -> None:
    """And no page that is not there."""
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", read("README.md")))
    assert listed == {page for page in PAGES if "/" not in page and page != "README.md"}
