"""Other sites than the default ones, each in a lab of its own."""

from __future__ import annotations

from pathlib import Path

from tests.lab.inside import inside


def test_two_nodes(tmp_path: Path) -> None:
    """Tokyo's application and Sidekiq run on nodes of their own; the second one has sshd on another port."""
    script = """
        print(ssh("tokyo-sidekiq", "hostname; sudo -n id -u").split())
        print(ssh("-p", "22", "tokyo-sidekiq", "hostname").split(": ")[-1].strip())
        for name in ("tokyo-web", "tokyo-sidekiq"):
            lines = lab.host(name).run("sv status /opt/gitlab/service/*").stdout.splitlines()
            print(name, [line.split("/")[4].split(":")[0] for line in lines if line.startswith("run:")])
        lab.host("tokyo-web").run("echo x >/var/opt/gitlab/geo-postgresql/shared")
        print(lab.host("tokyo-sidekiq").run("cat /var/opt/gitlab/geo-postgresql/shared").stdout.strip())
    """
    lines = inside(tmp_path / "lab", "two-nodes", script).splitlines()
    assert lines[0] == "['tokyo-sidekiq', '0']"
    assert lines[1] == "Connection refused"
    assert lines[2:4] == [
        "tokyo-web ['nginx', 'puma', 'registry']",
        "tokyo-sidekiq ['sidekiq']",
    ]
    assert lines[4] == "x"


def test_bastion(tmp_path: Path) -> None:
    """SSH to tokyo passes only through the bastion; its HTTPS, and london, are open as ever."""
    script = """
        print(ssh("tokyo-1", "hostname").strip())
        print(ssh("-J", "none", "tokyo-1", "hostname").split(": ")[-1].strip())
        print(ssh("london-1", "hostname").strip())
        print(lab.http_status("https://gitlab.tokyo.example.com/-/readiness"))
        print(lab.host("bastion").ssh_sessions(), lab.host("tokyo-1").ssh_sessions())
        lab.reset()
        print(ssh("tokyo-1", "hostname").strip())
    """
    lines = inside(tmp_path / "lab", "bastion", script).splitlines()
    assert lines == ["tokyo-1", "Connection refused", "london-1", "200", "1 1", "tokyo-1"]


def test_aws(tmp_path: Path) -> None:
    """No host at all, only the account: images to start, a zone for names, and nothing running."""
    script = """
        print(lab.hosts(), lab.instances())
        print(sorted(z["Name"] for z in lab.route53().list_hosted_zones()["HostedZones"]))
        print(lab.sts().get_caller_identity()["Arn"].split(":")[-1], lab.kms().list_keys()["Keys"])
        lab.reset()
    """
    lines = inside(tmp_path / "lab", "aws", script).splitlines()
    assert lines == ["[] {}", "['example.com.']", "user/admin []"]
