"""Contradictions about hosts: those that exist have an address, created ones a network of their own."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from urllib.parse import urlsplit

from omnibus import firewall, tls_checks
from omnibus.machines import Aws, NodeAws
from omnibus.model import Deployment
from omnibus.problems import Problem

# Half of the Internet is as open as all of it.
_WIDEST_FOR_ADMINS = 8


def problems(d: Deployment) -> Iterator[Problem]:
    """Every contradiction in what is said about hosts and their networks."""
    for check in (_given, _created, _ranges, _twice, _overlaps, _who, tls_checks.problems, _names, _places):
        yield from check(d)


def _given(d: Deployment) -> Iterator[Problem]:
    for name, site in d.sites.items():
        if site.aws:
            continue
        for node_name, node in site.nodes.items():
            key = f"sites.{name}.nodes.{node_name}"
            if not node.host:
                yield Problem(
                    f"{key}.host",
                    "missing",
                    "the node could not be reached; only a site with `aws:` gets its hosts created",
                    "10.10.0.11",
                )
            if not node.host_key:
                yield Problem(
                    f"{key}.host_key",
                    "missing",
                    "without the host's own key anybody at this address would be given the registry key",
                    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5… (from /etc/ssh/ssh_host_ed25519_key.pub on the node)",
                )
            if node.aws != NodeAws():
                yield Problem(
                    f"{key}.aws",
                    "given for a host that exists",
                    "nothing would be created, and the setting would be ignored",
                    f"sites.{name}.aws: {{region: …}}, or no nodes.*.aws",
                )


def _created(d: Deployment) -> Iterator[Problem]:
    for name, site in d.sites.items():
        if not site.aws:
            continue
        for node_name, node in site.nodes.items():
            for key in ("host", "host_key"):
                if getattr(node, key):
                    yield Problem(
                        f"sites.{name}.nodes.{node_name}.{key}",
                        "given in a site whose hosts are created",
                        "the server would be created beside it, and this one never be used",
                        f"remove it, or remove sites.{name}.aws",
                    )
        if site.peer_cidrs:
            yield Problem(
                f"sites.{name}.peer_cidrs",
                "given for a site whose hosts are created",
                "their addresses are known, and these would let in others",
                "remove it",
            )
        given = bool(site.aws.vpc_id), bool(site.aws.subnet_id)
        if any(given) == bool(site.aws.cidr) or any(given) != all(given):
            yield Problem(
                f"sites.{name}.aws.cidr",
                f"{site.aws.cidr or 'missing'}, vpc_id {site.aws.vpc_id}, subnet_id {site.aws.subnet_id}",
                "a site has either a network of its own (cidr) or one that exists (vpc_id and subnet_id)",
                "10.110.0.0/16",
            )


def _ranges(d: Deployment) -> Iterator[Problem]:
    for key, text, least, most in _all_ranges(d):
        try:
            bad = not least <= ip_network(text).prefixlen <= most
        except ValueError:
            bad = True
        if bad:
            yield Problem(
                key,
                f"{text!r} is no network of /{least} to /{most} with its host bits zero",
                "AWS would refuse it",
                "10.110.0.0/16" if least else "198.51.100.7/32",
            )


def _all_ranges(d: Deployment) -> Iterator[tuple[str, str, int, int]]:
    for name, site in d.sites.items():
        yield from ((f"sites.{name}.peer_cidrs", text, 8, 32) for text in site.peer_cidrs)
    for name, aws in d.created.items():
        at = f"sites.{name}.aws"
        yield from (
            (f"{at}.{k}", text, 0, 32) for k in ("admin_cidrs", "client_cidrs") for text in getattr(aws, k)
        )
        if aws.cidr:
            yield f"{at}.cidr", aws.cidr, 16, 24


def _twice(d: Deployment) -> Iterator[Problem]:
    for name, site in d.sites.items():
        lists: dict[str, list[str] | list[int]] = {"peer_cidrs": site.peer_cidrs}
        if site.aws:
            lists |= {
                f"aws.{key}": getattr(site.aws, key)
                for key in ("admin_cidrs", "client_cidrs", "egress_ports")
            }
        for key, given in lists.items():
            if len(set(given)) < len(given):
                yield Problem(
                    f"sites.{name}.{key}",
                    f"{given} says one thing twice",
                    "AWS refuses a rule that is there already",
                    f"{list(dict.fromkeys(given))}",
                )


def _network(text: str | None) -> IPv4Network | None:
    try:
        return IPv4Network(text) if text else None
    except ValueError:
        return None


def _overlaps(d: Deployment) -> Iterator[Problem]:
    seen: dict[str, IPv4Network] = {}
    for name, aws in d.created.items():
        own = _network(aws.cidr)
        if own is None:
            continue
        for other, theirs in seen.items():
            if own.overlaps(theirs):
                yield Problem(
                    f"sites.{name}.aws.cidr",
                    f"{own} overlaps with {theirs} of {other}",
                    "the two networks could never be joined, and an address would mean two servers",
                    "10.120.0.0/16",
                )
        seen[name] = own


def _who(d: Deployment) -> Iterator[Problem]:
    for name, aws in d.created.items():
        for text in aws.admin_cidrs:
            network = _network(text)
            if network and network.prefixlen < _WIDEST_FOR_ADMINS:
                yield Problem(
                    f"sites.{name}.aws.admin_cidrs",
                    f"{text} lets the whole Internet try to log in by SSH",
                    "port 22 of a server with everybody's code is attacked within minutes",
                    "[198.51.100.7/32], the address that you and your CI come from",
                )


def _places(d: Deployment) -> Iterator[Problem]:
    for name, aws in d.created.items():
        if aws.availability_zone and not aws.availability_zone.startswith(aws.region):
            yield Problem(
                f"sites.{name}.aws.availability_zone",
                f"{aws.availability_zone!r} is not in {aws.region}",
                "AWS would refuse the subnet",
                f"{aws.region}a",
            )
        if 443 not in aws.egress_ports:
            yield Problem(
                f"sites.{name}.aws.egress_ports",
                f"{aws.egress_ports} leaves out 443",
                "the registry could not reach its storage, nor the server its certificates and packages",
                "[80, 443]",
            )
    for name, site in d.sites.items() if d.created else ():
        unknown = [n for n, node in site.nodes.items() if node.host and not firewall.is_v4(node.host)]
        if not site.aws and unknown and not site.peer_cidrs:
            yield Problem(
                f"sites.{name}.peer_cidrs",
                f"missing, and {', '.join(unknown)} has no IPv4 address in `host`",
                "the created sites would let nothing of this one in",
                "[203.0.113.20/32], what its requests come from",
            )


def _names(d: Deployment) -> Iterator[Problem]:
    made: dict[str, str] = {}
    for name, aws in d.created.items():
        for key in ("external_url", "registry_url") if aws.hosted_zone else ():
            host = urlsplit(getattr(d.sites[name], key)).hostname or ""
            if made.setdefault(host, name) != name:
                yield Problem(
                    f"sites.{name}.{key}",
                    f"{host} is made for {made[host]} already",
                    "one name cannot lead to two sites by a plain record",
                    "another name, or leave out hosted_zone and make the names yourself",
                )
            if not _in_zone(host, aws):
                yield Problem(
                    f"sites.{name}.aws.hosted_zone",
                    f"{aws.hosted_zone!r} does not hold {host}",
                    "a record made there would be found by nobody",
                    host.partition(".")[2] or "example.com",
                )


def _in_zone(host: str, aws: Aws) -> bool:
    return host == aws.hosted_zone or host.endswith(f".{aws.hosted_zone}")
