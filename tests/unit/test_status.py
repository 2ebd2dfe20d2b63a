"""What `make status` makes of the answers: its exit status and its table."""

from __future__ import annotations

import pytest

from operations.status import DIFFERENT, SAME, UNKNOWN, Comparison, NodeStatus, Status, table

GOOD = NodeStatus("london-1", "london", ["rails", "registry"], gitlab="19.2")
EQUAL = {"missing": 0, "different": 0, "surplus": 0}


def found(node: NodeStatus = GOOD, **comparison: object) -> Status:
    """Of one node and one secondary."""
    known = {"counts": EQUAL, "images": {kind: [] for kind in EQUAL}} | comparison
    return Status("prod", "london", [node], [Comparison("tokyo", 3, 20, **known)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (found(), SAME),
        (found(NodeStatus("a", "london", [], warnings=["expires"])), SAME),
        (found(NodeStatus("a", "london", [], differences=["edited"])), DIFFERENT),
        (found(counts={**EQUAL, "surplus": 1}), DIFFERENT),
        (found(NodeStatus("a", "london", [], differences=["edited"], failure="no answer")), UNKNOWN),
        (found(counts={**EQUAL, "missing": 1}, failure="401"), UNKNOWN),
    ],
)
def test_what_could_not_be_determined_is_worse_than_a_difference(status: Status, code: int) -> None:
    """A certificate that expires soon is a warning only."""
    assert status.code == code


def test_the_table_has_a_line_per_node_and_the_images_that_differ() -> None:
    """A site that was not compared has no numbers."""
    images = {"missing": ["group/app:1"], "different": [], "surplus": []}
    assert table(found(counts={**EQUAL, "missing": 1}, images=images)) == [
        "node      site    roles            GitLab  state",
        "london-1  london  rails, registry  19.2    ok",
        "tokyo: 20 tags in 3 repositories of london: 1 missing, 0 different, 0 surplus",
        "  missing: group/app:1",
    ]
    bad = NodeStatus("a", "london", ["rails"], differences=["edited (2026)"], warnings=["x expires"])
    assert table(found(bad, failure="tokyo-1: answered 401\n  do: look"))[1:] == [
        "a     london  rails          1 differences",
        "a: edited (2026)",
        "a: x expires",
        "tokyo: not compared",
        "  tokyo-1: answered 401",
        "    do: look",
    ]
