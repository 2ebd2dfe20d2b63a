"""The stack's output that says what a person does next."""

from __future__ import annotations

import pulumi

from components.hosts import Hosts
from omnibus.model import Deployment
from omnibus.next_steps import Place, Step, next_steps


def todo(deployment: Deployment, hosts: Hosts) -> pulumi.Output[list[Step]]:
    """Empty where every host existed: there Geo has been set up already."""
    if not deployment.created:
        return pulumi.Output.from_input([])
    places = {}
    for site in deployment.sites:
        for node in deployment.sites[site].nodes:
            reach, user = hosts.of(node), deployment.ssh_of(site, node).user or "root"
            private = reach.instance.private_ip if reach.instance else reach.host
            places[node] = pulumi.Output.all(reach.host, private, user, reach.host_key)
    key_made = hosts.login_key is not None
    return pulumi.Output.all(**places).apply(
        lambda known: next_steps(
            deployment, {node: Place(*place) for node, place in known.items()}, key_made=key_made
        )
    )
