"""How often a host is dialled, and how the numbers tell a bastion from the node behind it."""

from __future__ import annotations

from typing import Any

import pytest

from components.session_hooks import SessionHooks
from components.ssh_connection import attempts, connection_args
from components.ssh_target import SshTarget
from plan.resolve import resolve
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, deployment, put

BASTION = {"host": "192.0.2.10", "host_key": HOST_KEY}


def test_waiting_for_a_host_has_a_limit() -> None:
    """More seconds are more attempts, and a second is at least two."""
    assert 2 <= attempts(1) < attempts(10) < attempts(120) < 60


@pytest.mark.parametrize(
    ("ssh", "created", "node", "bastion"),
    [
        ({}, False, attempts(3), None),
        ({"wait_seconds": 20}, False, attempts(20), None),
        ({}, True, attempts(120), None),
        ({"bastion": BASTION}, False, 0, attempts(3)),
        ({"bastion": BASTION, "wait_seconds": 20}, False, attempts(20) + 1, attempts(20)),
        ({"bastion": BASTION}, True, attempts(120) + 1, attempts(120)),
    ],
)
def test_behind_a_bastion_the_first_attempt_has_the_cause(
    ssh: dict[str, Any], created: bool, node: int, bastion: int | None
) -> None:
    """So there is only one, where nothing has to boot; and never as many as at the bastion itself."""
    base = CREATED if created else SHARED
    plan = resolve(deployment(changed(base, put("ssh", to=ssh)))).hosts["tokyo-1"]
    found: Any = connection_args(SshTarget(plan, "10.20.0.11", HOST_KEY, None, SessionHooks("registry")))
    assert found.dial_error_limit == node
    assert (found.proxy.dial_error_limit if found.proxy else None) == bastion
