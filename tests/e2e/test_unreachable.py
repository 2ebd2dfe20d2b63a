"""Hosts that cannot be logged into: what the person at the terminal sees, how soon, and that the rest is done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lab.host import Host
from tests.e2e.stack import OURS, Running, Stack

Change = Callable[[dict[str, Any]], object]


def tokyo_1(**values: Any) -> Change:
    return lambda config: config["sites"]["tokyo"]["nodes"]["tokyo-1"].update(values)


def of_london(config: dict[str, Any]) -> None:
    key = config["sites"]["london"]["nodes"]["london-1"]["host_key"]
    tokyo_1(host_key=key)(config)


WRONG: list[tuple[str, Change, tuple[str, ...]]] = [
    ("nothing listens", tokyo_1(ssh={"port": 2222}), ("connection refused", "ssh.port")),
    ("nobody has the address", tokyo_1(host="10.20.0.99"), ("no route to host", "nodes.tokyo-1.host`")),
    ("nobody has the name", tokyo_1(host="tokyo-9.example.com"), ("no such host", "correct the name in")),
    ("another host key", of_london, ("host key mismatch", "`sites.tokyo.nodes.tokyo-1.host_key`")),
    ("a stranger", tokyo_1(ssh={"user": "mallory"}), ("unable to authenticate", "let `ssh.user` (mallory)")),
]


@pytest.mark.parametrize(("change", "reported"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_host_that_cannot_be_logged_into(
    existing: Stack, london: Host, tokyo: Host, change: Change, reported: tuple[str, ...]
) -> None:
    """Node, site, cause, state and the key to fix, in as long as a few attempts take; with the key fixed it works."""
    right = existing.file.read_text()
    existing.configure(change)
    said = existing.fails()
    existing.file.write_text(right)
    assert "tokyo-1 (site tokyo): no SSH connection to " in said
    assert "state: nothing was changed on this node" in said and "Traceback" not in said
    for text in reported:
        assert text in said
    assert not tokyo.exists(OURS)


@pytest.mark.parametrize("key", [None, "~/.ssh/id_ed25519"])
def test_an_agent_that_is_gone(
    existing: Stack, tokyo: Host, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """Also with `private_key_file`: the provider still opens the agent's socket."""
    right = existing.file.read_text()
    existing.configure(lambda config: config["ssh"].update({"private_key_file": key} if key else {}))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent.sock")
    said = existing.fails()
    existing.file.write_text(right)
    # With another key the lock file is looked at first, and the nodes wait for it.
    assert re.search(r"(london|tokyo)-1 \(site \1\): no SSH connection was tried", said), said
    assert "cause: dial unix /nowhere/agent.sock: connect: no such file or directory" in said
    assert "state: nothing was changed on this node" in said and "unset SSH_AUTH_SOCK" in said
    assert not tokyo.exists(OURS)


SUDOERS = "/etc/sudoers"
NOT_ALLOWED = [
    ("a password", lambda text: text.replace(b"NOPASSWD:", b""), "sudo: a password is required"),
    ("nobody is allowed", lambda _: b"", "sudo: "),
    ("another command only", lambda text: text.replace(b"NOPASSWD:ALL", b"NOPASSWD:/bin/true"), "sudo: a password is required"),
    ("no terminal", lambda text: text + b"Defaults requiretty\n", "you must have a tty"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "cause"), [n[1:] for n in NOT_ALLOWED], ids=[n[0] for n in NOT_ALLOWED])
def test_sudo_that_does_not_let_the_program_run(
    existing: Stack, tokyo: Host, change: Callable[[bytes], bytes], cause: str
) -> None:
    """Reported like all else, and nothing hangs; with the file as it was the next `up` goes through."""
    before = tokyo.read(SUDOERS)
    assert change(before) != before
    tokyo.write(SUDOERS, change(before))
    said = existing.fails()
    tokyo.write(SUDOERS, before)
    assert "tokyo-1 (site tokyo): the program could not start at ubuntu@10.20.0.11, port 22" in said
    assert cause in said.partition("  cause: ")[2].splitlines()[0]
    assert "state: nothing was changed on this node" in said and "/etc/sudoers.d" in said
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


def test_a_connection_that_is_lost_on_the_way(existing: Stack, tokyo: Host) -> None:
    """The node's program still runs to its end, and the next `up` finds its result."""
    existing.up()
    slow = "/opt/gitlab/etc/lab.json"
    before = tokyo.read(slow)
    tokyo.write(slow, json.dumps(json.loads(before) | {"reconfigure_seconds": 6}).encode())
    existing.configure(lambda config: config.update(issuer="another-issuer"))
    running = Running(existing.lab, "up", "--yes", "--skip-preview")
    existing.lab.wait(lambda: any("gitlab-ctl reconfigure" in line for line in tokyo.processes()))
    tokyo.run("pkill -9 -f '[s]shd: ubuntu'")
    status, said = running.end()
    tokyo.write(slow, before)
    assert status != 0
    assert (
        "tokyo-1 (site tokyo): the SSH connection to ubuntu@10.20.0.11, port 22 was lost while the program ran there"
        in said
    )
    assert "cause: wait: remote command exited without exit status or exit signal" in said
    assert "[ssh-connection-lost]" in said and "state: unknown; " in said and "`pulumi up` again" in said
    existing.up()
    assert "another-issuer" in tokyo.read(f"{OURS}/settings.rb").decode()
    assert "unchanged" in existing.up()


def test_a_node_that_was_taken_out_of_the_configuration_and_is_gone(existing: Stack, tokyo: Host) -> None:
    """The program no longer knows the node, but still says what remains to be done."""
    existing.up()
    right = existing.file.read_text()
    existing.configure(lambda config: config["sites"].pop("tokyo"))
    tokyo.stop()
    said = existing.fails()
    tokyo.start()
    existing.file.write_text(right)
    assert "tokyo-1: no SSH connection to ubuntu@10.20.0.11, port 22" in said
    assert "state: nothing was changed on this node" in said and "pulumi state delete 'urn:" in said
    existing.up()


def test_a_node_to_be_given_back_that_is_gone(existing: Stack, tokyo: Host) -> None:
    """By `destroy`, which runs the program only when it is asked to; once it is back, it is restored."""
    existing.up()
    tokyo.stop()
    arguments = ["destroy", "--yes", "--skip-preview"]
    said = existing.lab.pulumi(*arguments, stack=existing.name, check=False)
    assert said.returncode != 0 and "failed attempts" in said.stdout + said.stderr
    explained = existing.lab.pulumi(*arguments, "--run-program", stack=existing.name, check=False)
    text = explained.stdout + explained.stderr
    assert explained.returncode != 0
    assert "tokyo-1 (site tokyo): no SSH connection to ubuntu@10.20.0.11, port 22" in text
    assert "state: nothing was changed on this node" in text and "pulumi state delete 'urn:" in text
    assert "then the same command again" in text
    tokyo.start()
    existing.destroy()
    assert not tokyo.exists(OURS)
