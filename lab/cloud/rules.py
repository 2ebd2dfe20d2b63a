"""Security groups of moto's EC2 as simple rules of an instance."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
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


def of(instance: Instance, others: Sequence[Instance]) -> tuple[Rule, ...]:
    """The union of the instance's groups; `others` are possible members of a group."""
    return tuple(sorted({rule for group in _groups(instance) for rule in _rules(group, others)}))


def _groups(one: Instance) -> list[SecurityGroup]:
    """moto adds the groups of the interface to those of the instance, including removed ones."""
    return list(one.security_groups or one.nics[0].group_set)


def _rules(group: SecurityGroup, instances: Sequence[Instance]) -> Iterator[Rule]:
    for egress, rules in ((False, group.ingress_rules), (True, group.egress_rules)):
        for rule in list(rules):
            networks = ipaddress.collapse_addresses(_networks(rule, instances))
            if texts := tuple(str(network) for network in networks):
                yield Rule(egress, str(rule.ip_protocol), _ports(rule), texts)


def _ports(rule: SecurityGroupRule) -> str:
    first, last = rule.from_port, rule.to_port
    if rule.ip_protocol not in {"tcp", "udp"} or first is None or (first, last) in {(0, 65535), (-1, -1)}:
        return ""
    return f"{first}" if first == last else f"{first}-{last}"


def _networks(rule: SecurityGroupRule, instances: Sequence[Instance]) -> Iterator[ipaddress.IPv4Network]:
    """A rule's range; for a rule that names a group, the private addresses of its members."""
    if rule.cidr_ipv4:
        yield ipaddress.IPv4Network(rule.cidr_ipv4, strict=False)
    named = rule.source_group.get("GroupId")
    if named:
        for one in instances:
            if one.state != "terminated" and one.nics and named in {group.id for group in _groups(one)}:
                yield ipaddress.IPv4Network(str(one.nics[0].private_ip_address))
