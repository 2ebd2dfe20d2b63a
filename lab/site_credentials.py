"""What a site's administrators create once and install on several hosts: CAs and secrets."""

from __future__ import annotations

from pathlib import Path

from lab import administrator, external_registry
from lab.authority import SYSTEM_BUNDLE, Authority
from lab.sites import Layout, Node, Site


class SiteCredentials:
    """Created once per lab. `authority` is the lab's own, which every host trusts like a public CA."""

    def __init__(self, layout: Layout, authority: Authority) -> None:
        self._layout = layout
        self._authority = authority
        self._own = {
            site.name: Authority(f"{site.name.title()} CA") for site in layout.sites if site.own_authority
        }
        self._secrets = {
            site.name: administrator.common_secrets() for site in layout.sites if site.has_common_secrets
        }

    def write_trust(self, directory: Path) -> None:
        """For the workstation, which trusts every site: a bundle of all CAs, and each site's as SITE.pem."""
        system = SYSTEM_BUNDLE.read_bytes() if SYSTEM_BUNDLE.exists() else b""
        self._authority.write_trust(directory, [*(own.pem for own in self._own.values()), system])
        for name, own in self._own.items():
            (directory / f"{name}.pem").write_bytes(own.pem)

    def write_files(self, host: Path, site: Site | None, node: Node) -> None:
        """Install the administrator's files on the host; nothing on a host without a role."""
        if site is not None:
            authority = self._own.get(site.name, self._authority)
            administrator.write_files(host, site, node, authority, self._secrets.get(site.name))
        elif served := self._layout.registry_of(node):
            external_registry.write_files(host, served, self._authority, self._secrets[served.name])
