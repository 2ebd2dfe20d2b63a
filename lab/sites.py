"""Sites and nodes; `lab.layouts` has the available ones."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SERVICES_ADDRESS = "10.99.0.9"
"""The address of the lab's DNS, S3 and other AWS services."""
FIRST_DATABASE = 21
"""The last part of the address of the first site's PostgreSQL server."""

EVERYTHING = ("rails", "sidekiq", "registry")


@dataclass(frozen=True)
class Node:
    """One host; `runs` lists its parts of GitLab, or has `distribution`, a registry without GitLab."""

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

    @property
    def address6(self) -> str:
        """Its IPv6 address, with the same digits: 10.20.0.11 has fd10:20:0::11, in its short form."""
        return _six(self.address)

    @property
    def gateway6(self) -> str:
        return _six(self.gateway)


@dataclass(frozen=True)
class Site:
    """A complete GitLab site, named after its location."""

    name: str
    role: str
    nodes: tuple[Node, ...]
    joined: bool = False
    """Its nodes form one GitLab, as in GitLab's documentation: they share gitlab-secrets.json, and the site's
    names resolve to every node with the matching part. Otherwise they are not set up yet, and the names
    resolve to the first node.
    """
    own_authority: bool = False
    """Its certificates are from a private CA, which its hosts trust only through GitLab's trusted-certs."""
    unified: bool = False
    """It has the unified URL, under which its hosts reach it; its own names resolve to it too."""
    registry_server: Node | None = None
    """The host without GitLab that runs the site's registry; it is also one of the layout's `servers`."""

    @property
    def gitlab_host(self) -> str:
        return "gitlab.example.com" if self.unified else self.own_gitlab_host

    @property
    def registry_host(self) -> str:
        return "registry.example.com" if self.unified else self.own_registry_host

    @property
    def own_gitlab_host(self) -> str:
        return f"gitlab.{self.name}.example.com"

    @property
    def own_registry_host(self) -> str:
        return f"registry.{self.name}.example.com"

    @property
    def external_url(self) -> str:
        return f"https://{self.gitlab_host}"

    @property
    def registry_url(self) -> str:
        return f"https://{self.registry_host}{self._registry_port}"

    @property
    def internal_url(self) -> str:
        """The URL of this site's GitLab only, also if `external_url` is unified."""
        return f"https://{self.own_gitlab_host}"

    @property
    def registry_internal_url(self) -> str:
        """The same for its registry."""
        return f"https://{self.own_registry_host}{self._registry_port}"

    @property
    def _registry_port(self) -> str:
        # A separate port: nginx accepts any name there, but on 443 it treats any name as GitLab's.
        return ":5050" if self.unified else ""

    @property
    def names(self) -> dict[str, list[str]]:
        """Each name of the site with its addresses, as resolved at the site itself."""
        own = {self.own_gitlab_host: self.gitlab_addresses, self.own_registry_host: self.registry_addresses}
        return own | {self.gitlab_host: self.gitlab_addresses, self.registry_host: self.registry_addresses}

    @property
    def gitlab_addresses(self) -> list[str]:
        """The address of its GitLab."""
        return self._addresses("rails")

    @property
    def registry_addresses(self) -> list[str]:
        """The address of its registry."""
        return [self.registry_server.address] if self.registry_server else self._addresses("registry")

    @property
    def database_host(self) -> str:
        """The name of its own PostgreSQL server, which runs on none of its hosts: lab.databases."""
        return f"db.{self.name}.example.com"

    @property
    def has_common_secrets(self) -> bool:
        """Whether several hosts have the same registry key."""
        return self.joined or self.registry_server is not None

    def _addresses(self, part: str) -> list[str]:
        found = [node.address for node in self.nodes if part in node.runs]
        return found if self.joined else found[:1]

    @property
    def subnet(self) -> str:
        return f"{self.nodes[0].network}.0/24"

    @property
    def subnet6(self) -> str:
        return f"{_six(self.nodes[0].network + '.0')}/64"


@dataclass(frozen=True)
class Layout:
    """The sites of a lab, and hosts without GitLab.

    SSH to the sites in `behind_bastion` is possible only through the first of these hosts.
    """

    sites: tuple[Site, ...]
    servers: tuple[Node, ...] = ()
    behind_bastion: tuple[str, ...] = ()

    def site(self, name: str) -> Site:
        """The site of that name; KeyError lists the existing ones."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(f"no site {name!r} in this lab, only {', '.join(s.name for s in self.sites)}")

    def database_address(self, site: Site) -> str:
        """The address of a site's own PostgreSQL server, whether it runs or not."""
        return f"{SERVICES_ADDRESS.rpartition('.')[0]}.{FIRST_DATABASE + self.sites.index(site)}"

    def registry_of(self, server: Node) -> Site | None:
        """The site whose registry runs on this host without GitLab."""
        return next((site for site in self.sites if site.registry_server == server), None)

    def nodes(self) -> Iterator[tuple[Site | None, Node]]:
        """Every host of the lab with its site; hosts without GitLab belong to none."""
        for site in self.sites:
            for node in site.nodes:
                yield site, node
        for server in self.servers:
            yield None, server

    def find(self, name: str) -> tuple[Site | None, Node]:
        """The node of that name and its site; KeyError lists the existing ones."""
        for site, node in self.nodes():
            if node.name == name:
                return site, node
        raise KeyError(f"no host {name!r} in this lab, only {', '.join(n.name for _, n in self.nodes())}")


def _six(address: str) -> str:
    first, second, third, fourth = address.split(".")
    return str(ipaddress.IPv6Address(f"fd{first}:{second}:{third}::{fourth}"))


def _host_key(node: str) -> Ed25519PrivateKey:
    """Derived from the name, so that committed stack configuration can pin it. It is not secret."""
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
