"""What was measured, as data, and the table that is made of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

STEPS = {"preview": "preview", "first": "first `up`", "secret": "one changed secret", "noop": "no-op `up`"}
CONTENDERS = {"pulumi": "Pulumi", "ansible": "Ansible", "ssh": "bare SSH (floor)"}
AIMS = {(12, "first"): 0.5, (12, "secret"): 0.35, (12, "noop"): 0.3} | {
    (2, step): 1.0 for step in ("first", "secret", "noop")
}
"""(nodes, step) → the most that Pulumi's time may be of Ansible's."""
DISTURBED = 0.15
"""The share of the processors that others may use; more spoils a time."""
GROWTH = 3.0
"""Times the time of 2 nodes that 24 may take."""


@dataclass(frozen=True)
class Run:
    """One time. `others`: the share of the processors that others than the lab used meanwhile, 0 to 1;
    `load`: the load average just before.
    """

    nodes: int
    contender: str
    step: str
    seconds: float
    others: float
    load: float


@dataclass(frozen=True)
class Row:
    """One line of the table; texts, so that screen and document show the same."""

    nodes: str
    step: str
    pulumi: str
    ansible: str
    ssh: str
    ratio: str
    aim: str


def medians(runs: Sequence[Run]) -> dict[tuple[int, str, str], float]:
    """(nodes, step, contender) → the median of its times, of the undisturbed ones where there are any."""
    quiet = [run for run in runs if run.others <= DISTURBED]
    there = {(run.nodes, run.step, run.contender) for run in quiet}
    disturbed = [run for run in runs if (run.nodes, run.step, run.contender) not in there]
    times: dict[tuple[int, str, str], list[float]] = {}
    for run in quiet + disturbed:
        times.setdefault((run.nodes, run.step, run.contender), []).append(run.seconds)
    return {where: median(seconds) for where, seconds in times.items()}


def rows(runs: Sequence[Run]) -> list[Row]:
    """A row for each number of nodes and step that was measured, in order."""
    found = medians(runs)
    sizes = sorted({run.nodes for run in runs})
    return [
        _row(found, size, step)
        for size in sizes
        for step in STEPS
        if any((size, step, contender) in found for contender in CONTENDERS)
    ]


def _row(found: dict[tuple[int, str, str], float], size: int, step: str) -> Row:
    pulumi, ansible = found.get((size, step, "pulumi")), found.get((size, step, "ansible"))
    ratio = pulumi / ansible if pulumi and ansible else None
    return Row(
        str(size),
        STEPS[step],
        _seconds(pulumi),
        _seconds(ansible),
        _seconds(found.get((size, step, "ssh"))),
        "–" if ratio is None else f"{ratio:.2f}",
        _verdict(AIMS.get((size, step)), ratio),
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _verdict(aim: float | None, ratio: float | None) -> str:
    if aim is None or ratio is None:
        return ""
    return f"≤ {aim:g}: {'met' if ratio <= aim else 'missed'}"


def growth(runs: Sequence[Run]) -> list[str]:
    """For each step how many times longer 24 nodes took than 2, where both were measured."""
    found = medians(runs)
    lines = []
    for step, title in STEPS.items():
        few, many = found.get((2, step, "pulumi")), found.get((24, step, "pulumi"))
        if few and many:
            verdict = "met" if many < GROWTH * few else "missed"
            times = f"{many / few:.1f} × the time of 2"
            lines.append(f"{title}: 24 nodes took {times} (under {GROWTH:g}: {verdict})")
    return lines


def disturbance(runs: Sequence[Run]) -> str:
    """How far the machine was at rest before each time, so that a disturbed measurement can be recognized."""
    if not runs:
        return "nothing was measured"
    shares, loads = [run.others for run in runs], [run.load for run in runs]
    spoilt = sum(share > DISTURBED for share in shares)
    return (
        f"processor time used by others meanwhile: median {median(shares):.0%}, at most {max(shares):.0%}; "
        f"above {DISTURBED:.0%} in {spoilt} of {len(runs)} runs, which count only where there is no other; "
        f"load average before: median {median(loads):.1f}, at most {max(loads):.1f}"
    )


def markdown(runs: Sequence[Run]) -> str:
    """The table for docs/, with what is to be said below it."""
    head = ["nodes", "step", *CONTENDERS.values(), "Pulumi ÷ Ansible", "aim"]
    lines = ["| " + " | ".join(head) + " |", "|---:|---|---:|---:|---:|---:|---|"]
    lines += ["| " + " | ".join(vars(row).values()) + " |" for row in rows(runs)]
    lines += ["", *(f"- {line}" for line in growth(runs)), f"- {disturbance(runs)}"]
    return "\n".join(lines) + "\n"
