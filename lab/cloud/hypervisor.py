"""Applies the state of moto to the lab: instances, databases, networks, firewalls, metadata, DNS names."""

from __future__ import annotations

import json
import re
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from lab.authority import Authority
from lab.cloud import databases, desired_state, firewall, names, routing
from lab.cloud.desired_state import DatabaseServer, Machine, Wanted
from lab.cloud.instance import Instance
from lab.cloud.metadata import Service
from lab.rootfs import make_image, write

NOTHING = Wanted({}, {}, {}, ())


class Hypervisor:
    """One thread that follows moto: call `touch` after each change in moto."""

    def __init__(self, lab_dir: Path, authority: Authority) -> None:
        self._lab_dir = lab_dir
        self._authority = authority
        self._have = NOTHING
        self._routers: dict[str, routing.Router] = {}
        self._numbers = set(range(4096))
        self._taken: dict[str, int] = {}
        self._services: dict[str, Service] = {}
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._problems: list[str] = []
        self._images_lock = threading.Lock()

    def start(self) -> None:
        """Start following, in a thread."""
        routing.announce()
        threading.Thread(target=self._follow, name="hypervisor", daemon=True).start()

    def touch(self) -> None:
        """Report that moto may have changed."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def settle(self, seconds: float = 30) -> list[str]:
        """Wait until all earlier changes are applied; returns the errors since the last call."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            number = self._asked
            if not self._changed.wait_for(lambda: self._done >= number, seconds):
                return [f"the hypervisor has not come to rest within {seconds:g} s"]
            problems, self._problems = self._problems, []
            return problems

    def _follow(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._done)
                number = self._asked
            self._try(self._reconcile)
            with self._changed:
                self._done = number
                self._changed.notify_all()

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - a failure of one instance must not affect the others
            traceback.print_exc()
            with self._changed:
                self._problems.append(traceback.format_exc(limit=-2))

    def _together(self, jobs: Iterable[Callable[[], object]]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._try, jobs))

    def _reconcile(self) -> None:
        want, have = desired_state.read(), self._have
        if want == have:
            return
        self._have = want
        was, now = have.machines, want.machines
        gone = [was[one] for one in was.keys() - now.keys()]
        new = [now[one] for one in now.keys() - was.keys()]
        changed = [(was[one], now[one]) for one in was.keys() & now.keys() if was[one] != now[one]]
        old, served = have.databases, want.databases
        self._together(
            [
                *(partial(self._remove, one) for one in gone),
                *(partial(self._remove_database, old[one]) for one in old.keys() - served.keys()),
            ]
        )
        self._networks(want, have)
        if want.names != have.names:
            names.publish(want.names)
        # Their names resolve before they can be reached.
        facts = [{**asdict(machine), "rules": None} for machine in want.machines.values()]
        write(names.INSTANCES.with_suffix(".new"), json.dumps(facts))
        names.INSTANCES.with_suffix(".new").rename(names.INSTANCES)
        created = [partial(self._create, one) for one in new]
        created += [
            partial(self._serve, old.get(one.id), one) for one in served.values() if one != old.get(one.id)
        ]
        self._together([*created, *(partial(self._change, *pair) for pair in changed)])

    # -- networks

    def _networks(self, want: Wanted, have: Wanted) -> None:
        for id in have.networks.keys() - want.networks.keys():  # noqa: A001
            if router := self._routers.pop(id, None):
                self._try(router.remove)
                self._numbers.add(self._taken.pop(id))
        for id, network in want.networks.items():  # noqa: A001
            if id not in self._routers:
                self._taken[id] = self._numbers.pop()
                self._routers[id] = routing.Router(network, self._taken[id])
            if network != have.networks.get(id):
                self._try(partial(self._routers[id].update, network))

    # -- machines

    def _host(self, machine: Machine) -> Instance:
        return Instance(self._lab_dir, asdict(machine))

    def _create(self, machine: Machine) -> None:
        self._routers[machine.vpc].plug(machine)
        firewall.apply(machine)
        host = self._host(machine)
        image = self._image("ubuntu" if machine.image.startswith("ubuntu/") else "gitlab")
        host.create(image, desired_state.public_key(machine.id), desired_state.user_data(machine.id))
        if version := re.search(r"GitLab [CE]E (\d+\.\d+\.\d+)", machine.image):
            host.install(version[1])
        self._services[machine.id] = Service(machine.id)
        self._services[machine.id].start()
        if machine.power:
            host.power_on()

    def _change(self, was: Machine, now: Machine) -> None:
        if (was.rules, was.resolver) != (now.rules, now.resolver):
            firewall.apply(now)
        host = self._host(now)
        if not now.power or (was.power and was.booted != now.booted):
            host.stop()
        if now.power and (not was.power or was.booted != now.booted):
            host.power_on()

    def _remove(self, machine: Machine) -> None:
        if service := self._services.pop(machine.id, None):
            service.stop()
        self._host(machine).destroy()
        routing.unplug(machine.id)

    # -- databases

    def _serve(self, was: DatabaseServer | None, now: DatabaseServer) -> None:
        try:
            if was is None:
                self._routers[now.vpc].plug(now)
            firewall.apply(now)
            databases.Server(now).become(was, now)
        except Exception:
            databases.report(now, "failed")
            raise
        databases.report(now, "available")

    def _remove_database(self, database: DatabaseServer) -> None:
        databases.Server(database).remove()
        routing.unplug(database.id)

    def _image(self, kind: str) -> Path:
        """The files of an image, created on first use."""
        directory = self._lab_dir / "images" / kind
        with self._images_lock:
            if not directory.exists():
                making = directory.with_suffix(".making")
                making.mkdir(parents=True)
                make_image(making, self._authority, gitlab=kind == "gitlab")
                making.rename(directory)
        return directory
