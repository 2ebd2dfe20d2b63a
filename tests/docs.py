"""What the pages of docs/ tell a person to type, so that tests run it as it stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
_BLOCK = re.compile(r"^( *)```sh( account)?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s{2,})#\s.*$", re.MULTILINE)


def commands(page: str, *, account: bool = False) -> list[str]:
    """The commands of the page's ```sh blocks, one each, without comments: commands("state.md").

    A block marked ```sh account needs a real account and is left out; with `account` only those are given.
    """
    found: list[str] = []
    for _, mark, text in _BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if bool(mark) == account:
            lines = _COMMENT.sub("", re.sub(r" *\\\n *", " ", text)).splitlines()
            found += [line.strip() for line in lines if line.strip()]
    return found


def filled(command: str, values: Mapping[str, str]) -> str:
    """The command with its placeholders, words in capitals such as STATE-BUCKET, replaced."""
    for name in sorted(values, key=len, reverse=True):  # STATE-BUCKET before BUCKET
        command = command.replace(name, values[name])
    return command
