"""`make status` with many tags: `python -m lab run -- python -m benchmarks.comparison 1000 20000`.

Time, and peak memory of the program on the secondary's node. The registries have their images on disk, where
tags are only files: they are prepared in seconds, as links, since the disk of a host in the lab is small.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

from benchmarks.contenders import Pulumi
from benchmarks.world import World
from lab.api import Lab

PER_REPOSITORY = 100
IMAGES = "/var/opt/gitlab/gitlab-rails/shared/registry/docker/registry/v2/repositories/bench"
FILL = """
require 'fileutils'
root, tags, per = ARGV[0], ARGV[1].to_i, ARGV[2].to_i
copy = ->(from, to) { FileUtils.cp_lr(from, to) unless File.exist?(to) }
(2..per).each { |n| copy.call("#{root}/app0/_manifests/tags/1", "#{root}/app0/_manifests/tags/#{n}") }
(1...tags / per).each { |n| copy.call("#{root}/app0", "#{root}/app#{n}") }
"""


class Memory:
    """The most that the program on the node has in memory while the block runs, in MiB."""

    def __init__(self) -> None:
        self._over = Event()
        self._thread = Thread(target=self._watch)
        self.peak = 0.0

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # It has ended meanwhile.
                    if (process / "cmdline").read_bytes().endswith(b"\0-\0compare\0"):
                        facts = (process / "status").read_text()
                        self.peak = max(self.peak, int(facts.partition("VmHWM:")[2].split()[0]) / 1024)


def main(argv: list[str]) -> int:
    """Prints a line for each number of tags."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison")
    parser.add_argument("tags", nargs="*", type=int, default=[1000, 20000])
    args = parser.parse_args(argv)
    world = World(Lab.current())
    world.reset()
    config = world.configuration() | {"storage": {"mode": "per_site"}}
    for site in config["sites"].values():
        del site["s3_keys"]
        site["storage"] = "keep"
    stack = Pulumi(world)
    stack.prepare(config)
    stack.apply()
    for name in config["sites"]:
        world.lab.push(name, "bench/app0:1")
    hosts = [host for host in world.lab.hosts() if host.exists(f"{IMAGES}/app0")]
    command = [sys.executable, "-m", "operations.status", "--stack", "bench", "--json"]
    command += ["--project", str(world.lab.dir / "project")]
    for tags in args.tags:
        for host in hosts:
            host.run(["/opt/gitlab/embedded/bin/ruby", "-e", FILL, IMAGES, str(tags), str(PER_REPOSITORY)])
        for more in ([], ["--deep"]):
            began = time.monotonic()
            with Memory() as memory:
                done = subprocess.run([*command, *more], stdout=subprocess.PIPE, check=False)
            seconds = time.monotonic() - began
            found = json.loads(done.stdout)["comparisons"]
            if any((one["tags"], one["failure"]) != (tags, None) for one in found):
                raise RuntimeError(found)
            sites = f"{len(world.nodes())} nodes, {len(found)} secondaries"
            print(
                f"{sites}, {tags} tags {' '.join(more)}: {seconds:.1f} s, {memory.peak:.0f} MiB", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
