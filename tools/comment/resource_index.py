"""The site and node of a step in the engine's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

EXTERNAL = "gitlabgeo:index:ExternalRegistryHost"


class ResourceIndex:
    """Finds the site and node of a resource: by the names of its parents, which end with the name of their
    site or node, and by the nodes in the configuration. Unchanged resources are not in the JSON.
    """

    NODE = ("Node", "AwsInstance", "ExternalRegistryHost")
    SITE = (
        *("PrimarySite", "SecondarySite", "AwsSite", "AwsNetwork", "AwsFirewall", "AwsDatabase"),
        *("StorageAccess", "Verification", "ExclusiveInstances", "ExclusiveUser"),
    )
    SUFFIXES = ("-verification", "-address")

    def __init__(self, config: Mapping[str, str], steps: list[dict[str, Any]]) -> None:
        self.sites: set[str] = set()
        self.nodes: dict[str, str] = {}
        for key, value in config.items():
            if key.endswith(":sites"):
                self._configured(value)
        for step in steps:
            kind = type_of(step["urn"])
            inputs = inputs_of(step, "newState") or inputs_of(step, "oldState")
            if kind in ("gitlabgeo:index:PrimarySite", "gitlabgeo:index:SecondarySite"):
                self.sites.add(str(inputs.get("site", "")))
            elif kind in ("gitlabgeo:index:Node", EXTERNAL):
                self.nodes[str(inputs.get("node", ""))] = str(inputs.get("site", ""))

    def _configured(self, text: str) -> None:
        try:
            sites = json.loads(text)
            for site, fields in sites.items():
                hosts = (fields.get("external_registry") or {}).get("hosts") or {}
                self.nodes |= dict.fromkeys([*fields.get("nodes", {}), *hosts], site)
            self.sites |= set(sites)
        except (ValueError, AttributeError):
            return  # it is a secret, or invalid: the engine reports that

    def of(self, urn: str, parent: str) -> tuple[str, str]:
        """(site, node); "" if it belongs to more than one."""
        for ancestor in (urn, parent):
            kind = type_of(ancestor).rpartition(":")[2]
            if kind in self.NODE:
                node = self._known(ancestor, self.nodes)
                return self.nodes.get(node, ""), node
            if kind in self.SITE:
                # The verification and the address of a node are children of a resource of the site.
                of_node = ancestor != urn and name_of(urn).endswith(self.SUFFIXES)
                return self._known(ancestor, self.sites), self._known(urn, self.nodes) if of_node else ""
        return "", ""

    def _known(self, urn: str, names: Iterable[str]) -> str:
        """The longest site or node name with which the name of a resource ends, or ""."""
        name = name_of(urn)
        for suffix in self.SUFFIXES:
            name = name.removesuffix(suffix)
        return max((one for one in names if one and f"-{name}".endswith(f"-{one}")), key=len, default="")


def inputs_of(step: Mapping[str, Any], side: str) -> dict[str, Any]:
    """The inputs on one side of a step, {} if it has no such side."""
    inputs: dict[str, Any] = (step.get(side) or {}).get("inputs") or {}
    return inputs


def type_of(urn: str) -> str:
    """`urn:pulumi:dev::project::gitlabgeo:index:AwsNetwork$aws:ec2/eip:Eip::name` → `aws:ec2/eip:Eip`."""
    parts = urn.split("::", 3)
    return parts[2].rpartition("$")[2] if len(parts) == 4 else ""


def name_of(urn: str) -> str:
    """The same → `name`."""
    return urn.split("::", 3)[-1]
