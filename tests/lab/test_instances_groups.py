"""Security groups of created hosts are enforced, both ways, and changes of them at once."""

from __future__ import annotations

import socket
import struct

import pytest

from lab.cloud.instance import Instance
from tests.lab.account import EVERYBODY, OUTWARD, SSH, Account, Network, allow, fetch, meets, serve, shut, ssh

PORT, OTHER = 7000, 7001
WORKSTATION_ONLY = "198.51.100.7/32"
S3 = "https://s3.eu-west-1.amazonaws.com/"


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


def started(account: Account, name: str) -> Instance:
    host = account.lab.instances()[name]
    serve(host, PORT)
    serve(host, OTHER)
    return host


@pytest.fixture(scope="module")
def groups(account: Account, network: Network) -> dict[str, str]:
    """Group ids: `client` (nothing inward), `server` (PORT from `client`)."""
    client = account.group(network, "client")
    return {"client": client, "server": account.group(network, "server", allow("tcp", PORT, client))}


@pytest.fixture(scope="module")
def server(account: Account, network: Network, groups: dict[str, str]) -> Instance:
    account.launch(network, "server", groups["server"])
    return started(account, "server")


@pytest.fixture(scope="module")
def client(account: Account, network: Network, groups: dict[str, str]) -> Instance:
    account.launch(network, "client", groups["client"])
    return started(account, "client")


def soon(account: Account, what: str, ask: object, wanted: object) -> None:
    """At once, and within ten seconds on a machine that has other work."""
    assert callable(ask)
    account.lab.wait(lambda: ask() == wanted, 10, what)
    account.lab.instances()  # A wanted silence may have been slowness: now the change is there.


def test_closed_until_opened_and_again(account: Account, server: Instance, groups: dict[str, str]) -> None:
    """A rule for the workstation's address and one port opens just that, and is gone with the rule."""
    rule = allow("tcp", PORT, WORKSTATION_ONLY)
    assert shut(None, server.address, PORT)
    account.ec2.authorize_security_group_ingress(GroupId=groups["server"], IpPermissions=[rule])
    soon(account, "the rule", lambda: meets(None, server.address, PORT), "198.51.100.7")
    assert shut(None, server.address, OTHER)
    account.ec2.revoke_security_group_ingress(GroupId=groups["server"], IpPermissions=[rule])
    soon(account, "its end", lambda: shut(None, server.address, PORT), True)


def test_another_address_is_not_let_in(account: Account, server: Instance, groups: dict[str, str]) -> None:
    """Ranges are looked at."""
    rule = allow("tcp", PORT, "198.51.100.8/32", "192.0.2.0/24")
    account.ec2.authorize_security_group_ingress(GroupId=groups["server"], IpPermissions=[rule])
    account.lab.instances()
    assert shut(None, server.address, PORT)
    account.ec2.revoke_security_group_ingress(GroupId=groups["server"], IpPermissions=[rule])


def test_a_group_that_is_named_means_private_addresses(client: Instance, server: Instance) -> None:
    """Members of the group come in by the private address; by the public one they are strangers, as on AWS."""
    assert meets(client, server.private_address, PORT) == client.private_address
    assert shut(client, server.private_address, OTHER)
    assert shut(client, server.address, PORT)
    assert shut(server, client.private_address, PORT)


def test_rules_of_several_groups_add_up(
    account: Account, network: Network, client: Instance, server: Instance, groups: dict[str, str]
) -> None:
    """A further group opens more, without it everything is as before."""
    extra = account.group(network, "extra", allow("tcp", OTHER, EVERYBODY))
    account.ec2.modify_instance_attribute(InstanceId=server.id, Groups=[groups["server"], extra])
    soon(account, "both groups", lambda: meets(None, server.address, OTHER), "198.51.100.7")
    assert meets(client, server.private_address, PORT) == client.private_address
    account.ec2.modify_instance_attribute(InstanceId=server.id, Groups=[extra])
    soon(account, "one group", lambda: shut(client, server.private_address, PORT), True)
    account.ec2.modify_instance_attribute(InstanceId=server.id, Groups=[groups["server"]])
    soon(
        account,
        "the first group",
        lambda: meets(client, server.private_address, PORT),
        client.private_address,
    )
    assert shut(None, server.address, OTHER)


def test_egress_is_enforced(
    account: Account, client: Instance, server: Instance, groups: dict[str, str]
) -> None:
    """What may not go out does not; answers to what came in do, so do names and the metadata service."""
    rules = {"GroupId": groups["client"]}
    account.ec2.authorize_security_group_ingress(**rules, IpPermissions=[SSH])
    account.lab.wait(lambda: ssh(client, "true").returncode == 0, 10, "sshd")
    assert fetch(client, S3).endswith("403")
    account.ec2.revoke_security_group_egress(**rules, IpPermissions=[OUTWARD])
    soon(account, "no way out", lambda: shut(client, server.private_address, PORT), True)
    assert fetch(client, S3, seconds=0.5).endswith("000")
    assert ssh(client, "echo in").stdout == "in\n"
    assert client.run("getent hosts s3.eu-west-1.amazonaws.com").returncode == 0
    assert fetch(client, "http://127.0.0.169/latest/meta-data/instance-id") == f"{client.id}200"
    account.ec2.authorize_security_group_egress(**rules, IpPermissions=[allow("tcp", 443, EVERYBODY)])
    soon(account, "HTTPS", lambda: fetch(client, S3).endswith("403"), True)
    assert shut(client, server.private_address, PORT)
    account.ec2.authorize_security_group_egress(**rules, IpPermissions=[OUTWARD])
    soon(account, "all", lambda: meets(client, server.private_address, PORT), client.private_address)


def test_protocols_and_ranges_of_ports(account: Account, server: Instance, groups: dict[str, str]) -> None:
    """UDP's rule opens no TCP port, ICMP's lets pings in, a range opens what is in it, -1 everything."""
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYBODY}]}
    spread = {"IpProtocol": "tcp", "FromPort": 6000, "ToPort": PORT, "IpRanges": [{"CidrIp": EVERYBODY}]}
    icmp = {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": EVERYBODY}]}
    rules = {"udp": allow("udp", PORT, EVERYBODY), "icmp": icmp, "range": spread, "-1": everything}
    opened = {
        "udp": (False, False, False),
        "icmp": (False, False, True),
        "range": (True, False, False),
        "-1": (True, True, True),
    }
    assert opened.keys() == rules.keys()
    for number, (name, rule) in enumerate(rules.items()):
        account.ec2.authorize_security_group_ingress(GroupId=groups["server"], IpPermissions=[rule])
        account.lab.instances()
        seconds = [10 if answers else 0.3 for answers in opened[name]]
        ports = [bool(meets(None, server.address, *way)) for way in zip((PORT, OTHER), seconds, strict=False)]
        assert (*ports, ping(server.address, number, seconds[2])) == opened[name]
        account.ec2.revoke_security_group_ingress(GroupId=groups["server"], IpPermissions=[rule])


def ping(address: str, number: int, seconds: float) -> bool:
    """An ICMP echo from the workstation; the number tells it from others, whose answers could still come in."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(seconds)
        # Type, code, checksum, id, sequence: all words together make 0xffff.
        raw.sendto(struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - number, number, 0), (address, 0))
        try:
            return bool(raw.recv(100)[20] == 0)
        except TimeoutError:
            return False
