"""Run in a lab of its own: tokyo's port 22 is open to the bastion only."""

from __future__ import annotations

from typing import Any

from lab.api import Lab
from lab.sites import host_key
from tests.e2e.stack import Stack

AT_NODE = (
    "tokyo-1 (site tokyo): no SSH connection to ubuntu@10.20.0.11, port 22 through the bastion 10.99.1.10"
)
AT_BASTION = "tokyo-1 (site tokyo): no SSH connection to the bastion ubuntu@10.99.1.10, port 22"
MALLORY = (
    "tokyo-1 (site tokyo): no SSH connection to mallory@10.20.0.11, port 22 through the bastion 10.99.1.10"
)
MALLORY_THERE = "tokyo-1 (site tokyo): no SSH connection to the bastion mallory@10.99.1.10, port 22"


class Reported:
    """An `up` with some mistake on the way to tokyo, which is named with its cause and its own key."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._right = stack.file.read_text()

    def __call__(self, *expected: str, node: dict[str, Any] | None = None, **ssh: Any) -> None:
        def change(config: dict[str, Any]) -> None:
            tokyo = config["sites"]["tokyo"]
            tokyo["nodes"]["tokyo-1"].update(node or {})
            bastion = tokyo["ssh"]["bastion"] | ssh.pop("bastion", {})
            tokyo["ssh"].update(ssh, bastion=bastion)

        self._stack.configure(change)
        said = self._stack.fails()
        self._stack.file.write_text(self._right)
        for text in (*expected, "state: nothing was changed on this node"):
            assert text in said, f"{text!r} is not in\n{said}"


def main() -> None:
    """Without the bastion tokyo cannot be reached; through it, with its own host key pinned, it can."""
    lab = Lab.current()
    stack = Stack(lab, "existing")
    stack.configure(lambda c: c["ssh"].update(wait_seconds=1))
    assert "tokyo-1-settings" in stack.fails()
    stack.configure(lambda c: c["ssh"].pop("wait_seconds"))
    bastion: dict[str, Any] = {"host": "10.99.1.10", "host_key": host_key("bastion"), "user": "ubuntu"}
    stack.configure(lambda c: c["sites"]["tokyo"].update(ssh={"bastion": bastion}))
    mistakes(Reported(stack))
    before = lab.host("bastion").ssh_sessions()
    stack.up()
    assert lab.host("bastion").ssh_sessions() == before + 2
    digest = lab.push("london", "group/app:1", seed=b"1")
    assert lab.pull("tokyo", "group/app:1") == digest


def mistakes(reported: Reported) -> None:
    """Which of the two servers it was is said, and with what: the provider alone says EOF of the second."""
    wrong = host_key("london-1")
    node_key, own_key = "with `sites.tokyo.nodes.tokyo-1.host_key`", "with `ssh.bastion.host_key`"
    reported(AT_BASTION, "host key mismatch", own_key, bastion={"host_key": wrong})
    reported(
        MALLORY_THERE, "unable to authenticate", "`ssh.bastion.user` (mallory)", bastion={"user": "mallory"}
    )
    reported(AT_NODE, "host key mismatch", node_key, node={"host_key": wrong})
    reported(MALLORY, "unable to authenticate", "let `ssh.user` (mallory)", user="mallory")
    reported(
        AT_NODE,
        "cause: ssh: handshake failed: EOF",
        "`ssh -J ubuntu@10.99.1.10:22",
        node_key,
        node={"host_key": wrong},
        wait_seconds=1,
    )
    reported(AT_BASTION, "host key mismatch", own_key, bastion={"host_key": wrong}, wait_seconds=1)
    reported(
        AT_NODE.replace("port 22 ", "port 2222 "),
        "rejected: connect failed",
        "between it and the bastion",
        node={"ssh": {"port": 2222}},
    )
    reported(
        "tokyo-9.example.com",
        "Name or service not known",
        "resolved at the bastion",
        node={"host": "tokyo-9.example.com"},
    )


if __name__ == "__main__":
    main()
