"""What omnibus writes without quotes is read as the text that it is, by every reader of YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.plain_text import is_text
from tests.corpus.templates import Readers
from tests.examples import examples

STRANGE = (
    "-", "--", "---", "...", ".", "..", "2024", "1.5", "1.", ".5", "1e5", "1E+5", "0x1F", "0o7", "0b1", "1_000", "_1", "1_",
    "007", "08", "2024-01-01", "2024-1-1", "1.2.3", ".inf", "-.INF", ".nan", "true", "True", "tRuE", "yes", "no", "on",
    "OFF", "y", "N", "null", "NULL", "Null", "nul", "none", "omnibus-gitlab-issuer", "1password", "e5", ".e5", "0x",
    "10:50", "localhost:5000", ":5000", "127.0.0.1:5000", "10.1", "1-2", "12e03", "-5", "-a", "--5", "a-", "acme.example",
)  # fmt: skip


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with Readers() as found:
        yield found


@pytest.mark.parametrize("value", STRANGE)
def test_what_is_taken_for_text_is_text_to_every_reader(readers: Readers, value: str) -> None:
    """And what is not is something else to one of them at least."""
    read = readers.read(f"key: {value}\n")
    assert is_text(value) is all(its == {"key": value} for its in read.values()), read


@examples(300)
@given(value=st.text("0123456789._-eExXoObBnyNYtrufalsinTF", min_size=1, max_size=8))
def test_no_value_of_such_letters_is_taken_wrongly(readers: Readers, value: str) -> None:
    """One that a reader takes for a number, a date or a boolean is never taken for text here."""
    read = readers.read(f"key: {value}\n")
    if is_text(value):
        assert all(its == {"key": value} for its in read.values()), (value, json.dumps(read, default=repr))
