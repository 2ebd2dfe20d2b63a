"""Inside a lab: measures all contenders, turn about, and writes down each time as it comes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.contenders import Ansible, BareSsh, Contender, Pulumi
from benchmarks.results import DISTURBED, Run
from benchmarks.world import World
from lab.api import Lab

QUIET = 0.2
"""The share of the processors' time that may be used by what is at rest."""
PATIENCE = 180.0
"""Seconds that may be spent, all together, on waiting for other work on the machine to end."""


class Processors:
    """What they have done since it was made: all there was, and what was used by whom, in ticks."""

    def __init__(self) -> None:
        self._began = self._now()

    def busy(self) -> float:
        """The share of the whole machine's processor time that was used, 0 to 1."""
        every, used, _ = self._passed()
        return used / every

    def others(self) -> float:
        """The share that was used by others than this lab: what has disturbed a measurement."""
        every, used, own = self._passed()
        return max(0.0, used - own) / every

    def _passed(self) -> tuple[int, int, int]:
        every, used, own = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return max(1, every), used, own

    @staticmethod
    def _now() -> tuple[int, int, int]:
        # The kernel's own numbers, of the machine; below /proc are the lab's processes only.
        numbers = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        own = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                # Its own time, and that of its children that have ended: what was used does not get lost.
                own += sum(int(n) for n in file.read_text().rpartition(")")[2].split()[11:15])
        return sum(numbers), sum(numbers) - numbers[3] - numbers[4], own


class Rest:
    """Waits for the machine to come to rest, the lab on it and whatever else it does."""

    def __init__(self) -> None:
        self._patience = PATIENCE

    def wait(self) -> None:
        """Once patience is used up it waits no longer."""
        began = time.monotonic()
        while self._busy() > QUIET and time.monotonic() - began < self._patience:
            pass
        self._patience -= max(0.0, time.monotonic() - began - 2)

    @staticmethod
    def _busy() -> float:
        watched = Processors()
        time.sleep(1)
        return watched.busy()


class Bench:
    """Runs the four steps of each contender from the same factory state."""

    def __init__(self, world: World, note: Callable[[Run], None]) -> None:
        self._world, self._note = world, note
        self._effect: dict[str, str] = {}
        self._rest = Rest()

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
        self._rest.wait()
        load, watched = os.getloadavg()[0], Processors()
        began = time.monotonic()
        done = work() is not False
        seconds = time.monotonic() - began
        if done:
            count = len(self._world.nodes())
            others = round(watched.others(), 2)
            self._note(Run(count, contender.name, step, round(seconds, 3), others, round(load, 2)))
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
    options = parser.parse_args(argv)

    def note(run: Run) -> None:
        with options.out.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")
        text = f"    {run.nodes:2} nodes  {run.contender:8} {run.step:8} {run.seconds:6.2f} s"
        print(text, f"  (others used {run.others:.0%})" if run.others > DISTURBED else "", flush=True)

    world = World(Lab.current())
    contenders: list[Contender] = [Pulumi(world), Ansible(world, options.venv), BareSsh(world)]
    bench = Bench(world, note)
    try:
        for _ in range(options.rounds):
            for contender in contenders:
                if not options.only or contender.name in options.only:
                    bench.round(contender)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
