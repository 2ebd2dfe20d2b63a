"""Who may reach a created site, and where it may go: a list of rules, nothing by silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from omnibus.model import Deployment

POSTGRESQL = 5432


@dataclass(frozen=True)
class Node:
    """The address of a created node, known once it is made."""

    name: str


@dataclass(frozen=True)
class Rule:
    """`name` is unique in the site; `peer`: a range, a created node, or the site's own servers ("self")."""

    name: str
    way: Literal["ingress", "egress"]
    ports: tuple[int, int]
    peer: str | Node
    why: str


def rules(d: Deployment, site: str) -> list[Rule]:
    """Every rule of a created site's security group, once: AWS refuses a second one that says the same.

    The ports between sites are those of GitLab's page on Geo ("Firewall rules"), the registry's among them.
    """
    found: dict[object, Rule] = {}
    for rule in _rules(d, site):
        found.setdefault((rule.way, rule.ports, rule.peer), rule)
    return list(found.values())


def _rules(d: Deployment, site: str) -> Iterator[Rule]:
    aws = d.created[site]
    for port in sorted({d.ssh_of(site, node).port or 22 for node in d.sites[site].nodes}):
        for cidr in aws.admin_cidrs:
            yield Rule(
                f"ssh-{port}-from-{_plain(cidr)}",
                "ingress",
                (port, port),
                cidr,
                "administrators and this program",
            )
    web = ports(d, site) | ({80} if d.sites[site].https else set())
    for port in sorted(web):
        for cidr in aws.client_cidrs:
            yield Rule(
                f"{port}-from-{_plain(cidr)}",
                "ingress",
                (port, port),
                cidr,
                "users of GitLab and its registry",
            )
    for port in sorted(set(aws.egress_ports)):
        yield Rule(f"{port}-to-anywhere", "egress", (port, port), "0.0.0.0/0", "said in egress_ports")
    if len(d.sites[site].nodes) > 1:
        for way in ("ingress", "egress"):
            yield Rule("within", way, (0, 65535), "self", "the nodes of one GitLab")
    for other in d.sites:
        yield from _between(d, site, other)


def _between(d: Deployment, site: str, other: str) -> Iterator[Rule]:
    """A site meets itself by its public name as well: its registry notifies its GitLab there."""
    inward, outward = ports(d, site), ports(d, other)
    if site != other and d.primary == site:
        inward = inward | {POSTGRESQL}
    if site != other and d.primary == other:
        outward = outward | {POSTGRESQL}
    for name, peer in peers(d, other).items():
        for port in sorted(inward):
            yield Rule(f"{port}-from-{name}", "ingress", (port, port), peer, f"Geo and registry of {other}")
        for port in sorted(outward - set(d.created[site].egress_ports)):
            yield Rule(f"{port}-to-{name}", "egress", (port, port), peer, f"Geo and registry of {other}")


def peers(d: Deployment, site: str) -> dict[str, str | Node]:
    """name, which tells the address alone → where a site's requests come from and go to."""
    if site in d.created:
        return {node: Node(node) for node in d.sites[site].nodes}
    hosts = [node.host for node in d.sites[site].nodes.values()]
    given = d.sites[site].peer_cidrs or [f"{host}/32" for host in hosts if is_v4(host)]
    # Not by the site: a rule that two sites need must stay the same when one of them goes.
    return {_plain(cidr): cidr for cidr in given}


def ports(d: Deployment, site: str) -> set[int]:
    """The ports of a site's GitLab and of its registry."""
    found = set()
    own = d.sites[site]
    for url in (own.external_url, own.registry_url, own.own_url, own.own_registry_url):
        parts = urlsplit(url)
        found.add(parts.port or (443 if parts.scheme == "https" else 80))
    return found


def is_v4(host: str | None) -> bool:
    """Whether a host is given by its IPv4 address, which a rule can name."""
    try:
        return ip_address(host or "").version == 4
    except ValueError:
        return False


def _plain(cidr: str) -> str:
    return cidr.replace("/", "_")
