"""What the pages of docs/ tell a person to type, so that tests run it as it stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [*sorted(page.name for page in DOCS.glob("*.md")), "../README.md"]
FOR_DEVELOPERS = [
    *sorted(f"adr/{page.name}" for page in DOCS.glob("adr/*.md")),
    *("../CONTRIBUTING.md", "../SECURITY.md", "../CHANGELOG.md"),
]
"""Pages beside those of docs/: what they name exists, too."""
_BLOCK = re.compile(r"^( *)```sh( account)?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s{2,})#\s.*$", re.MULTILINE)


def commands(page: str, section: str = "", *, account: bool = False) -> list[str]:
    """The commands of the page's ```sh blocks, one each, without comments: commands("state.md").

    Of one section only: commands("operations.md", "Add a site"). A block marked ```sh account needs a real
    account and is left out; with `account` only those are listed.
    """
    found: list[str] = []
    for _, mark, text in _BLOCK.findall(read(page, section)):
        if bool(mark) == account:
            lines = _COMMENT.sub("", re.sub(r" *\\\n *", " ", text)).splitlines()
            found += [line.strip() for line in lines if line.strip()]
    return found


def read(page: str, section: str = "") -> str:
    """A page's text; below the heading `section` only, up to the next one of its rank. LookupError: none."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if not section:
        return text
    rank, found, fenced = 0, [], False
    for line in text.splitlines(keepends=True):
        fenced ^= line.lstrip().startswith("```")
        heading = None if fenced else re.fullmatch(r"(#+) (.*)\n", line)
        if heading and rank and len(heading[1]) <= rank:
            break
        if rank:
            found.append(line)
        elif heading and heading[2] == section:
            rank = len(heading[1])
    if not rank:
        raise LookupError(f"{page} has no section {section!r}")
    return "".join(found)


def prose(page: str) -> str:
    """A page without its blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", read(page), flags=re.MULTILINE | re.DOTALL)


def spans(page: str) -> list[str]:
    """What stands between back-ticks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def shown(page: str, section: str = "") -> list[str]:
    """The lines of the ```text blocks, which say what is seen."""
    blocks = re.findall(r"^```text\n(.*?)^```$", read(page, section), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def filled(command: str, values: Mapping[str, str]) -> str:
    """The command with its placeholders, words in capitals such as STATE-BUCKET, replaced."""
    for name in sorted(values, key=len, reverse=True):  # STATE-BUCKET before BUCKET
        command = command.replace(name, values[name])
    return command
