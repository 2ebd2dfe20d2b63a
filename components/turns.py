"""Which nodes are configured at once: all of them, where the engine may do so many things at a time.

Nodes prove each other, and a proof waits for what another node is still being given. One that waits for a
node which has not begun, because too few operations run at a time, would wait for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi.runtime import settings

from omnibus.model import Deployment, Site


def in_turn(deployment: Deployment) -> bool:
    """Whether `--parallel` is less than there are nodes. Raises pulumi.RunError where it is too little."""
    at_once: int | None = settings.SETTINGS.parallel
    if not at_once or at_once < 1 or pulumi.runtime.is_dry_run():
        return False
    if at_once == 1 and any(_apart(site) for site in deployment.sites.values()):
        raise pulumi.RunError(
            "--parallel 1: GitLab's nodes and the registry's prove each other, both must be at work at once; "
            "nothing was touched. Leave --parallel out, or give at least 2."
        )
    return at_once < sum(len(site.nodes) + len(site.external_hosts) for site in deployment.sites.values())


def _apart(site: Site) -> bool:
    return site.registry_kind != "by hand" and any(not node.has("registry") for node in site.nodes.values())


def sites_before(deployment: Deployment, done: Mapping[str, pulumi.Resource]) -> list[pulumi.Resource]:
    """What a secondary comes after, of the sites that are declared.

    A primary that exists serves all along, so that all sites go at once; one that is made here must be there
    before anything can be proven against it.
    """
    if in_turn(deployment):
        return [*done.values()]
    return [done[deployment.primary]] if deployment.primary in deployment.created else []


def nodes_before(deployment: Deployment, site: str) -> dict[str, list[str]]:
    """node, or host of an external registry → those of the site it comes after, in their declaration's order.

    In turn: one web node with one registry, which prove each other, then the others.
    """
    its = deployment.sites[site]
    registries = [*its.nodes_with("registry"), *its.external_hosts]
    pair = list(dict.fromkeys([next(iter(its.nodes_with("rails"))), *registries]))[:2]
    others = [name for name in [*its.nodes, *its.external_hosts] if name not in pair]
    after = pair if in_turn(deployment) else []
    return {**{name: [] for name in pair}, **dict.fromkeys(others, after)}
