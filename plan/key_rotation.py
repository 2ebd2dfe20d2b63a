"""The registry key pair over its rotations: what a change of the configuration's numbers makes of it.

A rotation takes two changes. `registry_key` makes a new pair: from then on registries trust two certificates.
`registry_key_finished` removes the former one, once every node has the new pair. After a leak,
`registry_key_now` does both at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Pair = dict[str, str]
"""`registry_key`, `registry_certificate` and `fingerprint`, in the form in which a node adopts them."""
State = dict[str, Any]
"""What the state keeps: `registry_key`; `certificate`, and the `former` one that registries still trust;
`fingerprint`; `earlier`: the fingerprints of all former pairs, and `revoked`: of those that no node may get
back; `adopted`: that of the pair that was read from the primary; `numbers`: those of the last change."""
Reason = Literal["unfinished", "incomplete", "without-overlap"]


@dataclass(frozen=True)
class KeyRotation:
    """The numbers in the configuration."""

    number: int
    finished: int
    now: int

    @property
    def overlapping(self) -> bool:
        """Whether registries trust the former certificate as well."""
        return self.number > self.finished

    @property
    def numbers(self) -> list[int]:
        return [self.number, self.finished, self.now]


def first(wanted: KeyRotation, adopted: Pair) -> State:
    """The state of a stack that has none: the pair in use stays, whatever the numbers are.

    They may stand for rotations of a stack whose state was lost.
    """
    return {
        "registry_key": adopted["registry_key"],
        "certificate": adopted["registry_certificate"],
        "former": "",
        "fingerprint": adopted["fingerprint"],
        "earlier": [],
        "revoked": [],
        "adopted": adopted["fingerprint"],
        "numbers": wanted.numbers,
    }


def refusal(state: State, wanted: KeyRotation, in_use: str) -> Reason | None:
    """Why these numbers cannot follow the state's. `in_use`: the fingerprint of the pair on all nodes.

    Nothing is refused of a pair that was read from the primary again.
    """
    number, _, now = state["numbers"]
    if wanted.now > now:
        return None
    if wanted.number > number:
        if state["former"]:
            return "unfinished"
        return None if wanted.overlapping else "without-overlap"
    unfinished = state["former"] and not wanted.overlapping
    return "incomplete" if unfinished and in_use != state["fingerprint"] else None


def following(state: State, wanted: KeyRotation, adopted: Pair, generate: Callable[[], Pair]) -> State:
    """The state after a change that is not refused."""
    number, _, now = state["numbers"]
    after = {**state, "numbers": wanted.numbers}
    if adopted["fingerprint"] != state["adopted"]:
        # Read again, for example because an earlier state was restored.
        after |= _in_place(state, adopted) | {"former": "", "adopted": adopted["fingerprint"]}
    if wanted.now > now:
        after |= _in_place(after, generate()) | {"former": ""}
        after["revoked"] = after["earlier"]
    elif wanted.number > number and wanted.overlapping:
        after |= _in_place(after, generate()) | {"former": after["certificate"]}
    elif not wanted.overlapping:
        after["former"] = ""
    return after


def _in_place(state: State, pair: Pair) -> State:
    earlier = [*dict.fromkeys([*state["earlier"], state["fingerprint"]])]
    return {
        "registry_key": pair["registry_key"],
        "certificate": pair["registry_certificate"],
        "fingerprint": pair["fingerprint"],
        "earlier": [one for one in earlier if one != pair["fingerprint"]],
    }


def bundle(state: State) -> str:
    """The certificates that registries trust, that of the pair in use first."""
    if not state["former"]:
        return str(state["certificate"])
    return f"{state['certificate'].rstrip()}\n{state['former']}"
