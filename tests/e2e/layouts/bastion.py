"""Run in a lab of its own: tokyo's port 22 is open to the bastion only."""

from __future__ import annotations

from typing import Any

from lab.api import Lab
from lab.sites import host_key
from tests.e2e.stack import Stack


def main() -> None:
    """Without the bastion tokyo cannot be reached; through it, with its own host key pinned, it can."""
    lab = Lab.current()
    stack = Stack(lab, "existing")
    stack.configure(lambda c: c["ssh"].update(wait_seconds=1))
    assert "tokyo-1-settings" in stack.fails()
    bastion: dict[str, Any] = {"host": "10.99.1.10", "host_key": host_key("london-1"), "user": "ubuntu"}
    stack.configure(lambda c: c["sites"]["tokyo"].update(ssh={"bastion": bastion}))
    assert "tokyo-1-settings" in stack.fails(), "a bastion with another host key is not used"
    bastion["host_key"] = host_key("bastion")
    stack.configure(lambda c: c["sites"]["tokyo"].update(ssh={"bastion": bastion}))
    stack.up()
    assert lab.host("bastion").ssh_sessions() == 1
    digest = lab.push("london", "group/app:1", seed=b"1")
    assert lab.pull("tokyo", "group/app:1") == digest


if __name__ == "__main__":
    main()
