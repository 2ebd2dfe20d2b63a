"""Contradictions about hosts: each has its own name, existing ones an address, created ones a network."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from urllib.parse import urlsplit

from config import normalize
from config.aws import Aws, NodeAws
from config.checks import tls
from config.errors import ConfigError, field_help
from config.model import Deployment, Node

# Half of the Internet is as open as all of it.
_WIDEST = 8


def identities(d: Deployment) -> Iterator[ConfigError]:
    """Hosts that would be one: as a resource of the stack by their name, or over SSH by their address."""
    yield from _unique_names(d)
    yield from _unique_addresses(d)


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction in the configuration of hosts and their networks."""
    checks = (
        _existing_hosts, _created_hosts, _networks, _ranges, _duplicates, _overlaps, _admin_cidrs_too_wide,
        tls.errors, _host_names, _zones_and_egress, _peers,
    )  # fmt: skip
    for check in checks:
        yield from check(d)


def _hosts(d: Deployment) -> Iterator[tuple[str, str, str, str | None]]:
    """Key, site, name and address of each node, and of each host of an external registry."""
    for site_name, site in d.sites.items():
        site_key = f"sites.{site_name}"
        yield from ((f"{site_key}.nodes.{n}", site_name, n, node.host) for n, node in site.nodes.items())
        yield from (
            (f"{site_key}.external_registry.hosts.{n}", site_name, n, host.host)
            for n, host in site.external_hosts.items()
        )


def _unique_names(d: Deployment) -> Iterator[ConfigError]:
    sites: dict[str, str] = {}
    for key, site_name, name, _ in _hosts(d):
        site = d.sites[site_name]
        if name in sites:
            yield ConfigError(
                "node-name-not-unique",
                key,
                f"{sites[name]} also has a node named {name!r}",
                expectation="a name that is unique in the stack",
                consequence="both nodes would be one resource of the stack, and only one would be configured",
                example=f"{site_name}-{len(site.nodes) + len(site.external_hosts) + 1}",
            )
        sites.setdefault(name, f"sites.{site_name}")


def _unique_addresses(d: Deployment) -> Iterator[ConfigError]:
    names: dict[tuple[str, int], str] = {}
    for key, site_name, name, host in _hosts(d):
        if not host:
            continue
        address = (normalize.host(host), d.ssh_of(site_name, name).port)
        if address in names:
            yield ConfigError(
                "ssh-address-not-unique",
                f"{key}.host",
                f"{host!r} port {address[1]} is also the address of {names[address]}",
                expectation="an address for each node",
                consequence="the settings of two nodes would overwrite each other on one host",
                example="10.10.0.12",
            )
        names.setdefault(address, name)


def _existing_hosts(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.sites.items():
        if site.aws:
            continue
        for node_name, node in site.nodes.items():
            key = f"sites.{name}.nodes.{node_name}"
            for field in ("host", "host_key"):
                about = field_help(Node, field)
                if not getattr(node, field):
                    yield ConfigError(
                        "existing-host-incomplete",
                        f"{key}.{field}",
                        "missing: only a site with `aws` has its hosts created",
                        expectation=about.expectation,
                        consequence=about.consequence,
                        example=about.example,
                    )
            if node.aws != NodeAws():
                yield ConfigError(
                    "aws-on-existing-host",
                    f"{key}.aws",
                    "provided for an existing host",
                    expectation="aws on a node only where the site has aws too",
                    consequence="nothing would be created, and the settings would have no effect",
                    example=f"remove it, or add sites.{name}.aws",
                )


def _created_hosts(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.sites.items():
        if not site.aws:
            continue
        for node_name, node in site.nodes.items():
            for key in ("host", "host_key"):
                if getattr(node, key):
                    yield ConfigError(
                        "address-of-created-host",
                        f"sites.{name}.nodes.{node_name}.{key}",
                        "provided in a site whose hosts are created",
                        expectation="host and host_key only where the site has no aws",
                        consequence="another host would be created, and this one would not be used",
                        example=f"remove it, or remove sites.{name}.aws",
                    )
        if site.peer_cidrs:
            yield ConfigError(
                "peer-cidrs-of-created-site",
                f"sites.{name}.peer_cidrs",
                "provided for a site whose hosts are created",
                expectation="peer_cidrs only for sites with existing hosts",
                consequence="the addresses of created hosts are known, and these would let in others",
                example="remove it",
            )


def _networks(d: Deployment) -> Iterator[ConfigError]:
    for name, aws in d.created.items():
        existing = bool(aws.vpc_id), bool(aws.subnet_id)
        if any(existing) == bool(aws.cidr) or any(existing) != all(existing):
            yield ConfigError(
                "network-ambiguous",
                f"sites.{name}.aws.cidr",
                f"{aws.cidr or 'missing'}, vpc_id {aws.vpc_id}, subnet_id {aws.subnet_id}",
                expectation="either cidr, for a new network, or vpc_id and subnet_id, for an existing one",
                consequence="the program could not tell in which network to create the nodes",
                example="10.110.0.0/16",
            )


def _ranges(d: Deployment) -> Iterator[ConfigError]:
    for key, text, least, most in _all_ranges(d):
        try:
            bad = not least <= ip_network(text).prefixlen <= most
        except ValueError:
            bad = True
        if bad:
            yield ConfigError(
                "range-invalid",
                key,
                f"{text!r}",
                expectation=f"a network of /{least} to /{most}, with all host bits set to zero",
                consequence="AWS refuses other ranges"
                + (", and a wider one would let in much of the Internet" if least == _WIDEST else ""),
                example="10.110.0.0/16" if least else "198.51.100.7/32",
            )


def _all_ranges(d: Deployment) -> Iterator[tuple[str, str, int, int]]:
    for name, site in d.sites.items():
        yield from ((f"sites.{name}.peer_cidrs", text, _WIDEST, 32) for text in site.peer_cidrs)
    for name, aws in d.created.items():
        aws_key = f"sites.{name}.aws"
        yield from (
            (f"{aws_key}.{k}", text, 0, 32)
            for k in ("admin_cidrs", "client_cidrs")
            for text in getattr(aws, k)
        )
        if aws.cidr:
            yield f"{aws_key}.cidr", aws.cidr, 16, 24


def _duplicates(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.sites.items():
        lists: dict[str, list[str] | list[int]] = {"peer_cidrs": site.peer_cidrs}
        if site.aws:
            lists |= {
                f"aws.{key}": getattr(site.aws, key)
                for key in ("admin_cidrs", "client_cidrs", "egress_ports")
            }
        for key, values in lists.items():
            if len(set(values)) < len(values):
                yield ConfigError(
                    "entry-repeated",
                    f"sites.{name}.{key}",
                    f"{values} has an entry twice",
                    expectation="each entry once",
                    consequence="AWS refuses a rule that exists already",
                    example=f"{list(dict.fromkeys(values))}",
                )


def _network(text: str | None) -> IPv4Network | None:
    try:
        return IPv4Network(text) if text else None
    except ValueError:
        return None


def _overlaps(d: Deployment) -> Iterator[ConfigError]:
    networks: dict[str, IPv4Network] = {}
    for name, aws in d.created.items():
        network = _network(aws.cidr)
        if network is None:
            continue
        for other, other_network in networks.items():
            if network.overlaps(other_network):
                yield ConfigError(
                    "networks-overlap",
                    f"sites.{name}.aws.cidr",
                    f"{network} overlaps with {other_network} of {other}",
                    expectation="a range that overlaps with no other site's",
                    consequence="the two networks could never be connected: one address would mean two hosts",
                    example="10.120.0.0/16",
                )
        networks[name] = network


def _admin_cidrs_too_wide(d: Deployment) -> Iterator[ConfigError]:
    for name, aws in d.created.items():
        for text in aws.admin_cidrs:
            network = _network(text)
            if network and network.prefixlen < _WIDEST:
                yield ConfigError(
                    "ssh-open-to-internet",
                    f"sites.{name}.aws.admin_cidrs",
                    f"{text} lets the whole Internet try to log in by SSH",
                    expectation=f"ranges of /{_WIDEST} or narrower; the addresses of you and your CI",
                    consequence="an SSH port that is open to the Internet is attacked within minutes",
                    example="[198.51.100.7/32]",
                )


def _zones_and_egress(d: Deployment) -> Iterator[ConfigError]:
    for name, aws in d.created.items():
        if aws.availability_zone and not aws.availability_zone.startswith(aws.region):
            yield ConfigError(
                "zone-not-in-region",
                f"sites.{name}.aws.availability_zone",
                f"{aws.availability_zone!r} is not in {aws.region}",
                expectation=f"an availability zone of {aws.region}",
                consequence="AWS refuses a subnet in a zone of another region",
                example=f"{aws.region}a",
            )
        if 443 not in aws.egress_ports:
            yield ConfigError(
                "egress-without-https",
                f"sites.{name}.aws.egress_ports",
                f"{aws.egress_ports} lacks 443",
                expectation="a list of ports with 443",
                consequence="the registry could not reach its storage, and the node could not fetch "
                "certificates and packages",
                example="[80, 443]",
            )


def _peers(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.sites.items() if d.created else ():
        unknown = [n for n, node in site.nodes.items() if node.host and not normalize.is_v4(node.host)]
        if not site.aws and unknown and not site.peer_cidrs:
            yield ConfigError(
                "peer-cidrs-missing",
                f"sites.{name}.peer_cidrs",
                f"missing, and {', '.join(unknown)} has no IPv4 address in `host`",
                expectation="the IPv4 ranges from which this site's requests come",
                consequence="the created sites would block all requests of this site",
                example="[203.0.113.20/32]",
            )


def _host_names(d: Deployment) -> Iterator[ConfigError]:
    records: dict[str, str] = {}
    for name, aws in d.created.items():
        for key in ("external_url", "registry_url") if aws.hosted_zone else ():
            host = urlsplit(getattr(d.sites[name], key)).hostname or ""
            if records.setdefault(host, name) != name:
                yield ConfigError(
                    "record-not-unique",
                    f"sites.{name}.{key}",
                    f"the record of {host} is created for {records[host]}",
                    expectation="a host name that no other site with a hosted_zone has",
                    consequence="one record cannot lead to two sites",
                    example="another name, or leave out hosted_zone and create the records yourself",
                )
            if not _in_zone(host, aws):
                yield ConfigError(
                    "hosted-zone-mismatch",
                    f"sites.{name}.aws.hosted_zone",
                    f"{aws.hosted_zone!r} does not contain {host}",
                    expectation="a zone that contains both host names of the site",
                    consequence="a record in that zone would never resolve",
                    example=host.partition(".")[2] or "example.com",
                )


def _in_zone(host: str, aws: Aws) -> bool:
    return host == aws.hosted_zone or host.endswith(f".{aws.hosted_zone}")
