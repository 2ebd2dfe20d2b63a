"""Addresses and ways of created hosts: who is reached from where, and with which address it is seen."""

from __future__ import annotations

import pytest

from lab.api import Lab
from lab.cloud.addresses import WORKSTATION
from lab.cloud.instance import Instance
from lab.host import Host
from tests.lab.account import EVERYBODY, Account, Network, allow, fetch, meets, serve, shut

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


def test_addresses_are_motos(account: Account, hosts: dict[str, Instance]) -> None:
    """The private one on the host's device, in the subnet's range; the public one nowhere on the host."""
    found = account.ec2.describe_instances(InstanceIds=[hosts["london-1"].id])
    facts = found["Reservations"][0]["Instances"][0]
    shown = hosts["london-1"].run("ip -4 -o addr show dev eth0").stdout
    assert f" {facts['PrivateIpAddress']}/24 " in shown
    assert facts["PublicIpAddress"] == hosts["london-1"].address
    assert facts["PublicIpAddress"].startswith("203.0.113.")
    assert len({host.address for host in hosts.values()}) == 4


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


def test_an_elastic_ip_moves(account: Account, hosts: dict[str, Instance]) -> None:
    """To another instance; taken away it leads nowhere."""
    one, other = hosts["london-1"], hosts["london-2"]
    address = account.ec2.allocate_address(Domain="vpc")
    ip, allocation = address["PublicIp"], address["AllocationId"]
    former = account.ec2.describe_addresses(PublicIps=[other.address])["Addresses"][0]
    account.ec2.disassociate_address(AssociationId=former["AssociationId"])
    assert "PublicIpAddress" not in instance(account, other)
    account.associate(allocation, other.id)
    eventually(account.lab, "the address", WORKSTATION, lambda: meets(None, ip, PORT))
    assert instance(account, other)["PublicIpAddress"] == ip
    assert shut(None, other.address, PORT)
    other.run("touch /root/other")
    account.ec2.associate_address(AllocationId=allocation, InstanceId=one.id, AllowReassociation=True)
    assert "PublicIpAddress" not in instance(account, other)
    account.lab.instances()
    assert meets(one, hosts["tokyo-1"].address, PORT) == ip
    eventually(account.lab, "its new place", WORKSTATION, lambda: meets(None, ip, PORT))
    moved = account.ec2.describe_addresses(PublicIps=[ip])["Addresses"][0]
    account.ec2.disassociate_address(AssociationId=moved["AssociationId"])
    eventually(account.lab, "its end", True, lambda: shut(None, ip, PORT))
    # As it was.
    account.associate(former["AllocationId"], other.id)
    kept = account.ec2.describe_addresses(PublicIps=[one.address])["Addresses"][0]
    account.associate(kept["AllocationId"], one.id)
    eventually(account.lab, "the former one", WORKSTATION, lambda: meets(None, one.address, PORT))


def instance(account: Account, host: Instance) -> dict[str, object]:
    found = account.ec2.describe_instances(InstanceIds=[host.id])
    return dict(found["Reservations"][0]["Instances"][0])


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


def test_existing_hosts_and_created_ones_meet(lab: Lab, hosts: dict[str, Instance]) -> None:
    """An existing host is seen with its own address; it sees the other's public one."""
    if not lab.layout.sites:
        pytest.skip("this lab has no hosts of its own")
    existing = Host(lab.dir, lab.layout, *lab.layout.find("tokyo-1"))
    assert meets(existing, hosts["london-1"].address, PORT) == existing.address
    assert fetch(hosts["london-1"], "https://registry.tokyo.example.com/v2/").endswith("401")
    serve(existing, PORT)
    assert meets(hosts["london-1"], existing.address, PORT) == hosts["london-1"].address
    existing.run("pkill -f 'TCP[S]erver'")


def test_links_of_created_hosts_can_be_cut(lab: Lab, hosts: dict[str, Instance]) -> None:
    """As those of the lab's own."""
    lab.cut("london-2", "s3")
    assert fetch(hosts["london-2"], S3, seconds=0.5).endswith("000")
    assert fetch(hosts["london-1"], S3).endswith("403")
    lab.cut("london-2", "workstation")
    assert shut(None, hosts["london-2"].address, PORT)
    lab.heal()
    assert fetch(hosts["london-2"], S3).endswith("403")
    assert meets(None, hosts["london-2"].address, PORT) == WORKSTATION


def test_an_automatic_address_lasts_until_a_stop(account: Account, london: Network) -> None:
    """Out of another range than Elastic IPs, and another one after each start."""
    group = account.group(london, "automatic", allow("tcp", PORT, EVERYBODY))
    id = account.launch(  # noqa: A001
        london, "automatic", group, address=False, interface={"AssociatePublicIpAddress": True}
    )
    host = account.lab.instances()["automatic"]
    assert host.address.startswith("198.51.100.")
    serve(host, PORT)
    assert meets(None, host.address, PORT) == WORKSTATION
    account.ec2.stop_instances(InstanceIds=[id])
    account.ec2.start_instances(InstanceIds=[id])
    again = account.lab.instances()["automatic"]
    assert again.address.startswith("198.51.100.")
    assert again.address != host.address
    serve(again, PORT)
    assert meets(None, again.address, PORT) == WORKSTATION
    assert shut(None, host.address, PORT)
