"""Run in a lab of its own: tokyo has a web node and a Sidekiq node, reached as root, with a key file, on port 2222."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import yaml

from lab.api import Lab
from lab.sites import host_key
from tests.docs import commands
from tests.e2e.docs_reader import Reader, example
from tests.e2e.stack import GITLAB_RB, OURS, Stack


def configure(config: dict[str, Any]) -> None:
    """As an administrator would write it: the nearer `ssh` wins."""
    config["ssh"] = {"user": "root", "private_key_file": "~/.ssh/id_ed25519", "wait_seconds": 60}
    config["sites"]["tokyo"]["nodes"] = {
        "tokyo-web": {
            "host": "10.20.0.11",
            "host_key": host_key("tokyo-web"),
            "roles": ["rails", "registry"],
        },
        "tokyo-sidekiq": {
            "host": "10.20.0.12",
            "host_key": host_key("tokyo-sidekiq"),
            "roles": ["sidekiq"],
            "ssh": {"port": 2222, "user": "ubuntu"},
        },
    }


def move(config: dict[str, Any]) -> None:
    """The node tokyo-sidekiq becomes the server that tokyo-web was; its former server leaves the stack."""
    there = {"host": "10.20.0.11", "host_key": host_key("tokyo-web"), "roles": ["rails", "registry"]}
    config["sites"]["tokyo"]["nodes"] = {"tokyo-sidekiq": there}


def preview_without_the_key(stack: Stack) -> None:
    """As in CI, where nobody's key is: a preview shows no change and needs none; an `up` reports what is missing."""
    key = Path("~/.ssh/id_ed25519").expanduser()
    away = key.rename(key.with_name("away"))
    try:
        shown = stack.preview()
        assert "unchanged" in shown and "to update" not in shown and "~" not in shown, shown
        stack.configure(lambda config: config.update(issuer="acme-issuer"))
        assert "privateKey" not in stack.preview("--diff")
        assert "ssh.private_key_file: ~/.ssh/id_ed25519 cannot be read" in stack.fails()
        stack.configure(lambda config: config.pop("issuer"))
    finally:
        away.rename(key)


def add_and_remove(lab: Lab, stack: Stack) -> None:
    """As docs/operations.md says; no other node is even connected to."""
    provided = yaml.safe_load(example("operations.md", "Add or remove a node"))
    provided["tokyo-2"] |= {"host_key": host_key("tokyo-sidekiq"), "ssh": {"port": 2222, "user": "ubuntu"}}
    stack.configure(lambda config: config["sites"]["tokyo"]["nodes"].update(provided))
    reader, node = Reader(lab, stack.name), lab.host("tokyo-sidekiq")
    others = [lab.host(name) for name in ("london-1", "tokyo-web")]
    sessions = [host.ssh_sessions() for host in others]
    *add, remove, do = commands("operations.md", "Add or remove a node")
    reader.types(add)
    assert node.exists(OURS) and b"geo-registry" in node.read(GITLAB_RB)
    reader.types([remove, do])
    assert not node.exists(OURS) and b"geo-registry" not in node.read(GITLAB_RB)
    assert [host.ssh_sessions() for host in others] == sessions


def main() -> None:
    """Storage per site; the worker runs on a node without a registry; one host is still booting when `up` begins."""
    lab = Lab.current()
    stack = Stack(lab, "replicated")
    stack.configure(configure)
    booting = lab.host("tokyo-web")
    booting.stop()
    threading.Timer(6, booting.start).start()
    stack.up()
    proof = stack.outputs()["proof"]["tokyo"]
    assert set(proof) == {"tokyo-web", "tokyo-sidekiq"}
    key = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"
    keys = {lab.host(name).read(key) for name in ("london-1", "tokyo-web", "tokyo-sidekiq")}
    assert len(keys) == 1, "every application and Sidekiq node has the key"
    digest = lab.push("london", "group/app:1", seed=b"1")
    took = lab.wait(lambda: lab.tags("tokyo", "group/app").get("1") == digest, 60, "the image at tokyo")
    print(f"push to copy by a Sidekiq node of its own: {took:.1f} s")
    sessions = [host.ssh_sessions() for host in lab.hosts()]
    stack.up()
    assert [host.ssh_sessions() for host in lab.hosts()] == sessions
    preview_without_the_key(stack)
    stack.configure(move)
    stack.up()
    left, kept = lab.host("tokyo-sidekiq"), lab.host("tokyo-web")
    assert not left.exists(OURS), "the former server was not released"
    assert b"geo-registry" not in left.read(GITLAB_RB)
    assert kept.exists(OURS), "the new server got the former node back that it was before"
    add_and_remove(lab, stack)
    time.sleep(0.5)
    stack.destroy()
    assert len({lab.host(name).read(key) for name in ("london-1", "tokyo-web")}) == 2


if __name__ == "__main__":
    main()
