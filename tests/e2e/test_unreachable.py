"""Hosts that cannot be logged into: what the person at the terminal sees, how soon, and that the rest is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.host import Host
from tests.e2e.stack import OURS, Stack

pytestmark = pytest.mark.e2e

Change = Callable[[dict[str, Any]], object]


def tokyo_1(**values: Any) -> Change:
    return lambda config: config["sites"]["tokyo"]["nodes"]["tokyo-1"].update(values)


def of_london(config: dict[str, Any]) -> None:
    key = config["sites"]["london"]["nodes"]["london-1"]["host_key"]
    tokyo_1(host_key=key)(config)


WRONG: list[tuple[str, Change, tuple[str, ...]]] = [
    ("nothing listens", tokyo_1(ssh={"port": 2222}), ("connection refused", "ssh.port")),
    ("nobody has the address", tokyo_1(host="10.20.0.99"), ("no route to host", "nodes.tokyo-1.host`")),
    ("nobody has the name", tokyo_1(host="tokyo-9.example.com"), ("no such host", "mend the name in")),
    ("another host key", of_london, ("host key mismatch", "`sites.tokyo.nodes.tokyo-1.host_key`")),
    ("a stranger", tokyo_1(ssh={"user": "mallory"}), ("unable to authenticate", "let `ssh.user` (mallory)")),
]


@pytest.mark.parametrize(("change", "told"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_host_that_cannot_be_logged_into(
    existing: Stack, london: Host, tokyo: Host, change: Change, told: tuple[str, ...]
) -> None:
    """Node, site, cause, state and the key to mend, in as long as a few attempts take; with the key mended it works."""
    right = existing.file.read_text()
    existing.configure(change)
    said = existing.fails()
    existing.file.write_text(right)
    assert "tokyo-1 (site tokyo): no SSH connection to " in said
    assert "state: nothing was changed on this node" in said and "Traceback" not in said
    for text in told:
        assert text in said
    assert not tokyo.exists(OURS)


def test_mended_it_works(existing: Stack, tokyo: Host) -> None:
    """What failed before was the connection and nothing else."""
    existing.up()
    assert tokyo.exists(OURS)
    existing.configure(tokyo_1(ssh={"port": 2222}))
    said = existing.fails()
    assert "tokyo-1 (site tokyo): no SSH connection to ubuntu@10.20.0.11, port 2222" in said
    existing.configure(lambda config: config["sites"]["tokyo"]["nodes"]["tokyo-1"].pop("ssh"))
    assert "unchanged" in existing.up()


def test_a_node_to_be_given_back_that_is_gone(existing: Stack, tokyo: Host) -> None:
    """Also by `destroy`, which does not run the program; once it is back, it is given back."""
    existing.up()
    tokyo.stop()
    said = existing.lab.pulumi("destroy", "--yes", "--skip-preview", stack=existing.name, check=False)
    assert said.returncode != 0 and "failed attempts" in said.stdout + said.stderr
    tokyo.start()
    existing.destroy()
    assert not tokyo.exists(OURS)
