"""docs/state.md holds nothing that no test runs: its commands, its files, and what it quotes."""

from __future__ import annotations

import json
import re

import pytest

from tests.docs import DOCS, commands

ROOT = DOCS.parent
PAGE = (DOCS / "state.md").read_text()
TESTS = "".join(
    (ROOT / "tests/e2e" / name).read_text() for name in ("team.py", "test_state.py", "test_state_secrets.py")
)


@pytest.mark.parametrize("command", sorted(set(commands("state.md"))))
def test_every_command_is_run(command: str) -> None:
    """The tests type it as it stands, and refuse to type what the page does not say."""
    made = commands("state.md")[:5]  # tests/e2e/team.py runs these by their place
    assert command in made or command in TESTS


def test_what_is_quoted_was_seen() -> None:
    """Each message of the last table is held against the engine's by a test, piece by piece."""
    rows = re.findall(r"^\| (`.*?) \| ", PAGE.partition("## When it does not work")[2], re.MULTILINE)
    quotes = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    pieces = [piece.strip(" :,") for quote in quotes for piece in quote.split("…")]
    assert len(pieces) > 10
    where = {"at", "pulumi login", "pulumi up"}
    assert [piece for piece in pieces if piece not in TESTS and piece not in where] == []


@pytest.mark.parametrize("name", re.findall(r"\((state-[\w-]+\.json)\)", PAGE))
def test_the_files_are_policies(name: str) -> None:
    """They are JSON, and of their words in capitals the page tells what they are."""
    text = (DOCS / name).read_text()
    json.loads(text)
    assert set(re.findall(r"\b[A-Z]+(?:-[A-Z]+)+\b", text)) <= {"STATE-BUCKET", "STATE-KEY", "ACCOUNT-ID"}
