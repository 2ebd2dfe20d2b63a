"""Addresses and ways of created hosts: who is reached from where, and with which address it is seen."""

from __future__ import annotations

import pytest

from lab.api import Lab
from lab.cloud.addresses import WORKSTATION
from lab.cloud.instance import Instance
from tests.lab.account import EVERYBODY, Account, Network, fetch, meets, serve, shut

PORT = 7000
S3 = "https://s3.eu-west-1.amazonaws.com/"


def eventually(lab: Lab, what: str, wanted: object, ask: object) -> None:
    """At once, and within ten seconds on a machine that has other work."""
    assert callable(ask)
    lab.wait(lambda: ask() == wanted, 10, what)
    lab.instances()  # A wanted silence may have been slowness: now the change is there.


@pytest.fixture(scope="module")
def london(account: Account) -> Network:
    return account.network("10.40.0.0/16", "10.40.1.0/24")


@pytest.fixture(scope="module")
def hosts(account: Account, london: Network) -> dict[str, Instance]:
    """Two hosts with public addresses and one without in london; one in tokyo, in the same range."""
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYBODY}]}
    group = account.group(london, "open", everything)
    account.launch(london, "london-1", group)
    account.launch(london, "london-2", group)
    account.launch(london, "hidden", group, address=False)
    there = Account(account.lab, "ap-northeast-1")
    tokyo = there.network("10.40.0.0/16", "10.40.1.0/24")
    there.launch(tokyo, "tokyo-1", there.group(tokyo, "open", everything))
    made = account.lab.instances()
    for host in made.values():
        serve(host, PORT)
    return made


def test_public_addresses_are_reached_and_seen(hosts: dict[str, Instance]) -> None:
    """From the workstation, from another VPC, from the own one, from itself: always with the public address."""
    target = hosts["london-1"].address
    assert meets(None, target, PORT) == WORKSTATION
    for name in ("tokyo-1", "london-2", "london-1"):
        assert meets(hosts[name], target, PORT) == hosts[name].address


def test_private_addresses_are_for_the_own_vpc(hosts: dict[str, Instance]) -> None:
    """Another VPC's are not reached, even where its range is the same one."""
    private = hosts["london-2"].private_address
    assert meets(hosts["london-1"], private, PORT) == hosts["london-1"].private_address
    assert meets(hosts["hidden"], private, PORT) == hosts["hidden"].private_address
    # tokyo-1 has this neighbour's address only if it is its own network's.
    assert hosts["tokyo-1"].private_address == hosts["london-1"].private_address
    assert shut(hosts["tokyo-1"], private, PORT)
    assert shut(None, private, PORT)


def test_without_a_public_address_there_is_no_internet(hosts: dict[str, Instance]) -> None:
    """But names are resolved: AWS' resolver is in the VPC."""
    assert fetch(hosts["london-1"], S3).endswith("403")
    assert fetch(hosts["hidden"], S3, seconds=0.5).endswith("000")
    assert hosts["hidden"].run("getent hosts s3.eu-west-1.amazonaws.com").stdout.startswith("10.99.0.9")
    assert hosts["hidden"].read("/etc/resolv.conf").decode() == "nameserver 10.40.0.2\n"


def test_the_route_to_the_gateway_is_needed(
    account: Account, london: Network, hosts: dict[str, Instance]
) -> None:
    """Without it, or with the gateway detached, nobody comes in and nothing gets out."""
    host = hosts["london-1"]
    assert meets(None, host.address, PORT) == WORKSTATION
    account.ec2.delete_route(RouteTableId=london.routes, DestinationCidrBlock=EVERYBODY)
    eventually(account.lab, "no way in", True, lambda: shut(None, host.address, PORT))
    assert fetch(host, S3, seconds=0.5).endswith("000")
    account.ec2.create_route(
        RouteTableId=london.routes, DestinationCidrBlock=EVERYBODY, GatewayId=london.gateway
    )
    eventually(account.lab, "the way in", WORKSTATION, lambda: meets(None, host.address, PORT))
    account.ec2.detach_internet_gateway(InternetGatewayId=london.gateway, VpcId=london.vpc)
    eventually(account.lab, "no gateway", True, lambda: shut(None, host.address, PORT))
    account.ec2.attach_internet_gateway(InternetGatewayId=london.gateway, VpcId=london.vpc)
    eventually(account.lab, "the gateway", WORKSTATION, lambda: meets(None, host.address, PORT))
