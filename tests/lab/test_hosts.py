"""The lab's hosts are like real servers: SSH, sudo, a disk, a power switch, links."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from lab.api import Lab
from lab.host import CommandFailed, Host
from lab.services import wait_for
from lab.sites import host_key

CURL = ["curl", "--silent", "--insecure", "--max-time"]


def ssh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The machine's own ssh with the operator's configuration."""
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def reaches(host: Host, url: str, seconds: int = 10) -> bool:
    """Whether the host gets any answer from this URL."""
    return host.run([*CURL, f"{seconds}", url], check=False).returncode == 0


def test_ssh_as_ubuntu_with_sudo(london: Host) -> None:
    """The operator's key opens the account `ubuntu`, which may become root without a password."""
    before = london.ssh_sessions()
    assert ssh("london-1", "id -un && sudo -n id -un && hostname").stdout.split() == [
        "ubuntu",
        "root",
        "london-1",
    ]
    assert london.ssh_sessions() == before + 1


def test_ssh_as_root(london: Host) -> None:
    """Root may log in, with a key."""
    assert ssh("-l", "root", london.address, "id -u").stdout == "0\n"


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


@pytest.mark.parametrize("name", ["london-1", "tokyo-1"])
def test_host_keys_are_known_beforehand(fresh: Lab, name: str) -> None:
    """The host key follows from the node's name, so a committed stack can pin it."""
    host = fresh.host(name)
    scanned = subprocess.run(["ssh-keyscan", host.address], capture_output=True, text=True, check=True).stdout
    assert f"{host.address} {host_key(name)}\n" in scanned


def test_files_and_commands(london: Host) -> None:
    """`run`, `read` and `write` work on the same files, with owner, mode and standard input."""
    london.run("cat >/etc/gitlab/note && chown git /etc/gitlab/note", input="text ü\n")
    assert london.read("/etc/gitlab/note").decode() == "text ü\n"
    london.write("/etc/gitlab/note", b"new\n", 0o600)
    assert london.run("stat -c '%U %a' /etc/gitlab/note").stdout == "git 600\n"
    assert london.run("id -un", user="git").stdout == "git\n"
    with pytest.raises(CommandFailed, match="no such luck"):
        london.run("echo no such luck >&2; exit 3")
    with pytest.raises(CommandFailed) as long:
        london.run("seq 500; exit 3")
    assert str(long.value).endswith("\n499\n500")
    assert "\n300\n" not in str(long.value)
    assert long.value.stdout.startswith("1\n2\n")


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


def test_databases_are_replicated_one_way(london: Host, tokyo: Host) -> None:
    """A secondary sees the primary's database at once and cannot write to it; its tracking database is its own."""
    london.run("echo row >/var/opt/gitlab/postgresql/table")
    assert tokyo.read("/etc/hostname")
    assert tokyo.run("cat /var/opt/gitlab/postgresql/table").stdout == "row\n"
    refused = tokyo.run("echo row >>/var/opt/gitlab/postgresql/table", check=False)
    assert "Read-only file system" in refused.stderr
    tokyo.run("echo synced >/var/opt/gitlab/geo-postgresql/state")
    assert not london.run("cat /var/opt/gitlab/geo-postgresql/state", check=False).stdout


def test_power_off_and_on(london: Host) -> None:
    """A host without power does not answer; its files are there when it is back, /tmp is not."""
    london.run("echo kept >/etc/gitlab/kept; echo lost >/tmp/lost")
    assert ssh("london-1", "true").returncode == 0
    london.stop()
    assert "No route to host" in ssh("london-1", "true").stderr
    london.start()
    assert ssh("london-1", "cat /etc/gitlab/kept; ls /tmp").stdout == "kept\n"
    london.wait_ready()


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


def test_names(london: Host) -> None:
    """The sites' names and AWS resolve; the rest of the world does not exist."""
    name = "getent ahostsv4 {} | cut -d' ' -f1 | sort -u"
    assert london.run(name.format("registry.tokyo.example.com")).stdout == "10.20.0.11\n"
    assert london.run(name.format("bucket.s3.eu-west-1.amazonaws.com")).stdout == "10.99.0.9\n"
    assert not london.run(name.format("www.debian.org")).stdout


def test_the_lab_ca_is_trusted(fresh: Lab, london: Host) -> None:
    """Hosts and workstation verify each other's certificates, with OpenSSL as with curl."""
    assert fresh.http_status("https://registry.tokyo.example.com/v2/") == 401
    london.run("curl --fail --silent --output /dev/null https://gitlab.tokyo.example.com/-/readiness")
    ruby = "require 'net/http'; exit Net::HTTP.get_response(URI('https://gitlab.tokyo.example.com/-/readiness')).code == '200'"
    london.run(["/opt/gitlab/embedded/bin/ruby", "-e", ruby])
