"""The networks of VPCs: one namespace each, with a bridge per subnet and an internet gateway with NAT.

    lab (the internet) ── "internet" [VPC's router] ── bridge of a subnet ── eth0 [instance]

NAT is one to one and stateless, as on AWS: a public address that is removed stops working immediately.
Without a public address, or without a route to a gateway, an instance has no connection in either direction;
only the VPC's resolver answers all. Ranges of VPCs can overlap with each other and with the lab's.
"""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

from lab.cloud.addresses import CERTIFICATE_AUTHORITY, WORKSTATION
from lab.cloud.desired_state import Attached, Network
from lab.sites import SERVICES_ADDRESS

UPLINKS = ipaddress.ip_network("100.64.0.0/16")
"""Between the lab and the VPCs' routers, two addresses each."""


def run(*command: str, stdin: str | None = None) -> None:
    """Run a command; RuntimeError shows its output."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n{stdin or ''}")


def in_namespace(namespace: str, *command: str, stdin: str | None = None) -> None:
    """Run a command in a named network namespace."""
    run("nsenter", f"--net=/run/netns/{namespace}", *command, stdin=stdin)


def device(kind: str, id: str) -> str:
    """A network device's name from an AWS id: at most 15 characters, so its end."""
    return f"{kind}{id[-12:]}"


class Router:
    """One VPC's network, from first to last machine. `number` distinguishes its uplink from others."""

    def __init__(self, network: Network, number: int) -> None:
        self.name = network.id
        self._resolver = network.resolver
        self._bridges: set[str] = set()
        self._outside: set[str] = set()
        self._uplink = device("v", network.id)
        here, there = UPLINKS[4 * number + 1], UPLINKS[4 * number + 2]
        self._address = str(there)
        run("ip", "netns", "add", self.name)
        links = [f"link add {self._uplink} type veth peer name internet netns {self.name}"]
        links += [f"addr add {here}/30 dev {self._uplink}", f"link set {self._uplink} up"]
        run("ip", "-batch", "-", stdin="\n".join(links) + "\n")
        inside = [
            "link set lo up",
            f"addr add {self._resolver}/32 dev lo",
            f"addr add {there}/30 dev internet",
        ]
        inside += ["link set internet up", f"route add default via {here}"]
        run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(inside) + "\n")
        # A packet to the network's own public address leaves through the gateway and comes back.
        settings = (
            "ip_forward=1",
            "conf/all/rp_filter=0",
            "conf/internet/rp_filter=0",
            "conf/all/send_redirects=0",
        )
        script = "".join(
            f"echo {value.split('=')[1]} >/proc/sys/net/ipv4/{value.split('=')[0]}\n" for value in settings
        )
        in_namespace(self.name, "sh", "-c", script)
        for setting in (f"conf/{self._uplink}/rp_filter", f"conf/{self._uplink}/send_redirects"):
            Path("/proc/sys/net/ipv4", setting).write_text("0\n")

    def update(self, network: Network) -> None:
        """Bridges for its subnets, translation and routes for its public addresses."""
        lines = []
        for subnet, cidr in network.subnets:
            bridge = device("b", subnet)
            if bridge not in self._bridges:
                self._bridges.add(bridge)
                gateway = ipaddress.ip_network(cidr)
                lines += [
                    f"link add {bridge} type bridge",
                    f"addr add {gateway[1]}/{gateway.prefixlen} dev {bridge}",
                ]
                lines += [f"link set {bridge} up"]
        if lines:
            # The rest of the VPC's range is unreachable, and not on the Internet.
            lines += [f"route replace unreachable {network.cidr}"] if len(network.subnets) else []
            run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(lines) + "\n")
        in_namespace(self.name, "nft", "-f", "-", stdin=_rules(network))
        outside = {address for address, _ in network.public}
        routes = [f"route del {address}/32 dev {self._uplink}" for address in self._outside - outside]
        routes += [
            f"route replace {address}/32 via {self._address} dev {self._uplink} src {WORKSTATION}"
            for address in outside - self._outside
        ]
        self._outside = outside
        if routes:
            run("ip", "-batch", "-", stdin="\n".join(routes) + "\n")

    def plug(self, machine: Attached) -> None:
        """A namespace for the instance with its address and its firewall, next to the router."""
        run("ip", "netns", "add", machine.id)
        cable, network = device("h", machine.id), ipaddress.ip_network(machine.cidr)
        lines = [f"link add {cable} type veth peer name eth0 netns {machine.id}"]
        lines += [f"link set {cable} master {device('b', machine.subnet)} up"]
        run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(lines) + "\n")
        inside = ["link set lo up", f"addr add {machine.private}/{network.prefixlen} dev eth0"]
        inside += ["link set eth0 up", f"route add default via {network[1]}"]
        run("ip", "-n", machine.id, "-batch", "-", stdin="\n".join(inside) + "\n")

    def remove(self) -> None:
        """Remove the whole network; its instances no longer exist."""
        run("ip", "link", "del", self._uplink)
        run("ip", "netns", "del", self.name)


def unplug(machine: str) -> None:
    """Remove a machine's namespace, and with it its cable."""
    run("ip", "netns", "del", machine)


def announce() -> None:
    """Assign the Internet addresses that instances see to the lab's own network."""
    lines = [f"addr add {address}/32 dev lo" for address in (WORKSTATION, CERTIFICATE_AUTHORITY)]
    run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")


def _rules(network: Network) -> str:
    """The router's complete firewall and NAT rules: nft replaces them atomically."""

    def mapping(name: str, pairs: list[tuple[str, str]]) -> str:
        elements = ", ".join(f"{one} : {other}" for one, other in pairs)
        body = f"elements = {{ {elements} }}" if pairs else ""
        return f"map {name} {{\n type ipv4_addr : ipv4_addr\n {body}\n }}"

    public = list(network.public)
    resolver = f'iifname != "internet" ip daddr {network.resolver}'
    return f"""\
table ip vpc
delete table ip vpc
table ip vpc {{
 {mapping("inward", public)}
 {mapping("outward", [(private, address) for address, private in public])}
 chain inward {{
  type filter hook prerouting priority -300
  iifname "internet" ip daddr @inward meta mark set 1 ip daddr set ip daddr map @inward
 }}
 chain forward {{
  type filter hook forward priority 0
  policy drop
  iifname "internet" meta mark 1 accept
  iifname "internet" ct status dnat accept
  iifname != "internet" oifname != "internet" accept
  ip saddr @outward accept
  ct status dnat accept
 }}
 chain outward {{
  type filter hook postrouting priority 300
  oifname "internet" ip saddr set ip saddr map @outward
 }}
 chain resolver {{
  type nat hook prerouting priority -100
  {resolver} meta l4proto {{ tcp, udp }} th dport 53 dnat to {SERVICES_ADDRESS}
 }}
 chain resolved {{
  type nat hook postrouting priority 100
  oifname "internet" ct status dnat masquerade
 }}
}}
"""
