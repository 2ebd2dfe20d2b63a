"""Each thing that can be told of a configuration is told in a table of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import parse
from omnibus.problems import Problem, report
from tests.told import ROOT, Told, places
from tests.wrong.every import WRONG
from tests.wrong.table import Wrong

pytestmark = pytest.mark.unit

SOURCES = [ROOT / "config.py", *sorted(Path(ROOT / "omnibus").glob("*.py"))]


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.name for wrong in WRONG])
def test_what_is_refused_is_told_at_its_key(wrong: Wrong) -> None:
    """What was written there, what it would do, what would be right; no secret; without the mistake it is taken."""
    problems = parse(wrong.raw)[1]
    assert any(p.key == wrong.key and wrong.text in p.value for p in problems), problems
    assert all(p.value and p.consequence and p.example for p in problems)
    assert "s3cr3t-value" not in report("Pulumi.dev.yaml", problems)
    assert wrong.right is None or parse(wrong.right)[1] == []


def test_every_problem_in_the_source_is_told_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one needs a line in tests/wrong."""
    told = Told(monkeypatch, Problem)
    for wrong in WRONG:
        parse(wrong.raw)
    known = places(SOURCES, "Problem")
    assert len(known) > 80
    assert told.missing(known) == []
