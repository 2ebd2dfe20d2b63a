"""Run in a lab of its own: London's web, Sidekiq and registry are on nodes of their own; Tokyo and Sydney replicate."""

from __future__ import annotations

import json
import re
from typing import Any

from lab.api import Lab
from lab.layouts import LAYOUTS
from lab.sites import host_key
from tests.e2e.pushes import during
from tests.e2e.refused import Refusals, ask
from tests.e2e.stack import GITLAB_RB, OURS, Running, Stack, secrets

KEY = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"
CTL = "/opt/gitlab/bin/gitlab-ctl"
RECONFIGURE = 0.5
"""Seconds that the lab's stand-in sleeps besides its work."""
BUCKETS = {"london": "eu-west-1", "tokyo": "ap-northeast-1", "sydney": "us-east-1"}


def configure(config: dict[str, Any]) -> None:
    """All nodes by their roles, a bucket for each site."""
    config["ssh"] = {"user": "ubuntu", "wait_seconds": 10}
    for site in LAYOUTS["three-sites"].sites:
        config["sites"][site.name] = {
            "external_url": site.external_url,
            "registry_url": site.registry_url,
            "storage": {"bucket": f"acme-registry-{site.name}", "region": BUCKETS[site.name]},
            "nodes": {
                node.name: {"host": node.address, "host_key": host_key(node.name), "roles": list(node.runs)}
                for node in site.nodes
            },
        }


def arrives(lab: Lab, tag: str, digest: str) -> None:
    for site in ("tokyo", "sydney"):

        def there(at: str = site) -> bool:
            return lab.tags(at, "group/app").get(tag) == digest

        print(f"push to copy at {site}: {lab.wait(there, 60, f'{tag} at {site}'):.1f} s")


def first(lab: Lab, stack: Stack) -> None:
    """Every application and Sidekiq node has the key; the registry's node has no Rails, and notifies."""
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken"), "before anything is done"
    with Refusals(*BUCKETS) as seen:
        stack.up()
    print(f"first up: {seen}")
    assert seen.longest["london"] == 0, "the primary's key is kept, so that no token of its can be refused"
    assert min(seen.asked.values()) > 20
    proof = stack.outputs()["proof"]
    assert set(proof["london"]) == {"london-web-1", "london-web-2", "london-sidekiq", "london-registry"}
    assert "notification endpoint accepts the secret" in proof["london"]["london-registry"]
    assert all(
        "own registry accepts a token signed with the key" in checks for checks in proof["london"].values()
    )
    own_nginx(proof["london"])
    rails = [h for h in lab.hosts() if h.name != "london-registry"]
    assert len({host.read(KEY) for host in rails}) == 1
    arrives(lab, "1", lab.push("london", "group/app:1", seed=b"1"))


def own_nginx(proof: dict[str, dict[str, str]]) -> None:
    """Each node's nginx was asked for what it serves, and for nothing else."""
    asked = {
        name: [check for check in checks if "this node's nginx" in check] for name, checks in proof.items()
    }
    gitlab = ["GitLab answers for gitlab.london.example.com through this node's nginx"]
    registry = ["the registry answers for registry.london.example.com through this node's nginx"]
    assert asked == {
        "london-web-1": gitlab,
        "london-web-2": gitlab,
        "london-sidekiq": [],
        "london-registry": registry,
    }


def pushes_go_on(lab: Lab, stack: Stack) -> None:
    """Rails and the registry restart on nodes of their own. No image waits for backfill."""
    settings = {"reconfigure_seconds": 1, "registry_key_bits": 2048, "backfill_seconds": 86400}
    for host in lab.hosts():
        host.write("/opt/gitlab/etc/lab.json", json.dumps(settings | {"puma_boot_seconds": 5}).encode())
        if host.name in {"tokyo-1", "sydney-1"}:
            host.run("gitlab-ctl restart sidekiq")
    stack.configure(lambda config: config.update(rotate={"notification_secret": 2}))
    during("secret", stack.up, at=("tokyo", "sydney"))


def certificate(lab: Lab, stack: Stack) -> None:
    """A registry's own node needs its certificate; the site's other nodes need none of it."""
    host, file = lab.host("london-registry"), "/etc/gitlab/ssl/registry.london.example.com.crt"
    good, before = host.read(file), host.reconfigures()
    host.run(f"rm {file}")
    stack.configure(lambda config: config["sites"]["london"].update(ssh={"wait_seconds": 30}))
    said = stack.fails()
    refused = "refused: nginx would not start with the certificate of registry.london.example.com"
    assert f"london-registry (site london): {refused}" in said
    assert host.reconfigures() == before
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken")
    host.write(file, good)
    stack.up()


def nothing_to_do(lab: Lab, stack: Stack) -> None:
    """No node is looked at."""
    sessions = [host.ssh_sessions() for host in lab.hosts()]
    stack.up()
    assert [host.ssh_sessions() for host in lab.hosts()] == sessions


def issuer(lab: Lab, stack: Stack) -> None:
    """What GitLab's nodes and the registry's must agree on changes on all of them within one reconfigure."""
    stack.configure(lambda config: config.update(issuer="acme-issuer"))
    with Refusals("london", "tokyo") as seen:
        stack.up()
    print(f"new issuer, a reconfigure of {RECONFIGURE} s and its work: {seen}")
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken")


def one_at_a_time(lab: Lab, stack: Stack) -> None:
    """No node waits for another in its session, so the engine may do as little at a time as it likes."""
    before = {host.name: host.reconfigures() for host in lab.hosts()}
    stack.configure(lambda config: config.pop("issuer"))
    stack.up("--parallel", "1")
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken")
    assert all(host.reconfigures() == before[host.name] + 1 for host in lab.hosts())


def a_slow_one(lab: Lab, stack: Stack) -> None:
    """While one node's reconfigure goes on, the sessions of all others end; then everything is verified."""
    slow = lab.host("london-web-2")
    ctl = slow.read(CTL)
    wait = b'#!/bin/sh\n[ $1 != reconfigure ] || while [ ! -e /root/go-on ]; do sleep 0.2; done\nexec /opt/gitlab/bin/gitlab-ctl.real "$@"\n'
    slow.write(f"{CTL}.real", ctl, mode=0o755)
    slow.write(CTL, wait, mode=0o755)
    before = {host.name: host.reconfigures() for host in lab.hosts()}
    stack.configure(lambda config: config.update(issuer="slow-issuer"))
    running = Running(lab, "up", "--yes", "--skip-preview", stack=stack.name)

    def others_done() -> bool:
        busy = [
            host.name
            for host in lab.hosts()
            if host.reconfigures() == before[host.name] or any("- apply" in one for one in host.processes())
        ]
        return busy == [slow.name]

    lab.wait(others_done, 60, "every other session's end")
    slow.write("/root/go-on", b"")
    ended, _ = running.end()
    slow.write(CTL, ctl, mode=0o755)
    assert ended == 0
    assert {site: ask(site) for site in BUCKETS} == dict.fromkeys(BUCKETS, "taken")


def one_dead(lab: Lab, stack: Stack) -> None:
    """A secondary that is down fails alone and is named; the others have what is new and are verified."""
    lab.host("sydney-1").stop()
    old = secrets(lab.host("tokyo-1"))["http_secret"]
    stack.configure(lambda config: config.update(rotate={"http_secret": 1, "notification_secret": 1}))
    reported = stack.fails("--continue-on-error")
    failed = re.findall(r"remote:Command (\S+) \*\*\w+ failed\*\*", reported)
    assert failed == ["registry-sydney-1-settings"], reported
    verified = re.findall(r"remote:Command registry-(\S+)-verification updated", reported)
    assert {*verified} == {host.name for host in lab.hosts()} - {"sydney-1"}, reported
    assert secrets(lab.host("tokyo-1"))["http_secret"] != old
    token = secrets(lab.host("london-registry"))["notification_secret"]
    for name in ("london-web-1", "london-web-2", "london-sidekiq"):
        assert secrets(lab.host(name))["notification_secret"] == token
    lab.host("sydney-1").start()
    lab.host("sydney-1").wait_ready()
    before = {host.name: host.reconfigures() for host in lab.hosts()}
    stack.up()
    after = {host.name: host.reconfigures() for host in lab.hosts()}
    assert {name for name in after if after[name] > before[name]} == {"sydney-1"}
    arrives(lab, "2", lab.push("london", "group/app:2", seed=b"2"))


def main() -> None:
    """In this order."""
    lab = Lab.current()
    stack = Stack(lab, "replicated")
    stack.configure(configure)
    before = {host.name: host.read(GITLAB_RB) for host in lab.hosts()}
    first(lab, stack)
    nothing_to_do(lab, stack)
    issuer(lab, stack)
    one_at_a_time(lab, stack)
    a_slow_one(lab, stack)
    one_dead(lab, stack)
    certificate(lab, stack)
    pushes_go_on(lab, stack)
    stack.destroy()
    assert {host.name: host.read(GITLAB_RB) for host in lab.hosts()} == before
    assert not any(host.exists(OURS) for host in lab.hosts())


if __name__ == "__main__":
    main()
