"""The lab's hosts are like real servers: SSH, sudo, a disk, a power switch, links."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from lab.api import Lab
from lab.host import Host
from lab.services import wait_for

CURL = ["curl", "--silent", "--insecure", "--max-time"]


def ssh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The machine's own ssh with the operator's configuration."""
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def reaches(host: Host, url: str, seconds: int = 10) -> bool:
    """Whether the host gets any answer from this URL."""
    return host.run([*CURL, f"{seconds}", url], check=False).returncode == 0


def test_other_keys_are_refused(london: Host) -> None:
    """Without the operator's key nobody gets in."""
    done = ssh("-o", "IdentityAgent=none", "-o", "IdentityFile=/dev/null", "london-1", "true")
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_only_lang_comes_in(london: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """sshd takes LANG from a client and no other variable, as production servers do."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("OTHER", "x")
    seen = ssh("-o", "SendEnv=LANG LC_ALL OTHER", "london-1", "env").stdout.splitlines()
    assert "LANG=C.UTF-8" in seen
    assert not [line for line in seen if line.startswith(("LC_ALL=", "OTHER="))]


def test_a_command_that_takes_too_long_is_ended(london: Host) -> None:
    """`timeout` ends the command on the host too, not only the waiting for it."""
    with pytest.raises(subprocess.TimeoutExpired):
        london.run("sleep 4321; true", timeout=0.5)
    assert not [line for line in london.processes() if "sleep 4321" in line]


def test_processes_show_arguments_and_environment(london: Host) -> None:
    """What `ps` could show of a secret is found, and only on the host it is on."""
    command = ["ssh", "london-1", "VALUE=in-the-environment cat - an-argument"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL):  # Its end ends `cat`.
        wait_for(lambda: any("cat - an-argument" in line for line in london.processes()), "the command", 10)
        shown = "VALUE=in-the-environment"  # By `cat`, not by the shell that is about to become it.
        wait_for(lambda: any(shown in line for line in london.processes(environ=True)), "its environment", 10)


def test_the_machine_itself_is_out_of_reach(london: Host) -> None:
    """Root on a host cannot write to the machine's /usr, and does not see its files."""
    assert london.run("touch /usr/bin/x", check=False).returncode != 0
    assert london.run("ls /home").stdout == "ubuntu\n"


def test_a_full_disk_and_its_end(tokyo: Host) -> None:
    """With a full disk every write below /etc and /var/opt fails, until there is space again."""
    paths = ["/etc/gitlab/x", "/var/opt/gitlab/x", "/opt/gitlab/x", "/root/x"]
    tokyo.fill_disk()
    for path in paths:
        assert "No space left" in tokyo.run(["cp", "/etc/passwd", path], check=False).stderr
    tokyo.free_disk()
    for path in paths:
        tokyo.run(["cp", "/etc/passwd", path])


def test_reset_is_factory_state(london: Host, record_property: Callable[[str, object], None]) -> None:
    """`reset` undoes what was done to a host."""
    before = london.read("/etc/gitlab/gitlab.rb"), london.reconfigures()
    london.run(
        "echo >/etc/gitlab/gitlab.rb; rm -r /etc/gitlab/ssl; touch /var/opt/x; useradd mallory || true"
    )
    london.fill_disk()
    began = time.monotonic()
    london.reset()
    record_property("measured", f"reset of a host: {time.monotonic() - began:.1f} s")
    assert (london.read("/etc/gitlab/gitlab.rb"), london.reconfigures()) == before
    assert london.exists("/etc/gitlab/ssl/gitlab.london.example.com.key")
    assert not london.exists("/var/opt/x")
    assert ssh("london-1", "sudo -n id -u").stdout == "0\n"


def test_cut_links(fresh: Lab, london: Host, tokyo: Host) -> None:
    """A cut stops exactly the traffic between its two ends."""
    to_tokyo, to_s3 = "https://registry.tokyo.example.com/v2/", "https://s3.eu-west-1.amazonaws.com/"
    assert reaches(london, to_tokyo)
    assert reaches(london, to_s3)
    fresh.cut("london", "tokyo")
    assert not reaches(london, to_tokyo, seconds=1)
    assert reaches(london, to_s3)
    assert ssh("london-1", "true").returncode == 0
    fresh.heal()
    fresh.cut("london-1", "s3")
    assert reaches(london, to_tokyo)
    assert not reaches(london, to_s3, seconds=1)
    assert reaches(tokyo, to_s3)
    fresh.heal()
    assert reaches(london, to_s3)
    with pytest.raises(KeyError, match="no host 'paris' in this lab, only london-1, tokyo-1"):
        fresh.cut("london", "paris")
