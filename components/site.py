"""A Geo site: its nodes and the hosts of its registry, in its role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pulumi

from components.external_registry_host import ExternalRegistryHost
from components.host_session import Secrets, complete
from components.node import HostArgs, Node
from plan.node import NodePlan
from plan.resolve import SitePlan


@dataclass(frozen=True)
class SiteArgs:
    """`hosts`: resource name → a host, those with a registry first; `secrets`: all of the site's, and
    addresses that AWS chooses; `more`: further parts of its overview.
    """

    plan: SitePlan
    hosts: Mapping[str, HostArgs]
    secrets: Secrets
    more: Mapping[str, pulumi.Input[str]]


class Site(pulumi.ComponentResource):
    """`hosts`: each with its settings, applied in parallel; `overview`: its entry in the output `sites`.

    `manual_registry`: the lines for its registry, if you configure that manually.
    """

    kind: ClassVar[str]
    hosts: dict[str, Node | ExternalRegistryHost]
    overview: dict[str, Any]
    manual_registry: pulumi.Output[dict[str, str]] | None

    def __init__(self, name: str, args: SiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan = args.plan
        shown = {"site": plan.name, "external_url": plan.external_url, "registry_url": plan.registry_url}
        # A promotion changes a site's role, not the site: its nodes are updated, not replaced.
        roles = [
            pulumi.Alias(type_=role.kind) for role in (PrimarySite, SecondarySite) if role is not type(self)
        ]
        alias = pulumi.ResourceOptions(aliases=roles)
        super().__init__(self.kind, name, shown, pulumi.ResourceOptions.merge(opts, alias))
        self.hosts = {}
        for resource, host in args.hosts.items():
            kind = Node if isinstance(host.plan, NodePlan) else ExternalRegistryHost
            before = [self.hosts[other] for other in host.plan.after]
            ordered = replace(host, after=[*host.after, *before])
            self.hosts[host.plan.name] = kind(resource, ordered, pulumi.ResourceOptions(parent=self))
        self.manual_registry = _manual_registry(plan, args.secrets)
        self.overview = {
            **complete(plan.overview, args.secrets),
            **args.more,
            "key_fingerprint": next(n.fingerprint for n in self.hosts.values() if isinstance(n, Node)),
            "nodes": {host.plan.name: host.target.host for host in args.hosts.values()},
        }
        self.register_outputs({})


class PrimarySite(Site):
    """Its registry notifies its GitLab of every push."""

    kind = "gitlabgeo:index:PrimarySite"


class SecondarySite(Site):
    """Its GitLab copies the primary's images, or reads them from shared storage."""

    kind = "gitlabgeo:index:SecondarySite"


def _manual_registry(plan: SitePlan, secrets: Secrets) -> pulumi.Output[dict[str, str]] | None:
    manual = plan.manual_registry
    if manual is None:
        return None
    names = {*manual.secret_names, "registry_certificate"}
    values = pulumi.Output.all(**{key: secrets[key] for key in names})
    return pulumi.Output.secret(values.apply(manual.lines))
