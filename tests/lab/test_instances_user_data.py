"""User data at an instance's first boot: what cloud-init does with it."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from lab.cloud.instance import Instance
from tests.lab.account import SSH, Account, Network, ssh


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


def key_pair(directory: Path, name: str) -> tuple[str, str]:
    """A new ed25519 key: private and public half."""
    file = directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(file)], check=True)
    return file.read_text(), file.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, str], tuple[str, str]]:
    """(a host's key, a user's key)."""
    directory = tmp_path_factory.mktemp("keys")
    return key_pair(directory, "host"), key_pair(directory, "user")


@pytest.fixture(scope="module")
def host(account: Account, network: Network, keys: tuple[tuple[str, str], tuple[str, str]]) -> Instance:
    (private, public), (_, user) = keys
    indented = private.replace("\n", "\n    ").rstrip()
    data = f"""#cloud-config
hostname: london
ssh_deletekeys: true
ssh_genkeytypes: [ed25519]
ssh_keys:
  ed25519_private: |
    {indented}
  ed25519_public: {public}
users:
  - default
  - name: deploy
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys: ["{user}"]
write_files:
  - path: /etc/gitlab/note
    content: from user data
    owner: git:registry
    permissions: '0640'
  - {{path: /etc/secret, encoding: b64, content: c2VjcmV0}}
runcmd:
  - echo "as $(id -un)" >>/root/ran
  - [sh, -c, 'echo "$0" >>/root/ran', "two words"]
wireguard_tunnels: 3
"""
    account.launch(network, "london", account.group(network, "ssh", SSH), UserData=data)
    made = account.host("london")
    account.lab.wait(lambda: ssh(made, "true").returncode == 0, 10, "sshd")
    return made


def scanned(host: Instance) -> list[str]:
    """The host keys that sshd shows, without the address."""
    command = ["ssh-keyscan", "-T", "3", host.address]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.partition(" ")[2] for line in lines]


def test_host_keys_that_are_given_are_the_only_ones(
    host: Instance, keys: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    """From the first connection on, so that it can be verified."""
    assert scanned(host) == [keys[0][1]]
    assert host.path("/etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600


def test_accounts_files_and_name(host: Instance, keys: tuple[tuple[str, str], tuple[str, str]]) -> None:
    """Accounts with their keys and sudo, files with their owners, the host's name."""
    assert ssh(host, "hostname; cat /etc/hostname").stdout.split() == ["london", "london"]
    key = host.dir.parent / "user-key"
    key.write_text(keys[1][0])
    key.chmod(0o600)
    options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    alone = ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", str(key)]
    line = ["ssh", *options, *alone, f"deploy@{host.address}", "sudo -n id -un"]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == "root\n"
    key.unlink()
    shown = host.run("stat -c '%U:%G %a' /etc/gitlab/note; cat /etc/gitlab/note /etc/secret").stdout
    assert shown == "git:registry 640\nfrom user datasecret"


def test_commands_run_once(host: Instance, account: Account) -> None:
    """As root, at the first boot and at no other."""
    account.lab.wait(lambda: host.exists("/var/lib/cloud/instance/boot-finished"), 10, "the first boot")
    account.ec2.reboot_instances(InstanceIds=[host.id])
    account.lab.instances()["london"].wait_ready()
    assert host.read("/root/ran").decode() == "as root\ntwo words\n"


def test_unknown_keys_are_only_noted(host: Instance) -> None:
    """In cloud-init's log: nobody sees it who does not look there."""
    log = host.read("/var/log/cloud-init.log").decode()
    assert "[WARNING]: cloud-config failed schema validation!" in log
    assert "wireguard_tunnels" in log


def test_without_host_keys_random_ones_are_made(account: Account, network: Network) -> None:
    """Of all kinds, other ones on each host; a script as user data runs, compressed too."""
    group = account.group(network, "random", SSH)
    script = gzip.compress(b"#!/bin/sh\necho script >/root/ran\n")
    account.launch(network, "one", group, UserData=script)
    account.launch(network, "two", group)
    made = account.lab.instances()
    for name in ("one", "two"):
        account.lab.wait(lambda name=name: ssh(made[name], "true").returncode == 0, 10, "sshd")  # type: ignore[misc]
    one, two = scanned(made["one"]), scanned(made["two"])
    assert sorted(line.split()[0] for line in one) == ["ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"]
    assert not set(one) & set(two)
    account.lab.wait(lambda: made["one"].exists("/root/ran"), 10, "the script")


def test_nonsense_does_not_keep_a_host_from_booting(account: Account, network: Network) -> None:
    """As on AWS: the only trace is in the log."""
    account.launch(
        network, "odd", account.group(network, "odd"), UserData="#cloud-config\n{ [", address=False
    )
    host = account.lab.instances()["odd"]
    account.lab.wait(lambda: host.exists("/var/log/auth.log"), 10, "sshd")
    assert "Failed at merging in cloud config" in host.read("/var/log/cloud-init.log").decode()
