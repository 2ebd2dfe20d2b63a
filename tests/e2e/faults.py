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
    fault = {"action": action, "code": code, "status": status, "times": times, "region": region}
    urllib.request.urlopen(urllib.request.Request(_ORDERS, json.dumps(fault).encode(), method="POST")).close()
    try:
        yield
    finally:
        urllib.request.urlopen(urllib.request.Request(_ORDERS, method="DELETE")).close()
