"""A whole GitLab: its nodes, in the part that it plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pulumi

from components.hosts import Hosts
from components.node import Node
from components.turns import nodes_before
from omnibus.model import Deployment
from omnibus.storage import shown as shown_storage


class Site(pulumi.ComponentResource):
    """`proof`: node → its checks; `overview`: what a person asks about the site. Nodes go in parallel."""

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
        nodes: dict[str, Node] = {}
        for node, before in nodes_before(deployment, name).items():
            nodes[node] = Node(
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
        self.overview: dict[str, Any] = {
            "role": "primary" if name == deployment.primary else "secondary",
            "registry": site.registry_url,
            "storage": shown_storage(driver) if driver else "kept as it was",
            "read_only": deployment.read_only(name),
            "key_fingerprint": next(iter(nodes.values())).fingerprint,
            "nodes": {n: hosts.of(n).host for n in site.nodes},
        }
        self.register_outputs({"proof": self.proof})


class PrimarySite(Site):
    """Its registry notifies its GitLab of every push."""

    kind = "gitlabgeo:index:PrimarySite"


class SecondarySite(Site):
    """Its GitLab copies the primary's images, or reads them where storage is shared."""

    kind = "gitlabgeo:index:SecondarySite"
