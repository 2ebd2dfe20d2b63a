"""The secrets that all sites share: generated or read from the primary once, then kept in the state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command import remote

from components.generated_secrets import GeneratedSecret
from components.host_session import run_once, session
from components.key_pair import KeyPair
from components.refused_rotation import refused
from components.ssh_target import SshTarget
from config.errors import report
from plan import key_rotation
from plan.key_rotation import KeyRotation, Pair, State
from plan.secrets import SecretsPlan


@dataclass(frozen=True)
class RegistrySecretsArgs:
    """`targets`: every host by name. `in_use`: the fingerprint of the key pair that all nodes have, or ""."""

    plan: SecretsPlan
    targets: Mapping[str, SshTarget]
    in_use: pulumi.Input[str]


class RegistrySecrets(pulumi.ComponentResource):
    """`shared`: the secrets of every site; `of(site)`: these and the site's.

    `fingerprint`: of the registry certificate.
    """

    fingerprint: pulumi.Output[str]
    shared: dict[str, pulumi.Input[Any]]

    def __init__(
        self, name: str, args: RegistrySecretsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:RegistrySecrets", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._plan = plan = args.plan
        notification = GeneratedSecret(f"{name}-notification-secret", 32, plan.notification_rotation, child)
        self._http = {
            scope: GeneratedSecret(f"{name}-{scope}-http-secret", 64, plan.http_rotation, child).value
            for scope in dict.fromkeys(plan.http_scopes.values())
        }
        pair = self._key_pair(name, args)
        self.fingerprint = pulumi.Output.unsecret(pair["fingerprint"])
        self.shared = {
            "registry_key": pair["registry_key"],
            "registry_certificate": pair.apply(key_rotation.bundle),
            "revoked": pulumi.Output.unsecret(pair["revoked"]),
            "notification_secret": notification.value,
        }
        self.register_outputs({"fingerprint": self.fingerprint})

    def of(self, site: str) -> dict[str, pulumi.Input[Any]]:
        """The secrets that a node of the site may need."""
        secrets = dict(self.shared)
        if site in self._plan.http_scopes:
            secrets["http_secret"] = self._http[self._plan.http_scopes[site]]
        if site in self._plan.databases:
            secrets["database_password"] = pulumi.Output.secret(self._plan.databases[site])
        return secrets

    def _key_pair(self, name: str, args: RegistrySecretsArgs) -> pulumi.Output[State]:
        """Read from the primary once (generated there, on a new host), then kept in the stack's state.

        From then on, `rotate` replaces it.

        Everything else waits for it: a primary that would lose its images refuses before any site is
        changed.
        """
        plan, child = args.plan, pulumi.ResourceOptions(parent=self)
        inspected = None
        if plan.inspected_first:
            target = args.targets[plan.inspected_first]
            inspected = run_once(
                f"{name}-images",
                session(target, "inspect_storage", target.plan.inspect),
                logging=remote.Logging.NONE,
                opts=child,
            )
        target = args.targets[plan.key_node]
        adopted = run_once(
            f"{name}-key",
            session(target, "adopt", target.plan.inspect),
            logging=remote.Logging.NONE,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=inspected,
                protect=plan.protect,
                additional_secret_outputs=["stdout"],
            ),
        )
        wanted = plan.key_rotation
        read: pulumi.Output[Pair] = adopted.stdout.apply(json.loads)
        read = pulumi.Output.secret(read)
        protected = pulumi.ResourceOptions(parent=self, protect=plan.protect)
        kept = KeyPair(f"{name}-key-pair", wanted, read, args.in_use, protected)
        return kept.pair.apply(lambda state: _accepted(state, wanted))


def _accepted(state: State, wanted: KeyRotation) -> State:
    """The state, unless the engine kept the former one because the numbers are refused."""
    if state["numbers"] != wanted.numbers:
        raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", [refused(state, wanted)]))
    return state
