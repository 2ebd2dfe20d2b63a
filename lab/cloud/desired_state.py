"""The desired state of the lab, from moto's EC2 and Route 53: instances, networks, firewalls, names."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.route53.models import route53_backends

from lab.cloud import rules

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Machine:
    """An instance that is not terminated. `cidr` is its subnet's range, `rules` the sum of its groups."""

    id: str
    name: str
    region: str
    image: str
    power: bool
    private: str
    public: str | None
    vpc: str
    subnet: str
    cidr: str
    resolver: str
    rules: tuple[rules.Rule, ...]
    booted: int
    """Changes with each start and reboot."""


@dataclass(frozen=True)
class Network:
    """A VPC with instances. `public` has the (public, private) pairs that the internet gateway translates."""

    id: str
    cidr: str
    subnets: tuple[tuple[str, str], ...]
    public: tuple[tuple[str, str], ...]

    @property
    def resolver(self) -> str:
        """AWS's DNS resolver: the third address of the range."""
        return str(ipaddress.ip_network(self.cidr)[2])


@dataclass(frozen=True)
class Wanted:
    """All of it."""

    machines: dict[str, Machine]
    networks: dict[str, Network]
    names: tuple[tuple[str, str], ...]


def read() -> Wanted:
    """The current state of moto."""
    for _ in range(20):
        try:
            return _read()
        except RuntimeError:
            continue  # A dictionary changed while it was being read.
    return _read()


def _read() -> Wanted:
    machines: dict[str, Machine] = {}
    networks: dict[str, Network] = {}
    for backend in _backends():
        alive = [one for one in _instances(backend) if one.state != "terminated" and one.subnet_id]
        for instance in alive:
            machines[instance.id] = _machine(backend, instance)
        for vpc in {instance.vpc_id for instance in alive}:
            networks[str(vpc)] = _network(backend, str(vpc), [one for one in alive if one.vpc_id == vpc])
    return Wanted(machines, networks, tuple(sorted(_names())))


def instance(id: str) -> Instance | None:
    """moto's own object."""
    for backend in _backends():
        for one in _instances(backend):
            if one.id == id:
                return one
    return None


def user_data(id: str) -> bytes:
    """The instance's user data as provided; b"" without."""
    found = instance(id)
    data = found.user_data if found is not None else None
    return base64.b64decode(data.as_bytes()) if data else b""


def public_key(id: str) -> str:
    """The instance's key pair as a line of authorized_keys, "" without."""
    found = instance(id)
    pair = found.ec2_backend.key_pairs.get(found.key_name) if found is not None and found.key_name else None
    if pair is None:
        return ""
    kind, key, *_ = pair.public_key.split()
    return f"{kind} {key} {pair.key_name}\n"


def _backends() -> Iterator[Any]:
    for regions in list(ec2_backends.values()):
        yield from list(regions.values())


def _instances(backend: Any) -> list[Instance]:
    return [one for reservation in list(backend.reservations.values()) for one in list(reservation.instances)]


def _tag(thing: Any, key: str) -> str | None:
    return next((tag["value"] for tag in thing.get_tags() if tag["key"] == key), None)


def _machine(backend: Any, one: Instance) -> Machine:
    interface = one.nics[0]
    subnet = interface.subnet
    vpc = backend.get_vpc(subnet.vpc_id)
    image = backend.amis.get(one.image_id)
    return Machine(
        id=one.id,
        name=_tag(one, "Name") or one.id,
        region=backend.region_name,
        image=(image.name if image is not None else None) or one.image_id,
        power=one.state in {"pending", "running"},
        private=str(interface.private_ip_address),
        public=_public(backend, one),
        vpc=vpc.id,
        subnet=subnet.id,
        cidr=str(subnet.cidr_block),
        resolver=str(ipaddress.ip_network(vpc.cidr_block)[2]),
        rules=rules.of(one, _instances(backend)),
        booted=getattr(one, "lab_boots", 0),
    )


def _public(backend: Any, one: Instance) -> str | None:
    """Elastic IPs by owner: moto's interfaces keep them for too long."""
    elastic = {address.public_ip: address for address in list(backend.addresses)}
    for address in elastic.values():
        if address.eni is not None and address.eni.instance is one:
            return str(address.public_ip)
    own = one.nics[0].public_ip
    return own if own and own not in elastic and one.state != "stopped" else None


# -- networks


def _network(backend: Any, vpc: str, machines: list[Instance]) -> Network:
    subnets = {str(one.nics[0].subnet.id): str(one.nics[0].subnet.cidr_block) for one in machines}
    outward = {subnet for subnet in subnets if _has_gateway(backend, vpc, subnet)}
    public = [
        (address, str(one.nics[0].private_ip_address))
        for one in machines
        if one.nics[0].subnet.id in outward and (address := _public(backend, one))
    ]
    cidr = str(backend.get_vpc(vpc).cidr_block)
    return Network(vpc, cidr, tuple(sorted(subnets.items())), tuple(sorted(public)))


def _has_gateway(backend: Any, vpc: str, subnet: str) -> bool:
    """Whether the subnet's default route leads through an internet gateway that is attached to its VPC.

    A subnet without its own table uses the VPC's main table.
    """
    tables = [table for table in list(backend.route_tables.values()) if table.vpc_id == vpc]
    own = [table for table in tables if subnet in {one.get("SubnetId") for one in table.associations}]
    main = [table for table in tables if table.main_association_id]
    for table in (own or main)[:1]:
        for route in table.routes:
            gateway = backend.internet_gateways.get(route.gateway_id or "")
            if route.destination_cidr_block == EVERYWHERE and gateway is not None and gateway.vpc is not None:
                return bool(gateway.vpc.id == vpc)
    return False


# -- names


def _names() -> Iterator[tuple[str, str]]:
    """(name, address) of each A record in a public zone."""
    for regions in list(route53_backends.values()):
        for backend in list(regions.values()):
            for zone in list(backend.zones.values()):
                for record in [] if zone.private_zone else list(zone.rrsets):
                    if record.type == "A":
                        yield from ((record.name.rstrip("."), str(value)) for value in record.records)
