"""Hosts have an IPv6 address too: SSH listens there, and cuts and the bastion's firewall hold for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api import Lab
from lab.host import Host
from lab.network import IPV6
from lab.providers import command
from lab.sites import host_key
from tests.lab.inside import inside
from tests.lab.providers.harness import REMOTE, Provider, serving

pytestmark = pytest.mark.skipif(not IPV6.exists(), reason="this kernel has no IPv6")


def ssh(address: str, *arguments: str) -> str:
    """What a command over SSH says, or why there was none."""
    line = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", address, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout.strip() or done.stderr.strip()


def reaches(host: Host, address: str, seconds: int = 10) -> bool:
    """Whether the host gets through to sshd at an address; it has no key for it."""
    shake = f"exec 3<>/dev/tcp/{address}/22; head -c 4 <&3"
    return host.run(["timeout", f"{seconds}", "bash", "-c", shake], check=False).stdout == "SSH-"


@pytest.fixture
def commands() -> Iterator[Provider]:
    with serving(command.servicer()) as provider:
        yield provider


def test_addresses(london: Host, tokyo: Host) -> None:
    """Of the digits of the IPv4 ones; on the hosts' own devices at once, and routed between the sites."""
    assert (london.address6, tokyo.address6) == ("fd10:10::11", "fd10:20::11")
    assert "fd10:10::11/64 scope global" in london.run("ip -6 addr show dev eth0").stdout
    assert "tentative" not in london.run("ip -6 addr show dev eth0").stdout
    assert ssh(london.address6, "hostname") == "london-1"
    assert reaches(london, tokyo.address6)


def test_the_host_key_is_known_there(london: Host) -> None:
    """It is the same key, and known_hosts has it for this address too."""
    scanned = subprocess.run(
        ["ssh-keyscan", "-6", london.address6], capture_output=True, text=True, check=True
    )
    assert f"{london.address6} {host_key('london-1')}\n" in scanned.stdout


def test_the_command_provider_takes_it_as_it_stands(london: Host, commands: Provider) -> None:
    """`host: fd10:10::11`, without brackets: pulumi-command joins host and port with net.JoinHostPort."""
    connection = {
        "host": london.address6,
        "user": "root",
        "hostKey": host_key("london-1"),
        "dialErrorLimit": 0,
    }
    connection["agentSocketPath"] = os.environ["SSH_AUTH_SOCK"]
    _, state, _ = commands.made(REMOTE, {"connection": connection, "create": "hostname"})
    assert state["stdout"] == "london-1"


def test_cuts_hold_for_it(fresh: Lab, london: Host, tokyo: Host) -> None:
    """Between sites, hosts and the workstation, and only between those."""
    fresh.cut("london", "tokyo")
    assert not reaches(london, tokyo.address6, seconds=1)
    assert not reaches(london, tokyo.address, seconds=1)
    assert ssh(london.address6, "hostname") == "london-1"
    fresh.heal()
    fresh.cut("workstation", "tokyo-1")
    assert "timed out" in ssh(tokyo.address6, "hostname")
    assert ssh(london.address6, "hostname") == "london-1"
    assert reaches(london, tokyo.address6)
    fresh.heal()
    assert ssh(tokyo.address6, "hostname") == "tokyo-1"


def test_the_bastion(tmp_path: Path) -> None:
    """The workstation's way to tokyo is closed for it too, and open through the bastion."""
    script = """
        tokyo = lab.host("tokyo-1").address6
        print(ssh(tokyo, "hostname").strip())
        print(ssh("-J", "none", tokyo, "hostname").split(": ")[-1].strip())
        print(ssh(lab.host("london-1").address6, "hostname").strip())
    """
    lines = inside(tmp_path / "lab", "bastion", script).splitlines()
    assert lines == ["tokyo-1", "Connection refused", "london-1"]
