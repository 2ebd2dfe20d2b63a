"""Marks every test by the folder it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The times that tests took note of, wherever they ran: nothing is asserted about them."""
    reports = [report for kind in terminalreporter.stats for report in terminalreporter.getreports(kind)]
    ended = [report for report in reports if getattr(report, "when", "") == "teardown"]
    lines = [text for report in ended for name, text in report.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(str(line))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/unit/… → `unit`, and so on: no test has to say it again."""
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])
