"""Run in a lab of its own: three sites, London's registry on a node of its own, and the registry key is replaced."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.api import Lab
from lab.host import Host
from tests.e2e.layouts.three_sites import BUCKETS, CTL, KEY, configure
from tests.e2e.pushes import Pushes
from tests.e2e.refused import Refusals, ask, fetch, use
from tests.e2e.stack import OURS, Stack

CERTIFICATE = "/var/opt/gitlab/registry/gitlab-registry.crt"
SECRETS = "/etc/gitlab/gitlab-secrets.json"
SECONDARIES = ("tokyo", "sydney")
BEGIN = "-----BEGIN CERTIFICATE-----"


def keys(lab: Lab) -> set[bytes]:
    """Those that Rails and Sidekiq sign with."""
    return {host.read(KEY) for host in lab.hosts() if host.name != "london-registry"}


def trusted(lab: Lab) -> set[bytes]:
    """What the registries trust; one for all of them if they agree."""
    names = ("london-registry", "tokyo-1", "sydney-1")
    return {lab.host(name).read(CERTIFICATE) for name in names}


def certificates(bundle: bytes) -> list[str]:
    return [BEGIN + part for part in bundle.decode().split(BEGIN)[1:]]


def rotate(stack: Stack, **numbers: int) -> None:
    stack.configure(lambda config: config.update(rotate=config.get("rotate", {}) | numbers))


def unauthorized(lab: Lab, since: str) -> list[str]:
    """Requests with a token that a registry answered with 401, other than the proofs' own; Geo's workers' too."""
    found = []
    for name in ("london-registry", "tokyo-1", "sydney-1"):
        log = lab.host(name).run(
            "cd /var/log/gitlab/registry; cat $(ls @*.s 2>/dev/null) current", check=False
        )
        lines = log.stdout.partition(since)[2].splitlines()
        wanted = r'/v2/(?!geo-registry-proof)\S+/(manifests|tags|blobs)/\S* HTTP/1.1" 401|"status":401.*"uri":"/v2/(?!geo-registry-proof)[^"]+/(manifests|tags|blobs)'
        found += [f"{name}: {line[:200]}" for line in lines if re.search(wanted, line)]
    return found


def without_refusals(lab: Lab, what: str, change: Callable[[], object], *, kept: bool = True) -> None:
    """Tokens fetched before and used throughout, tokens fetched each time, and pushes that are copied: none is refused."""
    since = f"mark of {what} {time.time_ns()}"
    for name in ("london-registry", "tokyo-1", "sydney-1"):
        lab.host(name).run(f"echo '{since}' >> /var/log/gitlab/registry/current")
    tokens = {site: fetch(site) or "" for site in BUCKETS}
    watched = Refusals(*BUCKETS, every=0.25)
    former = Refusals(*BUCKETS, asking=lambda site: use(site, tokens[site]), every=0.25)
    lab.wait_ready()
    with Pushes(what) as pushes, watched, former:
        time.sleep(1.5)
        change()
        ended = time.monotonic()
        time.sleep(3)
    assert pushes.last > ended, "they went on until the change had ended"
    for name in SECONDARIES:
        missed = missing(lab, pushes, name)
        print(
            f"{what}: of {len(pushes.pushed)} images at {name} not copied while its registry restarted: {missed}"
        )
    print(f"{what}: fresh tokens refused {watched.refused} of {watched.asked}, {watched}")
    print(f"{what}: tokens from before refused {former.refused} of {former.asked}, away {former.away}")
    assert min(watched.asked.values()) > 20 and min(former.asked.values()) > 20
    assert watched.refused == dict.fromkeys(BUCKETS, 0)
    if kept:
        assert former.refused == dict.fromkeys(BUCKETS, 0)
        assert unauthorized(lab, since) == []


def missing(lab: Lab, pushes: Pushes, site: str) -> list[str]:
    """Images that Geo could not copy because the secondary's registry was restarting: it only logs that."""
    found = pushes.arrive(30, site)
    log = lab.host(f"{site}-1").run("cat /var/log/gitlab/sidekiq/*", check=False).stdout
    for one in found:
        assert re.search(
            f"Error while syncing tag 1 of {one}: Failed to open TCP connection to 127.0.0.1", log
        ), one
    return found


@contextmanager
def failing(host: Host) -> Iterator[None]:
    """A node whose next reconfigure fails, and the one with the former settings does not."""
    ctl = host.read(CTL)
    wrapper = f'#!/bin/sh\n[ -e /root/failed ] || [ $1 != reconfigure ] || {{ touch /root/failed; echo "FATAL: chosen by the test"; exit 1; }}\nexec {CTL}.real "$@"\n'
    host.write(f"{CTL}.real", ctl, mode=0o755)
    host.write(CTL, wrapper.encode(), mode=0o755)
    try:
        yield
    finally:
        host.write(CTL, ctl, mode=0o755)
        host.run("rm -f /root/failed")


def first(lab: Lab, stack: Stack) -> None:
    """Events alone bring an image to a secondary."""
    for host in lab.hosts():
        text = json.dumps({"reconfigure_seconds": 1, "registry_key_bits": 2048, "backfill_seconds": 86400})
        host.write("/opt/gitlab/etc/lab.json", text.encode())
    stack.up()
    for name in ("tokyo-1", "sydney-1"):
        lab.host(name).run("gitlab-ctl restart sidekiq")


def a_new_pair(lab: Lab, stack: Stack) -> None:
    """In one `up`: every registry trusts both, then everybody signs with the new key."""
    (key,), (old,) = keys(lab), trusted(lab)
    rotate(stack, registry_key=1)
    shown = stack.preview("--diff")
    assert "registry-london-registry-trust-1" in shown and "registry-london-web-1-trust-1" not in shown
    assert "PRIVATE KEY" not in shown and BEGIN not in shown
    without_refusals(lab, "rotation", stack.up)
    (now,), (bundle,) = keys(lab), trusted(lab)
    assert now != key
    assert len(certificates(bundle)) == 2 and bundle.endswith(old)
    state = lab.pulumi("stack", "export", stack=stack.name).stdout
    assert "PRIVATE KEY" not in state and "ciphertext" in state
    assert "unchanged" in stack.up()


def finished(lab: Lab, stack: Stack) -> None:
    """The former certificate goes when asked, and with it the tokens that its key has signed."""
    (bundle,), (key,) = trusted(lab), keys(lab)
    number = 1 + stack_numbers(stack).get("registry_key_finished", 0)
    rotate(stack, registry_key_finished=number)
    without_refusals(lab, f"finish-{number}", stack.up)
    (alone,) = trusted(lab)
    assert certificates(alone.rstrip() + b"\n") == certificates(bundle)[:1]
    assert keys(lab) == {key}


def stack_numbers(stack: Stack) -> dict[str, int]:
    found: dict[str, Any] = {}
    stack.configure(lambda config: found.update(config.get("rotate", {})))
    return found


def one_at_a_time(lab: Lab, stack: Stack) -> None:
    """While one is under way another is refused, and no node is connected to."""
    sessions = [host.ssh_sessions() for host in lab.hosts()]
    rotate(stack, registry_key=3)
    assert "[rotation-in-progress]" in stack.fails()
    rotate(stack, registry_key=3, registry_key_finished=2)
    assert "[rotation-unfinished]" in stack.preview(check=False)
    assert "[rotation-unfinished]" in stack.fails()
    assert [host.ssh_sessions() for host in lab.hosts()] == sessions
    rotate(stack, registry_key=2, registry_key_finished=1)


def a_registry_that_fails(lab: Lab, stack: Stack) -> None:
    """In the first phase: nobody signs with the new key. The next `up` continues with the same pair."""
    before, sydney = keys(lab), lab.host("sydney-1")
    rotate(stack, registry_key=2)
    with failing(sydney):
        said = stack.fails("--continue-on-error")
    assert "[reconfigure-failed]" in said
    failed = re.findall(r"remote:Command (\S+) \*\*\w+ failed\*\*", said)
    assert failed == ["registry-sydney-1-trust-2"], said
    assert keys(lab) == before
    tokyo = lab.host("tokyo-1").read(CERTIFICATE)
    assert len(certificates(tokyo)) == 2
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken")
    rotate(stack, registry_key_finished=2)
    assert "[rotation-incomplete]" in stack.fails(), "no node has the new key"
    rotate(stack, registry_key_finished=1)


def a_web_node_that_fails(lab: Lab, stack: Stack) -> None:
    """In the second phase: both keys are in use, both are trusted, and the former certificate cannot go."""
    web = lab.host("london-web-2")
    with failing(web):

        def fails() -> None:
            said = stack.fails("--continue-on-error")
            failed = re.findall(r"remote:Command (\S+) \*\*\w+ failed\*\*", said)
            assert failed == ["registry-london-web-2-settings"], said

        without_refusals(lab, "half", fails)
    assert len(keys(lab)) == 2
    (bundle,) = trusted(lab)
    assert bundle == lab.host("tokyo-1").read(CERTIFICATE)
    sessions = [host.ssh_sessions() for host in lab.hosts()]
    rotate(stack, registry_key_finished=2)
    assert "[rotation-incomplete]" in stack.fails()
    assert [host.ssh_sessions() for host in lab.hosts()] == sessions
    rotate(stack, registry_key_finished=1)
    without_refusals(lab, "resumed", stack.up)
    assert len(keys(lab)) == 1


def a_leak(lab: Lab, stack: Stack) -> None:
    """The former certificates go in the same `up`; clients that fetch a token again are served."""
    token, (key,) = {site: fetch(site) for site in BUCKETS}, keys(lab)
    (bundle,) = trusted(lab)
    rotate(stack, registry_key_now=1)
    with Refusals(*BUCKETS) as seen:
        stack.up()
    print(f"after a leak: {seen}")
    (now,), (alone,) = keys(lab), trusted(lab)
    assert now != key and len(certificates(alone)) == 1
    assert certificates(alone)[0] not in certificates(bundle)
    assert {site: use(site, str(one)) for site, one in token.items()} == dict.fromkeys(BUCKETS, "refused")
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken")


def destroyed(lab: Lab, stack: Stack, leaked: set[str]) -> None:
    """No key of before the leak is on any node of the primary, and its GitLab and registry agree."""
    stack.destroy()
    for host in lab.hosts():
        assert not host.exists(OURS)
        found = json.loads(host.read(SECRETS))["registry"]
        assert found["internal_key"].strip() not in leaked, host.name
    assert ask("london") == "taken"


def main() -> None:
    """In this order."""
    lab = Lab.current()
    stack = Stack(lab, "replicated")
    stack.configure(configure)
    first(lab, stack)
    used = {key.decode().strip() for key in keys(lab)}
    a_new_pair(lab, stack)
    used |= {key.decode().strip() for key in keys(lab)}
    finished(lab, stack)
    a_registry_that_fails(lab, stack)
    a_web_node_that_fails(lab, stack)
    used |= {key.decode().strip() for key in keys(lab)}
    one_at_a_time(lab, stack)
    finished(lab, stack)
    a_leak(lab, stack)
    destroyed(lab, stack, used)


if __name__ == "__main__":
    main()
