"""``python -m benchmarks``: a lab for each number of nodes, then the table, the plot and docs/."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import plot
from benchmarks.results import CONTENDERS, Run, disturbance, growth, markdown, rows
from tools import virtualenv
from tools.progress import SetupError, fail, locked

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SIZES = {2: 3, 6: 1, 12: 2, 24: 1}
"""Nodes → rounds: as many as the time of a `make bench` allows, more where there is an aim."""
BEGIN, END = "<!-- measured: written by `make bench` -->\n", "<!-- end of what was measured -->\n"


def measure(sizes: Sequence[int], rounds: int | None) -> list[Run]:
    """Runs `benchmarks.inside` in a lab of each size. Raises SetupError if one fails."""
    title, log = "Ansible into a virtual environment of its own", ROOT / ".lab/ansible.log"
    with locked(ROOT / ".lab/setup.lock", "this checkout"):
        ansible = virtualenv.ensure(ROOT, ".lab/ansible", ["benchmarks"], title, log).parent.parent
    out = ROOT / ".lab/bench.jsonl"
    out.unlink(missing_ok=True)
    for size in sizes:
        print(f"==> {size} nodes", flush=True)
        lab = [sys.executable, "-m", "lab", "run", "--name", "bench", "--sites", f"bench-{size}"]
        count = rounds or SIZES[size]
        inside = [sys.executable, "-m", "benchmarks.inside", "--rounds", str(count)]
        inside += ["--out", str(out), "--venv", str(ansible)]
        if subprocess.run([*lab, "--quiet", "--here", "--", *inside], cwd=ROOT, check=False).returncode:
            raise SetupError(f"the benchmark with {size} nodes failed; see above, and .lab/bench/logs")
    return [Run(**json.loads(line)) for line in out.read_text().splitlines()]


def show(runs: Sequence[Run]) -> None:
    """The table and the lines below it, as printed."""
    table = Table("nodes", "step", *CONTENDERS.values(), "Pulumi ÷ Ansible", "aim")
    for row in rows(runs):
        style = "red" if "missed" in row.aim else ""
        table.add_row(*(text.replace("`", "") for text in vars(row).values()), style=style)
    console = Console()
    console.print(table)
    for line in [*growth(runs), disturbance(runs)]:
        console.print(line.replace("`", ""), markup=False, highlight=False)


def write(runs: Sequence[Run], seconds: float) -> None:
    """docs/benchmarks.svg, and the part between the marks of docs/benchmarks.md."""
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    rounds = ", ".join(f"{size} nodes {_rounds(runs, size)}" for size in sorted({run.nodes for run in runs}))
    about = (
        f"{datetime.now(UTC):%d %B %Y}, {os.cpu_count()} cores shared by all nodes, Python "
        f"{platform.python_version()}; {seconds / 60:.0f} minutes in all. Medians of: {rounds}.\n"
    )
    page.write_text(before + BEGIN + f"{about}\n{markdown(runs)}" + END + after, encoding="utf-8")
    (DOCS / "benchmarks.svg").write_text(plot.svg(runs), encoding="utf-8")


def _rounds(runs: Sequence[Run], size: int) -> int:
    return sum(run.nodes == size and (run.step, run.contender) == ("first", "pulumi") for run in runs)


def main(argv: list[str]) -> int:
    """Docs are written only by a run of all sizes: a partial one is shown, and changes nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, choices=[[], *SIZES], default=[], metavar="NODES")
    parser.add_argument("--rounds", type=int, help="default: one to three, so that all take 12 minutes")
    options = parser.parse_args(argv)
    began = time.monotonic()
    try:
        runs = measure(options.sizes or list(SIZES), options.rounds)
    except SetupError as error:
        return fail(str(error))
    show(runs)
    if {run.nodes for run in runs} == set(SIZES):
        write(runs, time.monotonic() - began)
        print("written: docs/benchmarks.md, docs/benchmarks.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
