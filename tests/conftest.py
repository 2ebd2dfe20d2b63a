"""Marks every test by the folder it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/unit/… → `unit`, and so on: no test has to say it again."""
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])
