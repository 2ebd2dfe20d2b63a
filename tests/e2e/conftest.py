"""End-to-end tests: the real engine against the lab. `make e2e` runs them inside one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import MEASURED, Stack


@pytest.fixture(autouse=True)
def _measured(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Hands on the times that a test and its fixtures took note of."""
    yield
    for line in MEASURED:
        record_property("measured", line)
    MEASURED.clear()


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab these tests run in."""
    try:
        return Lab.current()
    except RuntimeError as error:
        pytest.exit(f"{error} (`make e2e`)", returncode=2)


@pytest.fixture(scope="module")
def fresh(lab: Lab) -> Iterator[Lab]:
    """The lab as it started: both sites on their own, nothing of this program on them."""
    lab.reset()
    yield lab
    lab.heal()


@pytest.fixture(scope="module")
def existing(fresh: Lab) -> Stack:
    return Stack(fresh, "existing")


@pytest.fixture(scope="module")
def dev(fresh: Lab) -> Stack:
    """The stack that creates its hosts."""
    return Stack(fresh, "dev")


@pytest.fixture(scope="module")
def replicated(fresh: Lab) -> Stack:
    return Stack(fresh, "replicated")


@pytest.fixture(scope="module")
def london(fresh: Lab) -> Host:
    return fresh.host("london-1")


@pytest.fixture(scope="module")
def tokyo(fresh: Lab) -> Host:
    return fresh.host("tokyo-1")
