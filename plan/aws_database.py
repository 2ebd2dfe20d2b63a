"""A site's metadata database on AWS: its size, its private subnets, and which nodes connect to it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from config.model import Deployment
from plan import database

BACKUP_DAYS = 7
_PUBLIC_PREFIX, _PRIVATE_PREFIX = 24, 27


@dataclass(frozen=True)
class AwsDatabasePlan:
    """`subnets`: the ranges of the private subnets to create, in two availability zones; empty in an existing
    network, which has `subnet_ids`. `zone`: the nodes' zone, if it is configured. `nodes`: those with a
    registry, which connect to it. `password_rotation`: another number means another password.
    """

    site: str
    region: str
    engine_version: str
    instance_class: str
    storage_gb: int
    multi_az: bool
    kms_key_id: str | None
    name: str
    user: str
    port: int
    password_rotation: int
    subnets: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    zone: str | None
    nodes: tuple[str, ...]
    protect: bool


def aws_database(d: Deployment, site: str) -> AwsDatabasePlan | None:
    """None for a site without a created database."""
    created, aws = d.sites[site].created_database, d.sites[site].aws
    if created is None or aws is None:
        return None
    return AwsDatabasePlan(
        site=site,
        region=aws.region,
        engine_version=created.engine_version,
        instance_class=created.instance_class,
        storage_gb=created.storage_gb,
        multi_az=created.multi_az,
        kms_key_id=aws.kms_key_id,
        name=database.NAME,
        user=database.USER,
        port=database.PORT,
        password_rotation=d.rotate.database_password,
        subnets=private_subnets(aws.cidr) if aws.cidr else (),
        subnet_ids=tuple(created.subnet_ids),
        zone=aws.availability_zone,
        nodes=tuple(d.sites[site].nodes_with("registry")),
        protect=aws.termination_protection,
    )


def public_subnet(cidr: str) -> str:
    """`10.110.0.0/16` → `10.110.0.0/24`: the rest of the range stays free for later use."""
    network = IPv4Network(cidr)
    return str(next(network.subnets(new_prefix=_PUBLIC_PREFIX)) if network.prefixlen < 24 else network)


def private_subnets(cidr: str) -> tuple[str, ...]:
    """`10.110.0.0/16` → `10.110.1.0/27`, `10.110.1.32/27`: behind the public subnet."""
    behind = [*IPv4Network(cidr).subnets(new_prefix=_PUBLIC_PREFIX)][1]
    return tuple(map(str, [*behind.subnets(new_prefix=_PRIVATE_PREFIX)][:2]))
