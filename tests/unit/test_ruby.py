"""Ruby literals: what we write is what Ruby reads, whatever the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnibus.ruby import Secret, literal, string
from tests.examples import examples
from tests.ruby import POOREST, Ruby

# Reads literals under the locale that is hardest on them, and answers each with its value as JSON.
EVALUATE = """
$stdout.sync = true
secrets = Hash.new { |_, k| { 'secret' => k } }
while (line = $stdin.gets)
  source = eval(line)  # a JSON text is a Ruby string literal for pure ASCII without '#'
  puts JSON.generate([eval(source.force_encoding('US-ASCII'))])
end
"""


class Reader(Ruby):
    """One Ruby for many literals."""

    def value(self, source: str) -> Any:
        """What Ruby makes of the literal, from a file of that text read under LC_ALL=C."""
        assert source.isascii()
        return self.ask_line(json.dumps(source).replace("#", "\\u0023"))[0]


@pytest.fixture(scope="module")
def ruby() -> Iterator[Reader]:
    with Reader("-rjson", "-e", EVALUATE, env=POOREST) as evaluator:
        yield evaluator


NASTY = st.sampled_from(["'", '"', "\\", "#{1+1}", "#$0", "#@x", "\r\n", "\n", "\0", "é", "日本", "\u2028", "%q(", "__END__", "=begin"])  # fmt: skip
TEXT = st.lists(st.one_of(st.text(), NASTY)).map("".join).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t))  # fmt: skip
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@examples(300)
@given(value=VALUE)
def test_ruby_reads_exactly_the_value_meant(ruby: Reader, value: Any) -> None:
    """Quotes, backslashes, interpolation, line ends, NUL and Unicode all come back as they went in."""
    assert ruby.value(literal(value)) == value


def test_a_secret_is_only_named() -> None:
    """The settings say where the secret is, never what it is."""
    assert literal({"key": Secret("s3_secret_key")}) == "{\n  'key' => secrets['s3_secret_key'],\n}"


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "\ud800"])
def test_what_has_no_literal_is_refused(value: str | float) -> None:
    """An infinity or half a character would become something else."""
    with pytest.raises(ValueError, match="Ruby"):
        literal(value)


def test_other_types_are_refused() -> None:
    """A set or bytes have no literal here; a list has."""
    assert literal([]) == "[]"
    with pytest.raises(TypeError):
        literal(b"x" and {1})  # type: ignore[arg-type]


def test_plain_text_stays_readable() -> None:
    """Administrators read this file: ordinary text is in single quotes."""
    assert string("https://registry.example.com:5050/it's") == "'https://registry.example.com:5050/it\\'s'"
