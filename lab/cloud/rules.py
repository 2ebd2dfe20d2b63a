"""Security groups of moto's EC2 as simple rules of an instance or a database."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupRule


@dataclass(frozen=True, order=True)
class Rule:
    """What one rule of a security group allows; `ports` are "22", "80-443", or "" for all of them."""

    egress: bool
    protocol: str
    ports: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """An address in a VPC, and the ids of its groups."""

    address: str
    groups: frozenset[str]


def of(groups: Iterable[SecurityGroup], members: Sequence[Member]) -> tuple[Rule, ...]:
    """The union of these groups; `members` are the possible members of a group that a rule names."""
    return tuple(sorted({rule for group in groups for rule in _rules(group, members)}))


def groups_of(one: Instance) -> list[SecurityGroup]:
    """moto adds the groups of the interface to those of the instance, including removed ones."""
    return list(one.security_groups or one.nics[0].group_set)


def _rules(group: SecurityGroup, members: Sequence[Member]) -> Iterator[Rule]:
    for egress, rules in ((False, group.ingress_rules), (True, group.egress_rules)):
        for rule in list(rules):
            networks = ipaddress.collapse_addresses(_networks(rule, members))
            if texts := tuple(str(network) for network in networks):
                yield Rule(egress, str(rule.ip_protocol), _ports(rule), texts)


def _ports(rule: SecurityGroupRule) -> str:
    first, last = rule.from_port, rule.to_port
    if rule.ip_protocol not in {"tcp", "udp"} or first is None or (first, last) in {(0, 65535), (-1, -1)}:
        return ""
    return f"{first}" if first == last else f"{first}-{last}"


def _networks(rule: SecurityGroupRule, members: Sequence[Member]) -> Iterator[ipaddress.IPv4Network]:
    """A rule's range; for a rule that names a group, the private addresses of its members."""
    if rule.cidr_ipv4:
        yield ipaddress.IPv4Network(rule.cidr_ipv4, strict=False)
    named = rule.source_group.get("GroupId")
    yield from (ipaddress.IPv4Network(one.address) for one in members if named and named in one.groups)
