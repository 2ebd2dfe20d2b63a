"""A whole GitLab: its nodes and its registry's hosts, in the part that it plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pulumi

from components.external_registry import ExternalRegistryHost, lines
from components.hosts import Hosts
from components.node import Node
from components.turns import nodes_before
from omnibus.model import Deployment
from omnibus.storage import shown as shown_storage


class Site(pulumi.ComponentResource):
    """`proof`: node → its checks; `overview`: what a person asks about the site. Nodes go in parallel.

    `lines`: what a person puts into the configuration of its registry, where nobody else does.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        *,
        hosts: Hosts,
        secrets: Mapping[str, pulumi.Input[Any]],
        checked: pulumi.Input[bool],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        site = deployment.sites[name]
        shown = {"external_url": site.external_url, "registry_url": site.registry_url}
        # A promotion changes the part a site plays, not the site: its nodes are updated, not made anew.
        parts = [
            pulumi.Alias(type_=part.kind) for part in (PrimarySite, SecondarySite) if part is not type(self)
        ]
        alias = pulumi.ResourceOptions(aliases=parts)
        super().__init__(self.kind, name, shown, pulumi.ResourceOptions.merge(opts, alias))
        self.name = name
        here = pulumi.ResourceOptions(parent=self)
        nodes: dict[str, Node | ExternalRegistryHost] = {}
        for node, before in nodes_before(deployment, name).items():
            kind = Node if node in site.nodes else ExternalRegistryHost
            nodes[node] = kind(
                node,
                deployment,
                name,
                reach=hosts.of(node),
                secrets=secrets,
                checked=checked,
                after=[*after, *(nodes[other] for other in before)],
                opts=here,
            )
        self.proof: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            **{n: node.proof for n, node in nodes.items()}
        )
        driver = deployment.driver_of(name)
        self.lines = lines(deployment, name, secrets) if site.registry_kind == "by hand" else None
        kept = "kept as it was, not looked at" if site.registry_kind == "by hand" else "kept as it was"
        self.overview: dict[str, Any] = {
            "role": "primary" if name == deployment.primary else "secondary",
            "registry": site.registry_url,
            "storage": shown_storage(driver) if driver else kept,
            "read_only": deployment.read_only(name),
            "key_fingerprint": next(n.fingerprint for n in nodes.values() if isinstance(n, Node)),
            "nodes": {n: hosts.of(n).host for n in [*site.nodes, *site.external_hosts]},
        }
        self.register_outputs({"proof": self.proof})


class PrimarySite(Site):
    """Its registry notifies its GitLab of every push."""

    kind = "gitlabgeo:index:PrimarySite"


class SecondarySite(Site):
    """Its GitLab copies the primary's images, or reads them where storage is shared."""

    kind = "gitlabgeo:index:SecondarySite"


def by_hand(sites: Mapping[str, Site]) -> dict[str, pulumi.Output[dict[str, str]]] | None:
    """site → the lines that a person puts in; None where there is no such site."""
    return {name: site.lines for name, site in sites.items() if site.lines is not None} or None
