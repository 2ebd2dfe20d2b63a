"""What all sites must agree on: made once or read from the primary, and kept in the stack's state."""

from __future__ import annotations

import json
import secrets as entropy
import string
from typing import Any

import pulumi
from pulumi import dynamic
from pulumi_command import remote

from components import node
from omnibus.model import Deployment

ALPHANUMERIC = string.ascii_letters + string.digits


def generate(length: int) -> str:
    """`length` letters and digits from the system's entropy, a letter first."""
    return entropy.choice(string.ascii_letters) + "".join(
        entropy.choice(ALPHANUMERIC) for _ in range(length - 1)
    )


class _Provider(dynamic.ResourceProvider):
    """Looks only at what asks for a new secret.

    This code itself is among the resource's inputs, and an upgrade of Python or of the program changes it.
    """

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        value = generate(int(props["length"]))
        return dynamic.CreateResult(
            "secret", {"value": value, "length": props["length"], "rotation": props["rotation"]}
        )

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        changed = _olds.get("rotation") != _news.get("rotation")
        return dynamic.DiffResult(changes=changed, replaces=["rotation"] if changed else [])


class GeneratedSecret(dynamic.Resource, module="gitlabgeo", name="GeneratedSecret"):
    """`value`: made at the first `up`, and anew only when `rotation` changes."""

    value: pulumi.Output[str]

    def __init__(self, name: str, length: int, rotation: int, opts: pulumi.ResourceOptions) -> None:
        always = pulumi.ResourceOptions(additional_secret_outputs=["value"], retain_on_delete=True)
        props = {"value": None, "length": length, "rotation": rotation}
        super().__init__(_Provider(), name, props, pulumi.ResourceOptions.merge(opts, always))


class RegistrySecrets(pulumi.ComponentResource):
    """`shared`: what every site must agree on; `http_secret(site)`: one for all registries on one storage."""

    def __init__(self, name: str, deployment: Deployment, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gitlabgeo:index:RegistrySecrets", name, {}, opts)
        here = pulumi.ResourceOptions(parent=self)
        self._shared_storage = deployment.shared
        rotate = deployment.rotate
        notification = GeneratedSecret("notification-secret", 32, rotate.notification_secret, here)
        scopes = (
            ["shared"] if deployment.shared else [s for s in deployment.sites if deployment.storage_of(s)]
        )
        self._http = {
            scope: GeneratedSecret(f"{scope}-http-secret", 64, rotate.http_secret, here).value
            for scope in scopes
        }
        pair = _key_pair(deployment, here)
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
        return {**self.shared, **({"http_secret": http} if http is not None else {})}


def _key_pair(deployment: Deployment, opts: pulumi.ResourceOptions) -> pulumi.Output[dict[str, Any]]:
    """Read from the primary once; from then on the stack states it, whichever site is primary."""
    site = deployment.primary
    name = next(iter(deployment.sites[site].nodes_with("registry")))
    read = remote.Command(
        "registry-key",
        connection=node.connection(deployment, site, name),
        create=node.command_line(deployment, site, name, "adopt"),
        stdin=node.stdin(node.order_of(deployment, site, name)),
        logging=remote.Logging.NONE,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                additional_secret_outputs=["stdout"],
                # Reading again would take over whatever another `up` has put there.
                ignore_changes=["connection", "create", "stdin", "addPreviousOutputInEnv", "logging"],
            ),
        ),
    )
    return read.stdout.apply(json.loads)
