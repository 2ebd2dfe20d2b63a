"""What several modules of unit tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ruby import Program


@pytest.fixture(scope="module")
def ruby() -> Iterator[Program]:
    with Program() as loaded:
        yield loaded
