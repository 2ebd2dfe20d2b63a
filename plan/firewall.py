"""Who may connect to a site created on AWS, and where it may connect to: explicit rules only.

Rule `within` opens all TCP ports among the nodes of a site.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from config import normalize
from config.metadata_database import POSTGRESQL_PORT
from config.model import Deployment


@dataclass(frozen=True)
class Node:
    """The address of a created node, known once it exists."""

    name: str


@dataclass(frozen=True)
class Rule:
    """`name` is unique in the site; `peer`: a range, a created node, or the site's other nodes ("self")."""

    name: str
    way: Literal["ingress", "egress"]
    ports: tuple[int, int]
    peer: str | Node
    why: str


def rules(d: Deployment, site: str) -> list[Rule]:
    """Every rule of a created site's security group, once: AWS refuses duplicates.

    The ports between sites are those of GitLab's page on Geo ("Firewall rules"), the registry's among them.
    """
    unique: dict[object, Rule] = {}
    for rule in _rules(d, site):
        unique.setdefault((rule.way, rule.ports, rule.peer), rule)
    return list(unique.values())


def _rules(d: Deployment, site: str) -> Iterator[Rule]:
    aws = d.created[site]
    for port in sorted({d.ssh_of(site, node).port for node in d.sites[site].nodes}):
        for cidr in aws.admin_cidrs:
            yield Rule(
                f"ssh-{port}-from-{_plain(cidr)}",
                "ingress",
                (port, port),
                cidr,
                "administrators and this program",
            )
    web = _web_ports(d, site) | ({80} if d.sites[site].https else set())
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
        yield Rule(f"{port}-to-anywhere", "egress", (port, port), "0.0.0.0/0", "listed in egress_ports")
    if len(d.sites[site].nodes) > 1:
        for way in ("ingress", "egress"):
            yield Rule("within", way, (0, 65535), "self", "nodes of the same site")
    for other in d.sites:
        yield from _between(d, site, other)


def _between(d: Deployment, site: str, other: str) -> Iterator[Rule]:
    """Includes the site itself: its registry notifies its GitLab by its public host name."""
    inward, outward = _web_ports(d, site), _web_ports(d, other)
    if site != other and d.primary == site:
        inward = inward | {POSTGRESQL_PORT}
    if site != other and d.primary == other:
        outward = outward | {POSTGRESQL_PORT}
    for name, peer in peers(d, other).items():
        for port in sorted(inward):
            yield Rule(f"{port}-from-{name}", "ingress", (port, port), peer, f"Geo and registry of {other}")
        for port in sorted(outward - set(d.created[site].egress_ports)):
            yield Rule(f"{port}-to-{name}", "egress", (port, port), peer, f"Geo and registry of {other}")


def peers(d: Deployment, site: str) -> dict[str, str | Node]:
    """name, derived from the address only → where a site's requests come from and go to."""
    if site in d.created:
        return {node: Node(node) for node in d.sites[site].nodes}
    hosts = [node.host for node in d.sites[site].nodes.values()]
    cidrs = d.sites[site].peer_cidrs or [f"{host}/32" for host in hosts if normalize.is_v4(host)]
    # Not named for the site: a rule that two sites need must stay the same when one of them is removed.
    return {_plain(cidr): cidr for cidr in cidrs}


def _web_ports(d: Deployment, site: str) -> set[int]:
    """The ports of a site's GitLab and of its registry."""
    numbers = set()
    config = d.sites[site]
    for url in (config.external_url, config.registry_url, config.own_url, config.own_registry_url):
        parts = urlsplit(url)
        numbers.add(parts.port or (443 if parts.scheme == "https" else 80))
    return numbers


def _plain(cidr: str) -> str:
    return cidr.replace("/", "_")
