"""Which site and node a step of the engine's JSON is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

EXTERNAL = "gitlabgeo:index:ExternalRegistryHost"


class Places:
    """Which site and node a resource belongs to. Unchanged resources are not in the JSON, parents included,
    so it is told from the names of parents, and the nodes' sites from the configuration.
    """

    # Parent's type → what its name has behind the name of the site or node (components/*.py).
    SUFFIXES: Mapping[str, str] = {
        "Host": "-host",
        "CreatedSite": "-hosts",
        "SiteNetwork": "-network",
        "SiteFirewall": "-firewall",
        "StorageAccess": "-registry",
    }

    def __init__(self, config: Mapping[str, str], steps: list[dict[str, Any]]) -> None:
        self.sites: set[str] = set()
        self.nodes: dict[str, str] = {}
        for key, value in config.items():
            if key.endswith(":sites"):
                self._configured(value)
        for step in steps:
            kind, name = type_of(step["urn"]), name_of(step["urn"])
            inputs = inputs_of(step, "newState") or inputs_of(step, "oldState")
            if kind in ("gitlabgeo:index:PrimarySite", "gitlabgeo:index:SecondarySite"):
                self.sites.add(name)
            elif kind in ("gitlabgeo:index:Node", EXTERNAL):
                self.nodes[name] = str(inputs.get("site", ""))

    def _configured(self, text: str) -> None:
        try:
            sites = json.loads(text)
            for site, of in sites.items():
                hosts = (of.get("external_registry") or {}).get("hosts") or {}
                self.nodes |= dict.fromkeys([*of.get("nodes", {}), *hosts], site)
            self.sites |= set(sites)
        except (ValueError, AttributeError):
            return  # the whole of it is a secret, or not what it should be: the engine's message tells

    def of(self, urn: str, parent: str) -> tuple[str, str]:
        """(site, node), either of them "" where it is about more than one."""
        for at in (urn, parent):
            name, kind = name_of(at), type_of(at).rpartition(":")[2]
            plain = name.removesuffix(self.SUFFIXES.get(kind, ""))
            if kind in ("Node", "Host", "ExternalRegistryHost"):
                return self.nodes.get(plain, ""), plain
            if kind in ("PrimarySite", "SecondarySite") or kind in self.SUFFIXES:
                return plain, self._node_of_address(urn)
            if kind == "RegistryBucket" and plain in self.sites:
                return plain, ""
        return "", ""

    def _node_of_address(self, urn: str) -> str:
        node = name_of(urn).removesuffix("-address")
        return node if type_of(urn).endswith(":Eip") and node in self.nodes else ""


def inputs_of(step: Mapping[str, Any], side: str) -> dict[str, Any]:
    """The inputs on one side of a step, {} where there is no such side."""
    found: dict[str, Any] = (step.get(side) or {}).get("inputs") or {}
    return found


def type_of(urn: str) -> str:
    """`urn:pulumi:dev::project::gitlabgeo:index:Hosts$aws:ec2/eip:Eip::name` → `aws:ec2/eip:Eip`."""
    parts = urn.split("::", 3)
    return parts[2].rpartition("$")[2] if len(parts) == 4 else ""


def name_of(urn: str) -> str:
    """The same → `name`."""
    return urn.split("::", 3)[-1]
