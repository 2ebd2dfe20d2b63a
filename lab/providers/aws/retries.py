"""When and after how long a failed call is retried, as in the real provider.

Its client is the AWS SDK for Go v2 with 25 attempts (`maxRetries` of the provider, AWS_MAX_ATTEMPTS), which
retries after throttling and server errors.  InsufficientInstanceCapacity is one of them (status 500, and
named by internal/service/ec2/service_package.go of terraform-provider-aws).  The pauses are those of SDK v1
(internal/conns/v1backoff.go there): 30 ms, after throttling 500 ms, doubled each time (the first one as
well), with jitter: six attempts take 31 s or more, and 36 s were measured.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

ATTEMPTS = 25
_LONGEST = 300.0  # seconds
_STATUSES = (500, 502, 503, 504)
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_PASSING = frozenset({"InternalError", "RequestTimeout", "RequestTimeoutException"})
_T = TypeVar("_T")


def pause(code: str, status: int, attempt: int) -> float | None:
    """Seconds to wait after the `attempt`th failure (from 1), or None if a retry would not help."""
    if code not in _THROTTLED | _PASSING and status not in _STATUSES:
        return None
    least = 0.5 if code in _THROTTLED else 0.03
    jitter = 1 + random.random()  # noqa: S311  # not for secrecy
    return float(min(least * jitter * 2**attempt, _LONGEST))


def attach(client: Any, attempts: int) -> None:
    """Make a boto3 client, created with one attempt only, retry by these rules."""

    def again(response: Any, attempts_made: int) -> float | None:
        if response is None or attempts_made >= attempts:
            return None
        http, parsed = response
        return pause(str(parsed.get("Error", {}).get("Code", "")), http.status_code, attempts_made)

    def handler(response: Any = None, attempts: int = 1, **_: Any) -> float | None:
        return again(response, attempts)

    client.meta.events.register(f"needs-retry.{client.meta.service_model.service_id.hyphenize()}", handler)


def until(seconds: float, passing: Callable[[Exception], bool], action: Callable[[], _T]) -> _T:
    """The result of `action`; while its failure is `passing`, it is repeated for so many seconds."""
    deadline, wait = time.monotonic() + seconds, 0.1
    while True:
        try:
            return action()
        except Exception as problem:
            if not passing(problem) or time.monotonic() + wait > deadline:
                raise
        time.sleep(wait)
        wait = min(wait * 2, 10)
