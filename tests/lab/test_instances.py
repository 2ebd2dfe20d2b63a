"""Instances that are started at the lab's EC2 become hosts, and end as hosts."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import botocore.exceptions
import pytest

from lab.api import Lab
from lab.cloud.instance import BOOT_SECONDS, Instance
from lab.services import reset_aws
from tests.lab.account import SSH, Account, Network, ssh


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


@pytest.fixture(scope="module")
def host(account: Account, network: Network) -> Instance:
    """A host as GitLab's image makes it, ready."""
    account.launch(network, "london-new", account.group(network, "ssh", SSH))
    made = account.host("london-new")
    made.wait_ready()
    return made


def test_an_instance_boots_at_once(account: Account, network: Network) -> None:
    """Its host is there when the call returns, its sshd answers somewhat later, as on EC2."""
    group = account.group(network, "quick", SSH)
    began = time.monotonic()
    account.launch(network, "quick", group)
    made = account.lab.instances()["quick"]
    assert made.is_up()
    said = ssh(made, "true").stderr
    assert "Connection refused" in said or time.monotonic() - began > float(BOOT_SECONDS), said
    account.lab.wait(lambda: ssh(made, "true").returncode == 0, 10, "sshd")


def test_the_key_pair_opens_the_images_account(host: Instance) -> None:
    """`ubuntu` with sudo, as on GitLab's images; root is sent away."""
    assert ssh(host, "id -un; sudo -n id -un; hostname").stdout.split()[:2] == ["ubuntu", "root"]
    # It says so, and then waits ten seconds: too long for a test.
    assert "Please login as the user" in host.read("/root/.ssh/authorized_keys").decode()


def test_gitlab_is_installed_and_has_its_first_reconfigure_behind_it(host: Instance) -> None:
    """The package's own gitlab.rb, a generated key, no registry; databases are the host's own and empty."""
    assert host.reconfigures() == 1
    assert "\nexternal_url 'http" in host.read("/etc/gitlab/gitlab.rb").decode()
    assert host.exists("/etc/gitlab/gitlab-secrets.json")
    assert not host.exists("/var/opt/gitlab/registry/config.yml")
    assert host.services_down() == []
    assert host.run("sv status /opt/gitlab/service/registry").stdout.startswith("down")
    assert list(host.path("/var/opt/gitlab/postgresql").glob("*.json")) == []


def test_without_a_name_the_id_is_the_name(account: Account, network: Network) -> None:
    """Lab.host finds it, too."""
    id = account.launch(network, None, account.group(network, "none"), address=False)  # noqa: A001
    assert account.lab.host(id).run("id -un").stdout == "root\n"


def test_stop_start_and_reboot_keep_the_files(host: Instance, account: Account) -> None:
    """What is on the disk stays, what is in memory does not; nothing is configured a second time."""
    ids = [host.id]
    host.run("echo kept >/etc/gitlab/kept; echo lost >/run/lost")
    account.ec2.reboot_instances(InstanceIds=ids)
    assert account.lab.host("london-new").is_up()
    host.wait_ready()
    assert ssh(host, "cat /etc/gitlab/kept /run/lost").stdout == "kept\n"
    account.ec2.stop_instances(InstanceIds=ids)
    assert "london-new" not in account.lab.instances()
    assert not host.is_up()
    assert ssh(host, "true").returncode == 255
    account.ec2.start_instances(InstanceIds=ids)
    account.lab.host("london-new").wait_ready()
    assert ssh(host, "cat /etc/gitlab/kept").stdout == "kept\n"
    assert host.reconfigures() == 1


def test_a_terminated_instance_is_gone(account: Account, network: Network) -> None:
    """With its processes, its files and its network; the address answers no more."""
    id = account.launch(network, "short", account.group(network, "short", SSH))  # noqa: A001
    host = account.lab.instances()["short"]
    account.lab.wait(lambda: ssh(host, "true").returncode == 0, 10, "sshd")
    account.ec2.terminate_instances(InstanceIds=[id])
    assert "short" not in account.lab.instances()
    assert not host.is_up()
    assert not host.dir.exists()
    assert not Path(f"/run/netns/{id}").exists()
    assert ssh(host, "true").returncode == 255


def test_the_newer_of_two_has_the_name(account: Account, network: Network) -> None:
    """A replacement is started before the former one ends."""
    group = account.group(network, "twins")
    first = account.launch(network, "twin", group, address=False)
    second = account.launch(network, "twin", group, address=False)
    assert account.lab.instances()["twin"].id == second
    account.ec2.terminate_instances(InstanceIds=[first])
    assert account.lab.instances()["twin"].id == second


@pytest.mark.parametrize("region", ["eu-west-1", "eu-west-2", "ap-northeast-1", "us-east-1"])
def test_images_are_found_as_on_aws(lab: Lab, account: Account, region: str) -> None:
    """By owner, name and architecture; whoever leaves one of them out gets somebody else's."""
    names = [{"Name": "name", "Values": ["GitLab EE 18.11.1*"]}]
    everybodys = lab.ec2(region).describe_images(Filters=names)["Images"]
    newest = max(everybodys, key=lambda image: image["CreationDate"])
    assert newest["OwnerId"] != "782774275127"
    own = lab.ec2(region).describe_images(Filters=names, Owners=["782774275127"])["Images"]
    assert sorted((image["Name"], image["Architecture"]) for image in own) == [
        ("GitLab EE 18.11.1", "x86_64"),
        ("GitLab EE 18.11.1 (ARM64)", "arm64"),
    ]


def test_image_ids_differ_between_regions(lab: Lab, account: Account) -> None:
    """And a region without GitLab's images has none."""
    ids = {
        image["ImageId"]
        for region in ("eu-west-1", "ap-northeast-1")
        for image in lab.ec2(region).describe_images(Owners=["782774275127"])["Images"]
    }
    assert len(ids) == 2 * 8
    assert lab.ec2("sa-east-1").describe_images(Owners=["782774275127"])["Images"] == []


def test_calls_can_be_made_to_fail(account: Account, network: Network) -> None:
    """As often as ordered, other calls not; then all is as before."""
    group = account.group(network, "failing")
    account.lab.fail("RunInstances", "UnauthorizedOperation", "You are not authorized")
    with pytest.raises(botocore.exceptions.ClientError, match=r"UnauthorizedOperation.*not authorized"):
        account.launch(network, "failing", group)
    account.launch(network, "failing", group, address=False)
    account.lab.fail("CreateRole", "LimitExceeded", times=2)
    with pytest.raises(botocore.exceptions.ClientError, match="LimitExceeded"):
        account.profile("failing")
    reset_aws()
    Account(account.lab).profile("failing")


def test_a_reset_takes_all_hosts(account: Account) -> None:
    """Nothing is left of them: no process, no mount, no network."""
    again = Account(account.lab) if not account.ec2.describe_key_pairs()["KeyPairs"] else account
    network = again.network("10.41.0.0/16", "10.41.1.0/24")
    again.launch(network, "last", again.group(network, "last"))
    assert account.lab.instances()["last"].is_up()
    before = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert "i-" in before
    reset_aws()
    assert account.lab.instances() == {}
    after = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert "i-" not in after
    assert "vpc-" not in after
    assert "/hosts/i-" not in Path("/proc/self/mounts").read_text()
