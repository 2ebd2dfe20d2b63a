"""Inside a lab: measures all contenders, turn about, and writes down each time as it comes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.contenders import Ansible, BareSsh, Contender, Pulumi
from benchmarks.results import Run
from benchmarks.world import World
from lab.api import Lab

QUIET = 0.2
PATIENCE = 15.0
"""Seconds to wait for the processors to have nothing to do but a fifth of the time."""


def busy(seconds: float = 1.0) -> float:
    """The share of the whole machine's processor time that is used, 0 to 1, watched for so long."""
    before, idle_before = _ticks()
    time.sleep(seconds)
    after, idle_after = _ticks()
    return 1 - (idle_after - idle_before) / max(1, after - before)


def _ticks() -> tuple[int, int]:
    numbers = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]


def rest() -> float:
    """Wait for the lab to come to rest; how busy the machine still was, with whatever else it does."""
    deadline = time.monotonic() + PATIENCE
    while (share := busy()) > QUIET and time.monotonic() < deadline:
        pass
    return share


class Bench:
    """Runs the four steps of each contender from the same factory state."""

    def __init__(self, world: World, note: Callable[[Run], None]) -> None:
        self._world, self._note = world, note
        self._effect: dict[str, str] = {}

    def round(self, contender: Contender) -> None:
        """Preview, the first application, nothing to do, one changed secret."""
        self._world.reset()
        contender.prepare()
        if self._timed(contender, "preview", contender.preview):
            self._settle()
        self._timed(contender, "first", contender.apply)
        self._same(contender)
        self._settle()
        self._timed(contender, "noop", contender.apply)
        contender.change_secret()
        self._settle()
        self._timed(contender, "secret", contender.apply)
        self._same(contender)

    def _timed(self, contender: Contender, step: str, work: Callable[[], bool | None]) -> bool:
        share, load = rest(), os.getloadavg()[0]
        began = time.monotonic()
        done = work() is not False
        seconds = time.monotonic() - began
        if done:
            count = len(self._world.nodes())
            self._note(Run(count, contender.name, step, round(seconds, 3), round(share, 2), round(load, 2)))
        return done

    def _settle(self) -> None:
        self._world.wait_ready()

    def _same(self, contender: Contender) -> None:
        """Refuse to compare what did not come to the same result."""
        effect = self._world.effect()
        self._effect = self._effect or effect
        different = [where for where, text in effect.items() if text != self._effect[where]]
        if different:
            where = different[0]
            raise RuntimeError(
                f"{contender.name} made another {where} than before:\n{effect[where]}\n{self._effect[where]}"
            )


def main(argv: list[str]) -> int:
    """Appends a JSON line for each time to the file that is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--only", action="append", help="a contender, for profiling")
    given = parser.parse_args(argv)

    def note(run: Run) -> None:
        with given.out.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")
        print(f"    {run.nodes:2} nodes  {run.contender:8} {run.step:8} {run.seconds:6.2f} s", flush=True)

    world = World(Lab.current())
    contenders: list[Contender] = [Pulumi(world), Ansible(world, given.venv), BareSsh(world)]
    bench = Bench(world, note)
    for _ in range(given.rounds):
        for contender in contenders:
            if not given.only or contender.name in given.only:
                bench.round(contender)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
