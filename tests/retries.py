"""How long a registry repeats an event that is refused, as its source says: a model apart from the program's.

GitLab's registry, notifications/endpoint.go (NewEndpoint, defaults, translateBackoffParams) and sinks.go
(backoffSink, retryingSink); github.com/cenkalti/backoff v4, exponential.go, tries.go and retry.go.
omnibus-gitlab, gitlab/libraries/registry.rb (parse_registry_notifications) and registry/attributes/default.rb.
Distribution 2.8, notifications/sinks.go: its retryingSink is the older one of GitLab's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Version = tuple[int, int]

EXTERNAL: Version = (0, 0)
"""Distribution, or GitLab's registry before it knew maxretries (3.93, April 2024)."""
KNOWN: Version = (17, 0)
"""registry 4.0; 16.11 has 3.92."""
TRANSLATED: Version = (18, 6)
"""registry 4.31 (omnibus-gitlab 18.6.0, config/software/registry.rb); 18.5 has 4.28. The change is in 4.30."""
ADDED: Version = (17, 1)
"""omnibus-gitlab commit a602a6229."""
ALONE: Version = (19, 1)
"""omnibus-gitlab commit 40720b672: where maxretries is stated, threshold is not added any more."""

LONGEST_PAUSE, LIMIT, FACTOR, JITTER = 60.0, 900.0, 1.5, 0.5
FOR_EVER = float("inf")


def rendered(endpoint: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """The endpoint in config.yml, of one in gitlab.rb."""
    found = dict(endpoint)
    if version >= ALONE:
        if "maxretries" not in found and "threshold" not in found:
            found["maxretries"] = 5
    else:
        found.setdefault("threshold", 5)
        if version >= ADDED:
            found.setdefault("maxretries", 5)
    return {"timeout": "500ms", "backoff": "1s"} | found


def lasts(config: Mapping[str, Any], version: Version) -> float:
    """Seconds for which GitLab may be away, at the least, for an event to be delivered by this config.yml."""
    first = seconds(config.get("backoff", "1s"))
    tries = config.get("maxretries", 0) if version >= KNOWN else 0
    if not tries:
        if version < TRANSLATED:
            return FOR_EVER
        tries = translated(config.get("threshold", 0), first) if config.get("threshold") else 10
    return min(sum(pauses(first, tries, share)) for share in (1 - JITTER, 1.0, 1 + JITTER))


def translated(threshold: int, first: float) -> int:
    """maxretries for a threshold alone: as many as fit into 120 s for each second of backoff, jitter left out."""
    window, waited, tries = min(120 * first, LIMIT), 0.0, 0
    pause = first
    while waited < window and waited + pause <= window:
        waited, tries, pause = waited + pause, tries + 1, min(pause * FACTOR, LONGEST_PAUSE)
    return max(threshold, tries)


def pauses(first: float, tries: int, share: float) -> Iterator[float]:
    """The pauses between tries where each is `share` of its nominal length; tries themselves take no time."""
    nominal, waited = first, 0.0
    for _ in range(tries):
        pause = nominal * share
        if waited + pause > LIMIT:
            return
        yield pause
        waited += pause
        nominal = LONGEST_PAUSE if nominal >= LONGEST_PAUSE / FACTOR else nominal * FACTOR


def seconds(text: str) -> float:
    """Of a Go duration with one unit. ValueError for anything that is none."""
    found = re.fullmatch(r"(\d+)(ms|s|m)", text)
    if not found:
        raise ValueError(f"{text!r} is not a duration with a unit")
    return int(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2]]
