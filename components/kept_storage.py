"""Sites that keep the registry storage they have: read on the nodes that no two in truth share one."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_command import remote

from components import connection, external_registry, node
from components.hosts import Hosts
from omnibus import storage
from omnibus.drivers import Filesystem
from omnibus.model import Deployment


def verified(
    deployment: Deployment, hosts: Hosts, opts: pulumi.ResourceOptions | None = None
) -> pulumi.Output[bool]:
    """True once it is known; the update fails before any node is touched if two sites share a storage.

    Opens one more SSH session to each site that keeps its storage, at the first `up` only.
    """
    kept = [name for name in deployment.sites if deployment.driver_of(name) is None]
    if not kept:
        return pulumi.Output.from_input(True)
    places: dict[str, pulumi.Input[dict[str, Any] | None]] = {}
    for name in deployment.sites:
        driver = deployment.driver_of(name)
        if isinstance(driver, Filesystem):
            # The node refuses a directory that is not on its own disk.
            places[name] = None
        elif driver is not None:
            places[name] = storage.identity(driver)
        else:
            places[name] = _read(deployment, name, hosts, opts)
    return pulumi.Output.all(**places).apply(_refuse_shared)


def _read(
    deployment: Deployment, site: str, hosts: Hosts, opts: pulumi.ResourceOptions | None
) -> pulumi.Input[dict[str, Any] | None]:
    """Where a site's images are; None of a registry that is not to be touched."""
    of = deployment.sites[site]
    if of.registry_kind == "by hand":
        return None
    name = next(iter(of.external_hosts or of.nodes_with("registry")))
    reach = hosts.of(name)
    if of.external_hosts:
        line = external_registry.command_line(deployment, site, name, "inspect_storage")
        stdin = external_registry.stdin(external_registry.inspection(deployment, site, name))
    else:
        line = node.command_line(deployment, site, name, "inspect_storage")
        stdin = node.stdin(node.order_of(deployment, site, name))
    once = pulumi.ResourceOptions(
        depends_on=reach.ready,
        ignore_changes=["connection", "create", "stdin", "addPreviousOutputInEnv", "logging"],
        hooks=reach.explanations.of(f"{site}-kept-storage", site, name),
    )
    command = remote.Command(
        f"{site}-kept-storage",
        connection=connection.args(deployment, site, name, reach),
        create=line,
        stdin=stdin,
        logging=remote.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(opts, once),
    )
    return command.stdout.apply(lambda text: json.loads(text)["storage"])


def _refuse_shared(places: dict[str, dict[str, Any] | None]) -> bool:
    shared = storage.shared_by(places)
    if shared:
        raise pulumi.RunError(shared)
    return True
