"""Which sites and nodes the lab has, as data.

A *layout* is a named set of sites; ``python -m lab run --sites NAME`` chooses one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SERVICES_ADDRESS = "10.99.0.9"
"""Where DNS, S3 and the other AWS services of the lab listen."""

EVERYTHING = ("rails", "sidekiq", "registry")


@dataclass(frozen=True)
class Node:
    """One server of a site; `runs` says which parts of GitLab it has."""

    name: str
    address: str
    ssh_port: int = 22
    runs: tuple[str, ...] = EVERYTHING

    @property
    def network(self) -> str:
        """The /24 this node is in, e.g. "10.10.0"."""
        return self.address.rpartition(".")[0]

    @property
    def gateway(self) -> str:
        return f"{self.network}.1"


@dataclass(frozen=True)
class Site:
    """A whole GitLab, named for its place."""

    name: str
    role: str
    nodes: tuple[Node, ...]

    @property
    def gitlab_host(self) -> str:
        return f"gitlab.{self.name}.example.com"

    @property
    def registry_host(self) -> str:
        return f"registry.{self.name}.example.com"

    @property
    def external_url(self) -> str:
        return f"https://{self.gitlab_host}"

    @property
    def registry_url(self) -> str:
        return f"https://{self.registry_host}"

    @property
    def subnet(self) -> str:
        return f"{self.nodes[0].network}.0/24"


@dataclass(frozen=True)
class Layout:
    """The sites of a lab, and servers without GitLab.

    SSH to the sites named in `behind_bastion` passes only through the first of these servers.
    """

    sites: tuple[Site, ...]
    servers: tuple[Node, ...] = ()
    behind_bastion: tuple[str, ...] = ()

    def site(self, name: str) -> Site:
        """The site of that name; KeyError names those there are."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(f"no site {name!r} in this lab, only {', '.join(s.name for s in self.sites)}")

    def nodes(self) -> Iterator[tuple[Site | None, Node]]:
        """Every host of the lab with its site; servers without GitLab belong to none."""
        for site in self.sites:
            for node in site.nodes:
                yield site, node
        for server in self.servers:
            yield None, server

    def find(self, name: str) -> tuple[Site | None, Node]:
        """The node of that name and its site; KeyError names those there are."""
        for site, node in self.nodes():
            if node.name == name:
                return site, node
        raise KeyError(f"no host {name!r} in this lab, only {', '.join(n.name for _, n in self.nodes())}")


LONDON = Site("london", "primary", (Node("london-1", "10.10.0.11"),))
TOKYO = Site("tokyo", "secondary", (Node("tokyo-1", "10.20.0.11"),))
TOKYO_TWO_NODES = Site(
    "tokyo",
    "secondary",
    (
        Node("tokyo-web", "10.20.0.11", runs=("rails", "registry")),
        # Another port on one node, as administrators have it: nothing may take 22 for granted.
        Node("tokyo-sidekiq", "10.20.0.12", ssh_port=2222, runs=("sidekiq",)),
    ),
)

PLACES = ("london", "tokyo", "sydney", "toronto")


def many(count: int) -> Layout:
    """For benchmarks: so many nodes with all of GitLab, a quarter of them (at least one) at the primary."""
    sizes = [max(1, count // 4)]
    rest, secondaries = count - sizes[0], min(len(PLACES) - 1, count - 1)
    sizes += [rest // secondaries + (number < rest % secondaries) for number in range(secondaries)]
    return Layout(
        tuple(
            Site(
                place,
                "secondary" if net else "primary",
                tuple(Node(f"{place}-{n}", f"10.{net + 1}0.0.{10 + n}") for n in range(1, size + 1)),
            )
            for net, (place, size) in enumerate(zip(PLACES, sizes, strict=False))
        )
    )


LAYOUTS = {
    "default": Layout((LONDON, TOKYO)),
    "two-nodes": Layout((LONDON, TOKYO_TWO_NODES)),
    "bastion": Layout((LONDON, TOKYO), (Node("bastion", "10.99.1.10", runs=()),), ("tokyo",)),
    # Nothing but an AWS account: for stacks that create everything.
    "aws": Layout((), ()),
    # No GitLab yet: what a new machine is, and the lab that starts fastest.
    "bare": Layout((), (Node("london-1", "10.10.0.11", runs=()), Node("tokyo-1", "10.20.0.11", runs=()))),
    **{f"bench-{count}": many(count) for count in (2, 6, 12, 24)},
}


def _host_key(node: str) -> Ed25519PrivateKey:
    """Derived from the name, so that committed stack configuration can pin it. Anybody can know it."""
    seed = hashlib.sha256(b"gitlab-geo-registry lab host key " + node.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def host_key(node: str) -> str:
    """The public SSH host key of the lab's node, as "ssh-ed25519 AAAA…"."""
    public = _host_key(node).public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def host_private_key(node: str) -> bytes:
    """The private half of `host_key`, in OpenSSH's file format."""
    return _host_key(node).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
