"""Geo's own numbers, read from the rows that psql prints."""

from __future__ import annotations

import pytest

from tests.ruby import Program

NONE = dict.fromkeys(("pending", "started", "synced", "failed", "verified", "lately"), 0)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], NONE),
        ([["2", "2", "40", "3"], ["2", "0", "2", "1"]], NONE | {"synced": 42, "verified": 40, "lately": 4}),
        # Rows from before the states were numbers, and one that was never set.
        (
            [["synced", "0", "5", "0"], ["", "0", "1", "0"], ["0", "0", "2", "0"]],
            NONE | {"synced": 5, "pending": 3},
        ),
        # A sync that runs or failed is not one of the last hour.
        ([["1", "0", "1", "1"], ["3", "2", "7", "7"]], NONE | {"started": 1, "failed": 7}),
        ([["ERROR:  relation does not exist"]], None),
        ([["4", "0", "1", "0"]], None),
    ],
)
def test_states_are_counted_in_either_form(
    ruby: Program, rows: list[list[str]], found: dict[str, int] | None
) -> None:
    """Anything else makes them unknown."""
    assert ruby.ask(["Geo.method(:sum)", rows]) == [found]
