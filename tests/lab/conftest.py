"""Fixtures of the lab's own tests; `make lab-tests` runs them inside a lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.api import Lab
from lab.host import Host
from lab.services import reset_aws
from tests.lab.account import Account


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab these tests run in."""
    try:
        return Lab.current()
    except RuntimeError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def fresh(lab: Lab) -> Iterator[Lab]:
    """The lab as it started."""
    lab.reset()
    yield lab
    lab.heal()


@pytest.fixture
def london(fresh: Lab) -> Host:
    return fresh.host("london-1")


@pytest.fixture
def tokyo(fresh: Lab) -> Host:
    return fresh.host("tokyo-1")


@pytest.fixture(scope="module")
def account(lab: Lab) -> Iterator[Account]:
    """The lab's AWS account without anything in it, before and after."""
    reset_aws()
    yield Account(lab)
    reset_aws()
