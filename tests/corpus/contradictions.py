"""Right configurations in which two things are made to contradict each other, each right for itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.corpus import (
    contradictions_credentials,
    contradictions_hosts,
    contradictions_sites,
    contradictions_storage,
)
from tests.corpus.valid import TAPES, configuration
from tests.corpus.values import Raw, Tape
from tests.corpus.whole import TABLE, Impossible, Make, Whole

# Importing them fills the table.
__all__ = [
    "contradictions",
    "contradictions_credentials",
    "contradictions_hosts",
    "contradictions_sites",
    "contradictions_storage",
]


@dataclass(frozen=True)
class Contradiction:
    """A configuration and what must be reported: one of these codes at one of these keys."""

    name: str
    raw: Raw
    keys: set[str]
    codes: set[str]


@st.composite
def contradictions(draw: st.DrawFn) -> Contradiction:
    """The first of the table, from any place on, that can be made in any configuration."""
    raw = configuration(draw(TAPES))
    start, choices = draw(st.integers(0, len(TABLE) - 1)), draw(st.binary(min_size=32, max_size=32))
    makes = [*TABLE][start:] + [*TABLE][:start]
    return next(filter(None, (_made(make, raw, choices) for make in makes)))


def _made(make: Make, raw: Raw, choices: bytes) -> Contradiction | None:
    wrong = copy.deepcopy(raw)
    try:
        reported = make(Whole(wrong, Tape(choices)))
    except Impossible:
        return None
    keys = {reported} if isinstance(reported, str) else {*reported}
    return Contradiction(make.__name__, wrong, keys, TABLE[make])
