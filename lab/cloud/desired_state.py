"""The desired state of the lab, from moto: instances, databases, networks, firewalls, names."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.rds.models import rds_backends
from moto.route53.models import route53_backends

from lab.cloud import rules

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Attached:
    """What has an address in a subnet. `cidr` is the subnet's range, `rules` the sum of its groups."""

    id: str
    private: str
    vpc: str
    subnet: str
    cidr: str
    resolver: str
    rules: tuple[rules.Rule, ...]


@dataclass(frozen=True)
class Machine(Attached):
    """An instance that is not terminated."""

    name: str
    region: str
    image: str
    power: bool
    public: str | None
    booted: int
    """Changes with each start and reboot."""


@dataclass(frozen=True)
class DatabaseServer(Attached):
    """An RDS instance; `id` is that of its network interface. `tls_only`: `rds.force_ssl`."""

    identifier: str
    region: str
    endpoint: str
    user: str
    password: str = field(repr=False)
    database: str
    tls_only: bool


@dataclass(frozen=True)
class Network:
    """A VPC with instances or databases.

    `public` has the (public, private) pairs that the internet gateway translates.
    """

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
    databases: dict[str, DatabaseServer]
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
    databases: dict[str, DatabaseServer] = {}
    networks: dict[str, Network] = {}
    for backend in backends():
        alive = [one for one in _instances(backend) if one.state != "terminated" and one.subnet_id]
        created = [_database(backend, one, alive) for one in databases_in(backend)]
        for instance in alive:
            machines[instance.id] = _machine(backend, instance, _members(backend, alive))
        databases |= {one.id: one for one in created}
        for vpc in {str(instance.vpc_id) for instance in alive} | {one.vpc for one in created}:
            members = [one for one in alive if one.vpc_id == vpc]
            networks[vpc] = _network(backend, vpc, members, [one for one in created if one.vpc == vpc])
    names = [*_names(), *((one.endpoint, one.private) for one in databases.values())]
    return Wanted(machines, databases, networks, tuple(sorted(names)))


def instance(id: str) -> Instance | None:
    """moto's own object."""
    for backend in backends():
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


def backends() -> Iterator[Any]:
    """moto's EC2 of each account and region."""
    for regions in list(ec2_backends.values()):
        yield from list(regions.values())


def _instances(backend: Any) -> list[Instance]:
    return [one for reservation in list(backend.reservations.values()) for one in list(reservation.instances)]


def _tag(thing: Any, key: str) -> str | None:
    return next((tag["value"] for tag in thing.get_tags() if tag["key"] == key), None)


def databases_in(backend: Any) -> list[Any]:
    """moto's own objects of a region's RDS instances: those with an interface in a subnet."""
    there = rds_backends[backend.account_id][backend.region_name].databases
    return [one for one in list(there.values()) if getattr(one, "lab_interface", None) is not None]


def _members(backend: Any, alive: list[Instance]) -> list[rules.Member]:
    """All addresses of a region with their groups."""
    machines = [
        (one.nics[0].private_ip_address, {group.id for group in rules.groups_of(one)}) for one in alive
    ]
    databases = [
        (one.lab_interface.private_ip_address, set(one.vpc_security_group_ids))
        for one in databases_in(backend)
    ]
    return [rules.Member(str(address), frozenset(groups)) for address, groups in [*machines, *databases]]


def _attached(
    backend: Any, id: str, interface: Any, groups: Iterable[Any], members: list[rules.Member]
) -> dict[str, Any]:
    """What an instance and a database have in common."""
    subnet = interface.subnet
    vpc = backend.get_vpc(subnet.vpc_id)
    return {
        "id": id,
        "private": str(interface.private_ip_address),
        "vpc": vpc.id,
        "subnet": subnet.id,
        "cidr": str(subnet.cidr_block),
        "resolver": str(ipaddress.ip_network(vpc.cidr_block)[2]),
        "rules": rules.of(groups, members),
    }


def _machine(backend: Any, one: Instance, members: list[rules.Member]) -> Machine:
    image = backend.amis.get(one.image_id)
    return Machine(
        **_attached(backend, one.id, one.nics[0], rules.groups_of(one), members),
        name=_tag(one, "Name") or one.id,
        region=backend.region_name,
        image=(image.name if image is not None else None) or one.image_id,
        power=one.state in {"pending", "running"},
        public=_public(backend, one),
        booted=getattr(one, "lab_boots", 0),
    )


def _database(backend: Any, one: Any, alive: list[Instance]) -> DatabaseServer:
    found = map(backend.get_security_group_from_id, one.vpc_security_group_ids)
    groups = [group for group in found if group is not None]
    parameters = one.backend.db_parameter_groups.get(one.db_parameter_group_name)
    forced = parameters.parameters.get("rds.force_ssl", {}) if parameters else {}
    return DatabaseServer(
        **_attached(backend, one.lab_interface.id, one.lab_interface, groups, _members(backend, alive)),
        identifier=one.db_instance_identifier,
        region=backend.region_name,
        endpoint=one.address,
        user=str(one.master_username),
        password=str(one._master_user_password),  # noqa: SLF001 (only AWS knows it)
        database=str(one.db_name),
        tls_only=forced.get("ParameterValue") == "1",
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


def _network(backend: Any, vpc: str, machines: list[Instance], databases: list[DatabaseServer]) -> Network:
    subnets = {str(one.nics[0].subnet.id): str(one.nics[0].subnet.cidr_block) for one in machines}
    subnets |= {one.subnet: one.cidr for one in databases}
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
