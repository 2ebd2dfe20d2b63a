"""Property maps: what goes over the wire and back, and what counts as a difference."""

from __future__ import annotations

from typing import Any

import pytest

from lab.providers.protocol import (
    ASSET,
    SIGNATURE,
    UNKNOWN,
    PropertyMap,
    differences,
    dump,
    has_secret,
    load,
    plain,
    secret,
    top,
)


def test_a_property_map_survives_the_wire() -> None:
    """Everything a program can say comes back the same; whole numbers as int."""
    properties: PropertyMap = {
        "text": 'quotes " and \n and ünïcode',
        "flag": True,
        "none": None,
        "count": 5000,
        "half": 0.5,
        "list": [1, "two", {"three": 3}],
        "secret": secret({"key": "value"}),
        "unknown": UNKNOWN,
        "asset": {SIGNATURE: ASSET, "text": "hello", "hash": "abc"},
    }
    back = load(dump(properties))
    assert back == properties
    assert isinstance(back["count"], int)
    assert back["flag"] is True


def test_a_secret_is_wrapped_once() -> None:
    assert secret(secret("x")) == secret("x")
    assert has_secret({"a": [{"b": secret(1)}]})
    assert not has_secret({"a": [{"b": 1}]})


def test_plain_takes_wrappers_off_at_every_depth() -> None:
    assert plain({"a": [secret({"b": secret("c")})]}) == {"a": [{"b": "c"}]}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", "update")]),
        ({"a": 1}, {}, [("a", "delete")]),
        ({}, {"a": 1}, [("a", "add")]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("a.b[1]", "update")]),
        ({"a": [1]}, {"a": [1, 2]}, [("a[1]", "add")]),
        ({"a": [1, 2]}, {"a": [1]}, [("a[1]", "delete")]),
        ({"a": True}, {"a": 1}, [("a", "update")]),
        ({"a": {"x.y": 1}}, {"a": {"x.y": 2}}, [('a["x.y"]', "update")]),
        ({"a": "known"}, {"a": UNKNOWN}, [("a", "update")]),
        ({"a": {SIGNATURE: ASSET, "hash": "1", "path": "x"}}, {"a": {SIGNATURE: ASSET, "hash": "1"}}, []),
        ({"a": {SIGNATURE: ASSET, "hash": "1"}}, {"a": {SIGNATURE: ASSET, "hash": "2"}}, [("a", "update")]),
    ],
)
def test_differences_name_the_place_and_the_way(old: Any, new: Any, found: list[tuple[str, str]]) -> None:
    assert list(differences(old, new)) == found


@pytest.mark.parametrize(
    ("path", "name"), [("a", "a"), ("a.b[0]", "a"), ("a[0].b", "a"), ('["x.y"].b', "x.y"), ('a["x.y"]', "a")]
)
def test_the_top_of_a_path_is_the_property_it_lies_in(path: str, name: str) -> None:
    assert top(path) == name
