"""The registry key pair over its rotations, from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plan import key_rotation
from plan.key_rotation import KeyRotation, Pair, State


def pair(name: str) -> Pair:
    return {
        "registry_key": f"key {name}",
        "registry_certificate": f"certificate {name}\n",
        "fingerprint": name,
    }


ADOPTED = pair("a")


def pairs() -> Iterator[Pair]:
    yield from map(pair, "bcdef")


def after(*numbers: tuple[int, int, int], adopted: Pair = ADOPTED) -> State:
    """The state after these changes, each of which was applied to all nodes."""
    made = pairs()
    state = key_rotation.first(KeyRotation(0, 0, 0), ADOPTED)
    for wanted in (KeyRotation(*three) for three in numbers):
        assert key_rotation.refusal(state, wanted, state["fingerprint"]) is None
        state = key_rotation.following(state, wanted, adopted, lambda: next(made))
    return state


def test_the_adopted_pair_is_used_until_a_number_is_raised() -> None:
    """Nothing is generated unasked."""
    state = after((0, 0, 0))
    assert (state["registry_key"], key_rotation.bundle(state)) == ("key a", "certificate a\n")


def test_a_rotation_is_trusted_beside_the_former_certificate_until_it_is_finished() -> None:
    """The new one comes first; the former private key is in no part of the state."""
    begun = after((1, 0, 0))
    assert (begun["registry_key"], begun["fingerprint"]) == ("key b", "b")
    assert key_rotation.bundle(begun) == "certificate b\ncertificate a\n"
    assert "key a" not in str(begun)
    finished = after((1, 0, 0), (1, 1, 0))
    assert (finished["registry_key"], key_rotation.bundle(finished)) == ("key b", "certificate b\n")
    assert key_rotation.bundle(after((1, 0, 0), (1, 1, 0), (2, 1, 0))) == "certificate c\ncertificate b\n"


def test_after_a_leak_no_former_certificate_is_trusted_and_none_comes_back() -> None:
    """Also in the middle of a rotation, and also those of pairs before the last."""
    for before in ([], [(1, 0, 0)], [(1, 0, 0), (1, 1, 0)]):
        number, finished, _ = before[-1] if before else (0, 0, 0)
        state = after(*before, (number, finished, 1))
        assert state["former"] == ""
        assert state["revoked"] == ["a", "b"][: 1 + number]
    later = after((0, 0, 1), (1, 0, 1))
    assert (later["revoked"], later["former"]) == (["a"], "certificate b\n"), (
        "the pair in between has not leaked"
    )


@pytest.mark.parametrize(
    ("before", "wanted", "in_use", "reason"),
    [
        ([(1, 0, 0)], (2, 1, 0), "b", "unfinished"),
        ([(1, 0, 0)], (1, 1, 0), "a", "incomplete"),
        ([(1, 0, 0)], (1, 1, 0), "", "incomplete"),
        ([(1, 0, 0)], (0, 0, 0), "a", "incomplete"),
        ([], (1, 1, 0), "", "without-overlap"),
        ([(1, 0, 0)], (1, 1, 0), "b", None),
        ([(1, 0, 0)], (1, 0, 0), "a", None),
        ([(1, 0, 0)], (2, 2, 1), "a", None),
        ([(1, 0, 0), (1, 1, 0)], (0, 0, 0), "", None),
    ],
)
def test_one_rotation_at_a_time_and_in_order(
    before: list[tuple[int, int, int]], wanted: tuple[int, int, int], in_use: str, reason: str | None
) -> None:
    """A leak is never refused; numbers that are taken away change no pair."""
    assert key_rotation.refusal(after(*before), KeyRotation(*wanted), in_use) == reason


def test_numbers_that_are_taken_away_bring_no_former_pair_back() -> None:
    """`rotate` may be deleted; raised again, it is a rotation again."""
    without = after((1, 0, 0), (1, 1, 0), (0, 0, 0))
    assert (without["registry_key"], without["former"]) == ("key b", "")
    assert after((1, 0, 0), (1, 1, 0), (0, 0, 0), (1, 0, 0))["registry_key"] == "key c"


def test_a_new_state_keeps_the_pair_that_is_in_use() -> None:
    """Where the state was lost after a rotation or a leak: the numbers stand in the configuration."""
    for three in ((2, 2, 0), (2, 1, 0), (0, 0, 1)):
        wanted = KeyRotation(*three)
        state = key_rotation.first(wanted, ADOPTED)
        assert (state["fingerprint"], state["numbers"]) == ("a", [*three])
        assert key_rotation.following(state, wanted, ADOPTED, lambda: pair("b")) == state


def test_a_pair_that_is_read_again_is_the_one_in_use() -> None:
    """As after a restore of an earlier state."""
    state = after((1, 0, 0), (1, 0, 0), adopted=pair("z"))
    assert (state["registry_key"], state["former"], state["adopted"]) == ("key b", "certificate z\n", "z")
    assert after((0, 0, 0), adopted=pair("z"))["registry_key"] == "key z"
    finished = KeyRotation(1, 1, 0)
    before = key_rotation.first(KeyRotation(0, 0, 0), ADOPTED)
    restored = key_rotation.following(before, finished, pair("z"), lambda: pair("b"))
    assert (restored["registry_key"], restored["numbers"]) == ("key z", [1, 1, 0]), (
        "no rotation that was done"
    )
