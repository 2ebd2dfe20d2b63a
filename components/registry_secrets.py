"""What all sites must agree on: made once or read from the primary, and kept in the stack's state."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_command import remote

from components import connection, node, storage_order
from components.generated import GeneratedSecret
from components.hosts import Hosts
from omnibus.model import Deployment


class RegistrySecrets(pulumi.ComponentResource):
    """`shared`: what every site must agree on; `http_secret(site)`: one for all registries on one storage."""

    def __init__(
        self, name: str, deployment: Deployment, hosts: Hosts, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:RegistrySecrets", name, {}, opts)
        here = pulumi.ResourceOptions(parent=self)
        self._shared_storage = deployment.shared
        rotate = deployment.rotate
        notification = GeneratedSecret("notification-secret", 32, rotate.notification_secret, here)
        scopes = ["shared"] if deployment.shared else [s for s in deployment.sites if deployment.driver_of(s)]
        self._http = {
            scope: GeneratedSecret(f"{scope}-http-secret", 64, rotate.http_secret, here).value
            for scope in scopes
        }
        self._databases = {
            site: pulumi.Output.secret(its.metadata_database.password.get_secret_value())
            for site, its in deployment.sites.items()
            if its.metadata_database
        }
        pair = _key_pair(deployment, hosts, here)
        self.fingerprint = pulumi.Output.unsecret(pair["fingerprint"])
        self.shared: dict[str, pulumi.Input[str]] = {
            "registry_key": pair["registry_key"],
            "registry_certificate": pair["registry_certificate"],
            "notification_secret": notification.value,
        }
        self.register_outputs({"fingerprint": self.fingerprint})

    def of(self, site: str) -> dict[str, pulumi.Input[str]]:
        """All of these secrets that a node of the site may need."""
        http = self._http.get("shared" if self._shared_storage else site)
        own = {} if http is None else {"http_secret": http}
        database = self._databases.get(site)
        return {**self.shared, **own, **({"database_password": database} if database is not None else {})}


def _key_pair(
    deployment: Deployment, hosts: Hosts, opts: pulumi.ResourceOptions
) -> pulumi.Output[dict[str, Any]]:
    """Read from the primary once (made there, on a host that is new); from then on the stack states it.

    Everything else waits for it: a primary that would lose sight of its images refuses before any site is
    touched.
    """
    site = deployment.sites[deployment.primary]
    # Where tokens are signed: what a registry of its own trusts is not always what is in use.
    name = next(iter(site.nodes_with("rails")))
    registries = site.nodes_with("registry")
    looks = []
    if registries and name not in registries and not site.aws and deployment.driver_of(deployment.primary):
        registry = next(iter(registries))
        looks.append(
            _once(deployment, hosts, registry, resource="registry-images", order="inspect_storage", opts=opts)
        )
    keep = pulumi.ResourceOptions(
        depends_on=looks, protect=deployment.protected, additional_secret_outputs=["stdout"]
    )
    opts = pulumi.ResourceOptions.merge(opts, keep)
    return _once(deployment, hosts, name, resource="registry-key", order="adopt", opts=opts).stdout.apply(
        json.loads
    )


def _once(
    deployment: Deployment,
    hosts: Hosts,
    name: str,
    *,
    resource: str,
    order: str,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    """What a node of the primary is asked at the first `up`: asked again it would tell of another `up`."""
    site, reach = deployment.primary, hosts.of(name)
    asked = {**node.order_of(deployment, site, name), "storage": storage_order.place_of(deployment, site)}
    once = pulumi.ResourceOptions(
        depends_on=reach.ready,
        ignore_changes=["connection", "create", "stdin", "addPreviousOutputInEnv", "logging"],
        hooks=reach.explanations.of(resource, site, name),
    )
    return remote.Command(
        resource,
        connection=connection.args(deployment, site, name, reach),
        create=node.command_line(deployment, site, name, order),
        stdin=node.stdin(asked),
        logging=remote.Logging.NONE,
        opts=pulumi.ResourceOptions.merge(opts, once),
    )
