"""Calls that AWS refuses while a test wants it to."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from lab.services import AWS_ENDPOINT

_ORDERS = f"{AWS_ENDPOINT}/moto-api/lab/faults"


@contextmanager
def refused(action: str, code: str, status: int, region: str = "", times: int = 10**6) -> Iterator[None]:
    """Every such call (or the first few) is, none afterwards: how many are made is the provider's to say."""
    with _ordered({"action": action, "code": code, "status": status, "times": times, "region": region}):
        yield


@contextmanager
def slow(action: str, seconds: float) -> Iterator[None]:
    """Every such call takes so long, and then succeeds."""
    with _ordered({"action": action, "seconds": seconds, "times": 10**6}):
        yield


@contextmanager
def _ordered(fault: dict[str, object]) -> Iterator[None]:
    urllib.request.urlopen(urllib.request.Request(_ORDERS, json.dumps(fault).encode(), method="POST")).close()
    try:
        yield
    finally:
        urllib.request.urlopen(urllib.request.Request(_ORDERS, method="DELETE")).close()
