"""How many examples a property is tried with."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "")
"""`quick` looks at a quarter, as `make check` does; `deep` at fifty times as many, and at others each time."""


def examples(number: int) -> Callable[[Any], Any]:
    """So many examples, the same each time."""
    return settings(
        max_examples=max(10, number // 4)
        if PROFILE == "quick"
        else number * (50 if PROFILE == "deep" else 1),
        derandomize=PROFILE != "deep",
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
