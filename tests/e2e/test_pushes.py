"""Pushes go on while `pulumi up` changes the primary, or while Rails is away: no image is missing at the secondary.

GitLab's backfill is off here, which finds a repository that was never synced: an image comes by its event or not at all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.api import Lab
from lab.host import Host
from tests import installed
from tests.e2e.pushes import Pushes, during
from tests.e2e.stack import Running, Stack, measured, play

CTL = "/opt/gitlab/bin/gitlab-ctl"
CONFIG = "/var/opt/gitlab/registry/config.yml"
VERSION = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"
AWAY = 5
"""Seconds that Rails needs to start; far more in reality."""


def lab_settings(host: Host, **more: float) -> None:
    text = json.dumps({"reconfigure_seconds": 1, "registry_key_bits": 2048, "backfill_seconds": 86400} | more)
    host.write("/opt/gitlab/etc/lab.json", text.encode())


@pytest.fixture(scope="module")
def up(replicated: Stack, london: Host, tokyo: Host) -> Stack:
    lab_settings(tokyo)
    lab_settings(london, puma_boot_seconds=AWAY)
    replicated.up()
    return replicated


def changed(stack: Stack, change: Callable[[dict[str, Any]], object]) -> str:
    stack.configure(change)
    return stack.up()


def number() -> int:
    return time.time_ns() % 10**9


@contextmanager
def without_rails(host: Host) -> Iterator[None]:
    host.run(f"{CTL} stop puma")
    try:
        yield
    finally:
        host.run(f"{CTL} start puma")


def test_a_registry_that_restarts_while_rails_is_away_loses_the_push(up: Stack, london: Host) -> None:
    """The control of all that follows: manually, nobody tells GitLab of it again. Registries before 17.5 do not say so."""
    pushes = Pushes("control")
    with without_rails(london):
        assert pushes.push()
        london.run(f"{CTL} restart registry")
    london.wait_ready()
    assert pushes.arrive(10) == list(pushes.pushed)
    log = london.read("/var/log/gitlab/registry/current").decode()
    assert ("eventqueue: event lost" in log) is installed.SAYS_WHAT_IS_LOST


def test_a_new_notification_secret(up: Stack, london: Host) -> None:
    """Rails and registry restart: what the registry could not deliver is reported by the node's program."""
    during("secret", lambda: changed(up, lambda c: c.update(rotate={"notification_secret": number()})))


def test_a_restart_of_the_registry_alone(up: Stack) -> None:
    """Another setting in its config.yml."""
    during(
        "setting",
        lambda: changed(up, lambda c: c.update(rotate=c.get("rotate", {}) | {"http_secret": number()})),
    )


def test_a_setting_of_both(up: Stack) -> None:
    """The issuer: tokens of before are refused meanwhile, and clients fetch others."""
    during("issuer", lambda: changed(up, lambda c: c.update(issuer="acme-issuer")))


def test_another_version_of_gitlab(up: Stack, london: Host, tokyo: Host) -> None:
    """An `up` after an upgrade, for which the endpoint has other settings: from `threshold` to `maxretries`, or back."""
    now = london.read(VERSION)
    other = b"17.0.0-ee\n" if installed.STATES_MAXRETRIES else b"17.1.0-ee\n"

    def state(version: bytes) -> None:
        number = version.decode().rpartition(".")[0]
        during(f"version-{number}", lambda: changed(up, lambda c: c.update(gitlab_version=number)))
        # From 17.1 to 19.0 the Linux package renders both names, the other one with its default.
        stated = b'"maxretries":40' in london.read(CONFIG)
        assert stated is (installed.STATES_MAXRETRIES is (version == now))

    def install(version: bytes) -> None:
        for host in (tokyo, london):
            host.write(VERSION, version)
            host.run(f"{CTL} reconfigure")
            host.wait_ready()

    # A newer GitLab takes the settings of an older one, and not the other way round.
    down, back = ((state, install), (install, state))[:: 1 if installed.STATES_MAXRETRIES else -1]
    for step in down:
        step(other)
    for step in back:
        step(now)


def test_a_change_that_is_taken_back(up: Stack, london: Host) -> None:
    """Reconfigured, then failed, then reconfigured with the former settings: two restarts."""
    ctl = london.read(CTL)
    wrapper = b"#!/bin/sh\n/opt/gitlab/bin/gitlab-ctl.real \"$@\" || exit\n[ -e /root/failed ] || [ $1 != reconfigure ] || { touch /root/failed; echo 'FATAL: chosen by the test'; exit 1; }\n"
    london.write(f"{CTL}.real", ctl, mode=0o755)
    london.write(CTL, wrapper, mode=0o755)

    def fails() -> None:
        up.configure(lambda c: c.update(rotate={"notification_secret": number()}))
        output = up.fails()
        assert "the former settings are restored, and a reconfigure with them succeeded" in output

    during("taken-back", fails)
    london.write(CTL, ctl, mode=0o755)
    up.up()


def test_a_run_that_was_cut_off_and_the_next(up: Stack, fresh: Lab, london: Host) -> None:
    """The program on the node is killed in its reconfigure, which goes on; the next run knows since when."""
    lab_settings(london, puma_boot_seconds=AWAY, reconfigure_seconds=4)

    def cut_off() -> None:
        up.configure(lambda c: c.update(rotate={"notification_secret": number()}))
        running = Running(fresh, "up", "--yes", "--skip-preview", stack=up.name)
        fresh.wait(lambda: any("gitlab-ctl reconfigure" in one for one in london.processes()), 30, "it")
        time.sleep(1)
        london.run("kill -9 $(pgrep -f 'ruby --disable-gem[s] - apply')")
        running.end()
        fresh.wait(
            lambda: not any("gitlab-ctl reconfigure" in one for one in london.processes()), 30, "its end"
        )
        lab_settings(london, puma_boot_seconds=AWAY)
        assert "an earlier run was interrupted" in up.up()

    during("cut-off", cut_off)


def test_rails_may_be_away_for_as_long_as_its_restart_takes(up: Stack, london: Host) -> None:
    """For 90, 45 and 20 s after a push."""
    london.wait_ready()
    pushes = Pushes("away")
    with without_rails(london):
        for seconds in (45, 25, 20):
            assert pushes.push()
            time.sleep(seconds)
    began = time.monotonic()
    assert pushes.arrive(100) == []
    measured("until the images were there after Rails was away for 90 s", time.monotonic() - began)


@pytest.mark.skipif(
    not installed.STATES_MAXRETRIES, reason="needs GitLab 17.1: before, a registry repeats an event forever"
)
def test_with_the_retries_of_gitlabs_examples_an_image_is_lost(up: Stack, london: Host) -> None:
    """The control of the test before: after 25 s."""
    config = london.read(CONFIG)
    fewer = config.replace(b'"maxretries":40', b'"maxretries":5')
    assert fewer != config
    london.write(CONFIG, fewer)
    london.run(f"{CTL} restart registry")
    london.wait_ready()
    lost = Pushes("lost")
    with without_rails(london):
        assert lost.push()
        time.sleep(25)
    london.wait_ready()
    assert lost.arrive(15) == list(lost.pushed)
    london.write(CONFIG, config)
    london.run(f"{CTL} restart registry")


def test_the_primary_moves(up: Stack, london: Host, tokyo: Host) -> None:
    """The new primary takes pushes when its registry may be written to, while the former one becomes a secondary."""
    lab_settings(london)
    lab_settings(tokyo, puma_boot_seconds=AWAY)
    play(london, "secondary")
    play(tokyo, "primary")
    during("moved", lambda: changed(up, lambda c: c.update(primary="tokyo")), to="tokyo", at=("london",))


def test_a_push_that_a_former_primary_had_not_told_of_is_named(up: Stack, london: Host, tokyo: Host) -> None:
    """Made after Rails was stopped, and before `up` takes notifications from the registry; the newest come first."""
    pushes = Pushes("former", to="tokyo")
    play(london, "primary")
    with without_rails(tokyo):
        assert pushes.push()
        play(tokyo, "secondary")
        said = changed(up, lambda c: c.update(primary="london"))
    named = r"tokyo-1: the secondaries do not know of \d+ changed images?, which may be missing at the new primary"
    assert re.search(named, said), said
    assert f"push these again to the new primary, unless it has them: {next(iter(pushes.pushed))}" in said
