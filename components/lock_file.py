"""The lock file that registries which may not write would have to write: a node of the primary puts it in.

GitLab's registry marks a storage that it finds images in with the file `filesystem-in-use`, and ends where it
may not: a secondary on shared storage would never start again once something was pushed. So the file is there
before a node is touched, and a storage that belongs to a metadata database is refused before that, too. The
file stays when the stack goes: the primary's registry would write it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_command import remote

from components import connection, node, storage_order
from components.hosts import Hosts
from omnibus import base, credentials, storage
from omnibus.drivers import S3, Azure, Gcs
from omnibus.model import Deployment

NAME = "registry-lock-file"


def lock_file(
    deployment: Deployment,
    hosts: Hosts,
    secrets: storage_order.Secrets,
    *,
    after: Sequence[pulumi.Resource],
) -> list[pulumi.Resource]:
    """What all nodes wait for where registries share a storage; `secrets`: the primary's to its storage.

    One SSH session at the first `up`, and one where the storage, its keys or GitLab's version change. It only
    puts in what is not there, so that it may be done again at any time.
    """
    if not needed(deployment):
        return []
    site, name = deployment.primary, writer(deployment)
    reach = hosts.of(name)
    command = remote.Command(
        NAME,
        connection=connection.args(deployment, site, name, reach),
        create=node.command_line(deployment, site, name, "lock_file"),
        stdin=node.stdin(_order(deployment, name, secrets)),
        logging=remote.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            depends_on=[*after, *reach.ready],
            ignore_changes=node.unread(reach, deployment.ssh_of(site, name)),
            hooks=reach.explanations.of(NAME, site, name),
        ),
    )
    return [command]


def needed(deployment: Deployment) -> bool:
    """Whether the storage is one for several sites, of a driver whose registries have lock files.

    Also before there is a secondary: one that is added later opens no session to the primary. Not swift and
    oss: GitLab dropped both before its registry had lock files, and Distribution has none. Where each site
    has a storage, nobody here may write to that of a site with `read_only`; its nodes say so.
    """
    return deployment.shared and isinstance(deployment.driver_of(deployment.primary), S3 | Gcs | Azure)


def writer(deployment: Deployment) -> str:
    """The node of the primary that comes to the storage with the registry's credentials.

    Of a registry that is not omnibus' a web node: the host of the registry need not have Ruby.
    """
    site = deployment.sites[deployment.primary]
    return next(iter(site.nodes_with("registry") or site.nodes_with("rails")))


def _order(deployment: Deployment, name: str, secrets: storage_order.Secrets) -> dict[str, Any]:
    site = deployment.primary
    s3 = deployment.storage_of(site)
    headers = {"headers": storage.headers(s3)} if s3 else {}
    signing = [name for name in credentials.secret_names() if name in secrets]
    return {
        "node": name,
        "site": site,
        "registry_kind": deployment.sites[site].registry_kind,
        "storage": {**(storage_order.access(deployment, site, secrets) or {}), **headers},
        "secrets": {name: secrets[name] for name in signing},
        "files": base.files(deployment, site, deployment.sites[site].nodes[name]),
        # Another version, or somebody who wants all looked at: the file is put in again if it has gone.
        "gitlab_version": deployment.gitlab_version,
        "asked": deployment.proof,
    }
