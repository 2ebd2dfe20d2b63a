"""What a person is told whose hosts cannot be reached: each cause in the provider's own words."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pulumi
import pytest

from components.connection import attempts, explained, problem
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, deployment, put

pytestmark = pytest.mark.unit

BASTION = changed(SHARED, put("ssh", "bastion", to={"host": "192.0.2.10", "host_key": HOST_KEY}))
HANDSHAKE = "ssh: handshake failed: ssh: "
TOLD: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    (SHARED, "dial tcp 10.20.0.11:22: connect: connection refused", ("sites.tokyo.nodes.tokyo-1.host`", "ssh.port", "wait_seconds")),
    (SHARED, "dial tcp 10.20.0.11:22: i/o timeout", ("firewall", "sites.tokyo.nodes.tokyo-1.host`")),
    (SHARED, "dial tcp: lookup gitlab-1: no such host", ("mend the name in `sites.tokyo.nodes.tokyo-1.host`",)),
    (SHARED, f"{HANDSHAKE}host key mismatch", ("another server answers", "`sites.tokyo.nodes.tokyo-1.host_key`")),
    (SHARED, "ssh: no common algorithm for host key; we offered: [ssh-ed25519]", ("sites.tokyo.nodes.tokyo-1.host_key",)),
    (SHARED, f"{HANDSHAKE}unable to authenticate, attempted methods [none publickey], no supported methods remain", ("let `ssh.user` (ubuntu) log in", "ssh.private_key")),
    (SHARED, "dial unix /tmp/agent: connect: no such file or directory", ("SSH agent",)),
    (BASTION, "dial tcp 192.0.2.10:22: connect: connection refused", ("through the bastion 192.0.2.10", "`ssh.bastion.host`")),
    (BASTION, f"{HANDSHAKE}host key mismatch", ("`sites.tokyo.nodes.tokyo-1.host_key` and `ssh.bastion.host_key`",)),
    (BASTION, "ssh: rejected: connect failed (Connection refused)", ("`sites.tokyo.nodes.tokyo-1.host`",)),
    (CREATED, "dial tcp 203.0.113.7:22: i/o timeout", ("sites.tokyo.aws.admin_cidrs", "ssh.wait_seconds")),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "cause", "told"), TOLD)
def test_who_cannot_be_reached_why_and_what_to_do(
    raw: dict[str, Any], cause: str, told: tuple[str, ...]
) -> None:
    """As the program on a node says it: what, cause, state, remedy with the keys."""
    said = problem(deployment(raw), "tokyo", "tokyo-1", cause, "10.20.0.11").splitlines()
    assert said[0].startswith("tokyo-1 (site tokyo): no SSH connection to ubuntu@10.20.0.11, port 22")
    assert said[1:3] == [f"  cause: {cause}", "  state: nothing was changed on this node"]
    assert said[3].startswith("  do:    ") and len(said) == 4
    for text in told:
        assert text in "\n".join(said)


def test_a_host_of_an_external_registry_has_other_keys() -> None:
    """It stands elsewhere in the configuration."""
    host = {
        "hosts": {
            "registry-1": {
                "host": "10.20.0.9",
                "host_key": HOST_KEY,
                "config": "/etc/r.yml",
                "certificate": "/etc/r.crt",
                "restart": "systemctl restart r",
            }
        }
    }
    raw = changed(SHARED, put("sites", "tokyo", "external_registry", to=host))
    raw["sites"]["tokyo"]["nodes"]["tokyo-1"]["roles"] = ["rails", "sidekiq"]
    said = problem(deployment(raw), "tokyo", "registry-1", "dial tcp 10.20.0.9:22: i/o timeout", "10.20.0.9")
    assert "`sites.tokyo.external_registry.hosts.registry-1.host`" in said


def test_waiting_for_a_host_has_a_limit() -> None:
    """More seconds are more attempts, and a second is at least two."""
    assert 2 <= attempts(1) < attempts(10) < attempts(120) < 60


def failed(errors: list[str], operation: str) -> pulumi.ErrorHookArgs:
    """As the engine calls the hook: what holds a secret is an output."""
    new = {"connection": pulumi.Output.secret({"host": "10.20.0.11"})}
    old = {"connection": pulumi.Output.secret({"host": "10.20.0.10"})}
    return pulumi.ErrorHookArgs(
        "urn", "id", "tokyo-1-settings", "command:remote:Command", new, old, {}, operation, errors
    )


@pytest.mark.parametrize(
    ("errors", "operation", "host"),
    [
        (["after 7 failed attempts: dial tcp 10.20.0.11:22: i/o timeout", "older"], "create", "10.20.0.11"),
        (["proxy: after 7 failed attempts: EOF"], "update", "10.20.0.11"),
        (["after 7 failed attempts: EOF"], "delete", "10.20.0.10"),
        (["Process exited with status 1: running …"], "create", None),
        ([], "create", None),
    ],
)
def test_the_engine_is_told_only_where_it_was_the_connection(
    errors: list[str], operation: str, host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address that the order went to; nothing is tried again."""
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", told.append)
    monkeypatch.setattr(pulumi, "ErrorHook", lambda _, call: call)

    async def fail() -> bool:
        (hook,) = explained("tokyo-1-settings", deployment(SHARED), "tokyo", "tokyo-1").on_error or []
        return bool(await hook(failed(errors, operation)))  # type: ignore[misc]

    # asyncio.run() would leave the recorded programs of other tests without a loop.
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        assert loop.run_until_complete(fail()) is False
    assert [f"ubuntu@{host}," in text for text in told] == ([True] if host else [])
