"""Pushes go on while `pulumi up` changes the primary, or while Rails is away: no image is missing at the secondary.

GitLab's backfill is off here, which finds a repository that was never synced: an image comes by its event or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.pushes import Pushes, during
from tests.e2e.stack import Running, Stack, measured

pytestmark = pytest.mark.e2e

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
    """The control of all that follows: by hand, nobody tells GitLab of it again."""
    pushes = Pushes("control")
    with without_rails(london):
        assert pushes.push()
        london.run(f"{CTL} restart registry")
    london.wait_ready()
    assert pushes.arrive(10) == list(pushes.pushed)
    assert "eventqueue: event lost" in london.read("/var/log/gitlab/registry/current").decode()


def test_a_new_notification_secret(up: Stack, london: Host) -> None:
    """Rails and registry restart: what the registry could not deliver is told by the node's program."""
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


def test_a_change_that_is_taken_back(up: Stack, london: Host) -> None:
    """Reconfigured, then failed, then reconfigured with the former settings: two restarts."""
    ctl = london.read(CTL)
    wrapper = b"#!/bin/sh\n/opt/gitlab/bin/gitlab-ctl.real \"$@\" || exit\n[ -e /root/failed ] || [ $1 != reconfigure ] || { touch /root/failed; echo 'FATAL: chosen by the test'; exit 1; }\n"
    london.write(f"{CTL}.real", ctl, mode=0o755)
    london.write(CTL, wrapper, mode=0o755)

    def fails() -> None:
        up.configure(lambda c: c.update(rotate={"notification_secret": number()}))
        output = up.fails()
        assert "the former settings are back, and a reconfigure with them succeeded" in output

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
        assert "an earlier run was cut off" in up.up()

    during("cut-off", cut_off)


def test_rails_may_be_away_for_as_long_as_its_restart_takes(up: Stack, london: Host) -> None:
    """For 90, 45 and 20 s after a push; with the retries that GitLab's examples have, an image is lost after 25."""
    london.wait_ready()
    pushes = Pushes("away")
    with without_rails(london):
        for seconds in (45, 25, 20):
            assert pushes.push()
            time.sleep(seconds)
    began = time.monotonic()
    assert pushes.arrive(100) == []
    measured("until the images were there after Rails was away for 90 s", time.monotonic() - began)
    config = london.read(CONFIG)
    london.write(CONFIG, config.replace(b'"maxretries":40', b'"maxretries":5'))
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
