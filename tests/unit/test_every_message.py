"""Each configuration error has a code of its own and is brought about by a table of the tests."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from config.errors import ConfigError, report
from config.parsing import parse
from tests.failures import CODE, of_components, of_configurations
from tests.invalid_configs.every import WRONG
from tests.invalid_configs.table import Wrong
from tests.message_coverage import ROOT, Reported, places

SOURCES = sorted(Path(ROOT / "config").rglob("*.py"))


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.name for wrong in WRONG])
def test_what_is_refused_is_reported_by_key_and_code(wrong: Wrong) -> None:
    """What was written there, what it would do, what would be right; no secret; without the mistake it is taken."""
    errors = parse(wrong.raw)[1]
    assert (wrong.key, wrong.code) in {(e.key, e.code) for e in errors}
    assert not wrong.value or wrong.value in {e.value for e in errors if e.key == wrong.key}
    assert all(e.value and e.expectation and e.consequence and e.example for e in errors)
    assert "s3cr3t-value" not in report("Pulumi.dev.yaml", errors)
    assert wrong.right is None or parse(wrong.right)[1] == []


def test_every_config_error_in_the_source_is_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one needs a line in tests/invalid_configs, and so does each code where one call has two."""
    reported = Reported(monkeypatch, ConfigError)
    codes = {error.code for wrong in WRONG for error in parse(wrong.raw)[1]}
    known = places(SOURCES, "ConfigError")
    assert len(known) > 80
    assert reported.missing(known) == []
    assert {written.code for written in of_configurations()} == codes


def test_every_code_stands_for_one_kind_of_mistake() -> None:
    """In words of lowercase letters with hyphens, at one place in the source: a search for it finds its check."""
    codes = [written.code for written in [*of_configurations(), *of_components()]]
    assert [code for code in codes if not re.fullmatch(CODE, code)] == []
    assert [code for code, places in Counter(codes).items() if places > 1] == []
