"""Instances that are started at the lab's EC2 become hosts, and end as hosts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import botocore.exceptions
import pytest

from lab.api import Lab
from lab.cloud.account import VERSIONS
from lab.cloud.instance import Instance
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


def test_gitlab_is_installed_and_has_its_first_reconfigure_behind_it(host: Instance) -> None:
    """The package's own gitlab.rb, a generated key, no registry; databases are the host's own and empty."""
    assert host.reconfigures() == 1
    assert "\nexternal_url 'http" in host.read("/etc/gitlab/gitlab.rb").decode()
    assert host.exists("/etc/gitlab/gitlab-secrets.json")
    assert not host.exists("/var/opt/gitlab/registry/config.yml")
    assert host.services_down() == []
    assert host.run("sv status /opt/gitlab/service/registry").stdout.startswith("down")
    assert list(host.path("/var/opt/gitlab/postgresql").glob("*.json")) == []


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


@pytest.mark.parametrize("region", ["eu-west-1", "eu-west-2", "ap-northeast-1", "us-east-1"])
def test_images_are_found_as_on_aws(lab: Lab, account: Account, region: str) -> None:
    """By owner, name and architecture; anyone who leaves one of them out gets somebody else's."""
    names = [{"Name": "name", "Values": [f"GitLab EE {VERSIONS[1]}*"]}]
    everybodys = lab.ec2(region).describe_images(Filters=names)["Images"]
    newest = max(everybodys, key=lambda image: image["CreationDate"])
    assert newest["OwnerId"] != "782774275127"
    own = lab.ec2(region).describe_images(Filters=names, Owners=["782774275127"])["Images"]
    assert sorted((image["Name"], image["Architecture"]) for image in own) == [
        (f"GitLab EE {VERSIONS[1]}", "x86_64"),
        (f"GitLab EE {VERSIONS[1]} (ARM64)", "arm64"),
    ]


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
