"""The lab's network: a bridge per site, this namespace as the router between them, and cuttable links."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from lab.cloud.addresses import WORKSTATION
from lab.sites import SERVICES_ADDRESS, Layout, Node

IPV6 = Path("/proc/sys/net/ipv6")
"""Missing if the kernel has no IPv6: hosts then have only IPv4 addresses."""

# Without its router's link address, a host has no connection at all.
_RULES = """
table inet lab {
    chain cuts { }
    chain links {
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        jump cuts
    }
    chain forward {
        type filter hook forward priority 0
        jump links
    }
    chain input {
        type filter hook input priority 0
        jump links
    }
    chain output {
        type filter hook output priority 0
        jump links
    }
}
"""


def _run(*command: str, stdin: str | None = None) -> None:
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def create(layout: Layout) -> None:
    """Bridges, one named network namespace per host, and the firewall, in a fresh network namespace."""
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    lines = ["link set lo up", f"addr add {SERVICES_ADDRESS}/32 dev lo"]
    lines += [f"addr add {layout.database_address(site)}/32 dev lo" for site in layout.sites]
    gateways = {node.network: node for _, node in layout.nodes()}
    networks = sorted(gateways)
    for number, network in enumerate(networks):
        bridge = f"br{number}"
        lines += [f"link add {bridge} type bridge", f"addr add {network}.1/24 dev {bridge}"]
        lines += _address6(gateways[network].gateway6, bridge)
        lines += [f"link set {bridge} up"]
    for number, (_, node) in enumerate(layout.nodes()):
        _run("ip", "netns", "add", node.name)
        # Interface names have at most 15 characters, so not the node's.
        lines += [f"link add veth{number} type veth peer name eth0 netns {node.name}"]
        lines += [f"link set veth{number} master br{networks.index(node.network)} up"]
    _run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")
    for _, node in layout.nodes():
        inside = ["link set lo up", f"addr add {node.address}/24 dev eth0"]
        inside += [*_address6(node.address6, "eth0"), "link set eth0 up"]
        inside += [f"route add default via {node.gateway}"]
        inside += [f"route add default via {node.gateway6}"] if IPV6.exists() else []
        _run("ip", "-n", node.name, "-batch", "-", stdin="\n".join(inside) + "\n")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    if IPV6.exists():
        (IPV6 / "conf/all/forwarding").write_text("1\n")
    _run("nft", "-f", "-", stdin=_RULES + _bastion_rules(layout))


def _address6(address: str, device: str) -> list[str]:
    """Usable immediately, without the second of the kernel's duplicate address detection."""
    return [f"addr add {address}/64 dev {device} nodad"] if IPV6.exists() else []


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"


def _bastion_rules(layout: Layout) -> str:
    """Port 22 of sites behind the bastion is closed to the workstation, which is this namespace."""
    rules = [
        f"add rule inet lab output {_family(address)} daddr {address} tcp dport {node.ssh_port} "
        "reject with tcp reset"
        for site, node in layout.nodes()
        if site is not None and site.name in layout.behind_bastion
        for address in (node.address, node.address6)
    ]
    return "\n".join(rules) + "\n"


def plug(layout: Layout, node: Node, connected: bool) -> None:
    """Connect or disconnect a host's network cable at the bridge: its addresses and routes stay."""
    number = [other for _, other in layout.nodes()].index(node)
    _run("ip", "link", "set", f"veth{number}", "up" if connected else "down")


def _matches(layout: Layout, end: str, created: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """How to match packets from and to one end of a link: family, and both as nft expressions.

    KeyError if the lab has no such end.
    """
    if end == "s3":
        # By port: the DNS at that address must keep working.
        ports = "{ 443, 5000 }"
        from_s3 = f"ip saddr {SERVICES_ADDRESS} tcp sport {ports}"
        return [("ip", from_s3, f"ip daddr {SERVICES_ADDRESS} tcp dport {ports}")]
    if end == "workstation":
        gateways = {gateway for _, node in layout.nodes() for gateway in (node.gateway, node.gateway6)}
        networks = [WORKSTATION, *sorted(gateways)]
    elif end in created:
        networks = [created[end]]
    elif end in (databases := {site.database_host: site for site in layout.sites}):
        networks = [layout.database_address(databases[end])]
    elif any(site.name == end for site in layout.sites):
        networks = [layout.site(end).subnet, layout.site(end).subnet6]
    else:
        node = layout.find(end)[1]
        networks = [node.address, node.address6]
    return [
        (_family(network), f"{_family(network)} saddr {network}", f"{_family(network)} daddr {network}")
        for network in networks
    ]


def cut(layout: Layout, one: str, other: str, created: Mapping[str, str]) -> None:
    """Drop everything between two ends, in both directions, including on open connections.

    An end is a site, a host, a site's PostgreSQL server by its name, "s3" or the "workstation"; `created` has
    the public addresses of instances by name. Hosts of one site cannot be disconnected from each other:
    nothing routes their packets.
    """
    rules = []
    ends = product(_matches(layout, one, created), _matches(layout, other, created))
    for (family, from_one, to_one), (other_family, from_other, to_other) in ends:
        if family != other_family:
            continue
        rules += [f"add rule inet lab cuts {from_one} {to_other} drop"]
        rules += [f"add rule inet lab cuts {from_other} {to_one} drop"]
    _run("nft", "-f", "-", stdin="\n".join(rules) + "\n")


def heal() -> None:
    """Restore all links."""
    _run("nft", "flush", "chain", "inet", "lab", "cuts")
