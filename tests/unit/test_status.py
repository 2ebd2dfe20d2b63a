"""What `make status` makes of the answers: its exit status and its table."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import pytest

import operations.status
from operations.display import Bars
from operations.findings import DIFFERENT, SAME, UNKNOWN, Comparison, NodeStatus, Status
from operations.ssh import NodeFailure, NotConnected
from operations.status import compare, comparing
from operations.status_table import geo, table

REGISTRY = {"answers": 401, "read_only": False, "lock_file": "filesystem-in-use"}
GOOD = NodeStatus("london-1", "london", ["rails", "registry"], "19.2", REGISTRY)
EQUAL = {"missing": 0, "different": 0, "surplus": 0}


def found(node: NodeStatus = GOOD, **comparison: object) -> Status:
    """Of one node and one secondary."""
    known = {"counts": EQUAL, "images": {kind: [] for kind in EQUAL}} | comparison
    one = Comparison("tokyo", 3, tags=20, **known)  # type: ignore[arg-type]
    return Status("prod", "london", [node], [one])


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
        "node      site    roles            GitLab  registry                     state",
        "london-1  london  rails, registry  19.2    writable, filesystem-in-use  ok",
        "tokyo: 20 tags in 3 repositories of london: 1 missing, 0 different, 0 surplus",
        "  missing: group/app:1",
    ]
    bad = NodeStatus("a", "london", ["rails"], differences=["edited (2026)"], warnings=["x expires"])
    assert table(found(bad, failure="tokyo-1: answered 401\n  do: look"))[1:] == [
        "a     london  rails                    1 difference",
        "a: edited (2026)",
        "a: x expires",
        "tokyo: not compared",
        "  tokyo-1: answered 401",
        "    do: look",
    ]


def test_the_rest_of_a_backfill_is_estimated_from_the_last_hour() -> None:
    """What was started counts as pending."""
    known = {"pending": 50, "started": 10, "synced": 100, "failed": 1, "verified": 90, "lately": 30}
    counts = "100 repositories synced (90 verified), 1 failed"
    assert geo(known) == f"{counts}, 60 pending: about 2 h 0 min left"
    assert geo(known | {"lately": 0}) == f"{counts}, 60 pending: none synced in the last hour"
    assert geo(known | {"pending": 0, "started": 0}) == counts
    node = NodeStatus("tokyo-1", "tokyo", ["registry"], geo=known)
    assert f"tokyo: Geo: {geo(known)}" == table(found(node))[-2]


def test_with_differences_only_nothing_is_said_about_what_is_well() -> None:
    """Each node and each site that has any is shown as otherwise."""
    assert table(found(), all_well=False) == []
    images = {"missing": ["group/app:1"], "different": [], "surplus": []}
    one = found(counts={**EQUAL, "missing": 1}, images=images)
    assert table(one, all_well=False) == table(one)[2:]
    bad = found(NodeStatus("a", "london", ["rails"], differences=["edited"]))
    assert table(bad, all_well=False) == table(bad)[:3]
    assert table(found(failure="x"), all_well=False) == ["tokyo: not compared", "  x"]


def test_each_secondary_is_compared_by_a_node_even_if_its_registry_is_external() -> None:
    """The first node with a registry, otherwise the first node."""
    nodes = [
        SimpleNamespace(name=name, site=name[0], roles=roles)
        for name, roles in (
            ("a1", ["rails"]),
            ("a2", ["registry"]),
            ("b1", ["rails"]),
            ("b2", ["sidekiq"]),
            ("a3", ["registry"]),
        )
    ]
    assert {node.name for node in comparing(nodes)} == {"a2", "b1"}  # type: ignore[arg-type]


class Session:
    """A connection that has these parts of a comparison to give, and is lost at an exception among them."""

    parts_left: ClassVar[list[Any]] = []
    asked: ClassVar[list[str]] = []

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def parts(self, _: str, request: dict[str, Any], seconds: int) -> Iterator[dict[str, Any]]:
        self.asked.append(request["after"])
        while self.parts_left:
            part = self.parts_left.pop(0)
            if isinstance(part, Exception):
                raise part
            yield part


def part(compared: int, after: str = "", *missing: str) -> dict[str, Any]:
    """Of 20 repositories, two of which have been compared since the last part."""
    if not after:
        return {"compared": compared, "of": 20}
    none = {"count": 0, "images": []}
    images = {"missing": {"count": len(missing), "images": [*missing]}, "different": none, "surplus": none}
    return {"compared": compared, "of": 20, "after": after, "tags": 7, **images}


@pytest.mark.parametrize(
    ("parts", "asked", "failure"),
    [
        ([part(1), part(2, "b", "b:1"), part(4, "d", "d:1")], [""], None),
        ([part(2, "b", "b:1"), NotConnected("lost"), part(4, "d", "d:1")], ["", "b"], None),
        (
            [part(2, "b", "b:1"), part(4, "d", "d:1"), NotConnected("lost"), NotConnected("refused")],
            ["", "d"],
            "refused",
        ),
        ([part(2, "b", "b:1"), part(4, "d", "d:1"), NodeFailure("answered 500")], [""], "answered 500"),
    ],
)
def test_a_comparison_whose_connection_is_lost_continues_after_its_last_part(
    monkeypatch: pytest.MonkeyPatch, parts: list[Any], asked: list[str], failure: str | None
) -> None:
    """As long as it gets further each time."""
    monkeypatch.setattr(operations.status, "NodeSession", Session)
    monkeypatch.setattr(Session, "parts_left", [*parts])
    monkeypatch.setattr(Session, "asked", [])
    found = compare(None, SimpleNamespace(site="tokyo"), Bars())  # type: ignore[arg-type]
    assert Session.asked == asked
    assert (found.tags, found.counts["missing"], found.images["missing"]) == (14, 2, ["b:1", "d:1"])
    assert found.failure == failure
