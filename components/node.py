"""One GitLab node over SSH: its settings applied and proven in one session, and taken out again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_command import remote

from components import connection, storage_order
from components.hosts import Reach
from components.node_program import program
from omnibus import base, settings
from omnibus.model import Deployment, Site
from omnibus.model import Node as SiteNode
from omnibus.ssh import Ssh

# All that the program needs is in Ruby's standard library, and it starts faster without looking for gems.
RUBY = "/opt/gitlab/embedded/bin/ruby --disable-gems"


class Node(pulumi.ComponentResource):
    """Inputs shown in a preview: site, roles and every setting of the node. `proof` is its result.

    `checked` holds the node back until storage that is kept has been looked at; `after` names what must be
    done first.
    """

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        site: str,
        *,
        reach: Reach,
        secrets: Mapping[str, pulumi.Input[Any]],
        checked: pulumi.Input[bool],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        text = settings.text(deployment, site, name)
        roles = sorted(deployment.sites[site].nodes[name].roles)
        shown = {"site": site, "roles": roles, "settings": settings.preview(deployment, site, name)}
        super().__init__("gitlabgeo:index:Node", name, shown, opts)
        order = {
            **order_of(deployment, site, name),
            "settings": text,
            "secrets": {key: secrets[key] for key in settings.secret_names(deployment, site, name)},
            "storage": storage_order.access(deployment, site, secrets),
            "storage_checked": checked,
            "files": base.files(deployment, site, deployment.sites[site].nodes[name]),
            # Another server at the same address has none of this yet.
            "server": reach.instance.id if reach.instance else None,
        }
        command = session(
            name,
            deployment,
            site,
            reach=reach,
            lines={verb: command_line(deployment, site, name, verb) for verb in ("apply", "undo")},
            stdin=stdin(order),
            after=after,
            parent=self,
        )
        self.result: pulumi.Output[dict[str, Any]] = command.stdout.apply(json.loads)
        self.proof = self.result["proof"]
        self.fingerprint = self.result["fingerprint"]
        self.register_outputs({"proof": self.proof})


def session(
    name: str,
    deployment: Deployment,
    site: str,
    *,
    reach: Reach,
    lines: Mapping[str, str],
    stdin: pulumi.Output[str],
    after: Sequence[pulumi.Resource],
    parent: pulumi.Resource,
) -> remote.Command:
    """The one SSH session in which a host is changed; `lines`: what is run there for `apply` and `undo`."""
    resource = f"{name}-settings"
    return remote.Command(
        resource,
        connection=connection.args(deployment, site, name, reach),
        create=lines["apply"],
        delete=lines["undo"],
        stdin=stdin,
        logging=remote.Logging.STDERR,
        # sshd hands over no such variable, and the former result is of no use to the next run.
        add_previous_output_in_env=False,
        # Another address is another server: the former one is given back first.
        triggers=[reach.host],
        opts=pulumi.ResourceOptions(
            parent=parent,
            delete_before_replace=True,
            depends_on=[*after, *reach.ready],
            # With a server that goes all that is on it goes as well.
            deleted_with=reach.instance,
            ignore_changes=unread(reach, deployment.ssh_of(site, name)),
            hooks=reach.explanations.of(resource, site, name),
        ),
    )


def unread(reach: Reach, ssh: Ssh) -> list[str]:
    """What a preview without the key's file leaves as it was: it needs nothing that leads to the hosts."""
    if not reach.unread:
        return []
    return ["connection.privateKey", *(["connection.proxy.privateKey"] if ssh.bastion else [])]


def stdin(order: Mapping[str, Any]) -> pulumi.Output[str]:
    """The program and its order, as one secret."""
    return pulumi.Output.secret(pulumi.Output.json_dumps(order).apply(lambda text: program() + text))


def order_of(deployment: Deployment, site: str, name: str) -> dict[str, Any]:
    """What the program on the node must know beside the settings; nothing secret."""
    kind = "primary" if site == deployment.primary else "secondary"
    primary = deployment.sites[deployment.primary]
    return {
        "node": name,
        "site": site,
        "kind": kind,
        "roles": sorted(deployment.sites[site].nodes[name].roles),
        "owner": f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}",
        "resource": f"{kind}/{name}",
        "created": deployment.sites[site].aws is not None,
        "issuer": deployment.issuer,
        # Of a secondary only: a primary is not touched by it.
        "replication": kind == "secondary" and deployment.replication,
        "read_only": deployment.read_only(site),
        "data_moved": deployment.storage.data_moved,
        # Others may answer for the site while this node is proven, and are changed at the same time.
        "siblings": any(other != name for other in deployment.sites[site].nodes_with("rails")),
        "registry_url": deployment.sites[site].own_registry_url,
        "registry_kind": deployment.sites[site].registry_kind,
        "public": _public(deployment.sites[site], deployment.sites[site].nodes[name]),
        "registry_url_changes": deployment.sites[site].registry_url_changes,
        "database": _database(deployment.sites[site]),
        "primary": {
            "site": deployment.primary,
            "external_url": primary.own_url,
            "registry_url": primary.own_registry_url,
            "registry_kind": primary.registry_kind,
        },
        "reconfigure_seconds": deployment.reconfigure_seconds,
        "asked": deployment.proof,
    }


def _public(site: Site, node: SiteNode) -> dict[str, str | None]:
    """The URLs that people and GitLab use; None: GitLab asks the registry beside it where that listens."""
    beside = node.has("registry") and not node.registry_http_addr
    return {
        "external_url": site.external_url.rstrip("/"),
        "registry_url": site.registry_url.rstrip("/"),
        "api_url": None if beside else site.own_registry_url,
    }


def _database(site: Site) -> dict[str, str] | None:
    database = site.metadata_database
    return {"host": database.host, "name": database.name} if database else None


def command_line(deployment: Deployment, site: str, name: str, order: str) -> str:
    """`… ruby - apply`. Program and secrets come over stdin."""
    return as_root(deployment, site, name, f"{RUBY} - {order}")


def as_root(deployment: Deployment, site: str, name: str, command: str) -> str:
    """Through sudo for a user that is not root."""
    user = deployment.ssh_of(site, name).user or "root"
    return f"exec {'' if user == 'root' else 'sudo -n '}{command}"
