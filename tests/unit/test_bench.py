"""What `make bench` makes of its times. The times themselves are asserted nowhere."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import plot, results, venv
from benchmarks.results import Run
from lab.layouts import LAYOUTS
from lab.progress import SetupError


def run(
    nodes: int, contender: str, step: str, seconds: float, others: float = 0.02, load: float = 0.5
) -> Run:
    return Run(nodes, contender, step, seconds, others, load)


RUNS = [
    *(run(2, "pulumi", "first", seconds) for seconds in (5.0, 9.0, 4.0)),
    run(2, "ansible", "first", 4.0),
    run(2, "ssh", "first", 3.0),
    run(12, "pulumi", "noop", 2.0, others=0.4, load=3.0),
    run(12, "ansible", "noop", 8.0),
    run(24, "pulumi", "first", 14.0),
]


def test_a_size_that_fails_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With where to look; there is no table of half the sizes."""
    (tmp_path / ".lab").mkdir()
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "ensure", lambda _: tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1))
    with pytest.raises(SetupError, match=r"benchmark with 6 nodes failed; see above, and \.lab/bench/logs"):
        command.measure([6], 1)


def test_a_row_has_the_medians_their_ratio_and_the_aim() -> None:
    """Each size and step that was measured, in order; an aim only where the issue names one."""
    table = [tuple(vars(row).values()) for row in results.rows(RUNS)]
    assert table == [
        ("2", "first `up`", "5.0 s", "4.0 s", "3.0 s", "1.25", "≤ 1: missed"),
        ("12", "no-op `up`", "2.0 s", "8.0 s", "–", "0.25", "≤ 0.3: met"),
        ("24", "first `up`", "14.0 s", "–", "–", "–", ""),
    ]


def test_growth_compares_24_nodes_with_2() -> None:
    """Only for steps that were measured with both."""
    assert results.growth(RUNS) == ["first `up`: 24 nodes took 2.8 × the time of 2 (under 3: met)"]
    assert results.growth(RUNS[:3]) == []


def test_a_disturbed_machine_is_told() -> None:
    """Its worst moment stands beside its usual one, and a spoilt time counts only where there is no other."""
    assert "at most 40%" in results.disturbance(RUNS)
    assert "load average before: median 0.5, at most 3.0" in results.disturbance(RUNS)
    assert "above 15% in 1 of 8 runs" in results.disturbance(RUNS)
    spoilt = [*RUNS, run(2, "ssh", "first", 30.0, others=0.5)]
    assert results.medians(spoilt)[2, "first", "ssh"] == 3.0
    assert results.medians(spoilt)[12, "noop", "pulumi"] == 2.0
    assert results.disturbance([]) == "nothing was measured"


def test_the_document_is_a_table_of_equal_lines() -> None:
    """Markdown that renders: every line of the table has as many cells as its head."""
    lines = [line for line in results.markdown(RUNS).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {8}


def test_the_plot_is_well_formed_and_the_same_for_the_same_times() -> None:
    """One small plot a step, a point for each time, and names that an XML reader gets back."""
    text = plot.svg(RUNS)
    assert text == plot.svg(list(RUNS))
    root = ET.fromstring(text)  # noqa: S314 - it is our own
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}g")) == len(results.STEPS)
    titles = [element.text for element in root.iter(f"{name}title")]
    assert "Pulumi, 2 nodes: 5.0 s" in titles
    assert len(titles) == 6
    assert plot.svg([])


@pytest.mark.parametrize("count", [2, 6, 12, 24])
def test_a_layout_has_its_nodes_and_a_quarter_of_them_at_the_primary(count: int) -> None:
    """Names and addresses of their own; every site has a node."""
    layout = LAYOUTS[f"bench-{count}"]
    nodes = [node for _, node in layout.nodes()]
    assert len({node.address for node in nodes}) == len({node.name for node in nodes}) == count
    assert [site.role for site in layout.sites].count("primary") == 1
    assert len(layout.sites[0].nodes) == max(1, count // 4)
