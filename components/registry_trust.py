"""The first step of a rotation of the registry key: every registry trusts the new certificate, too.

All settings wait for it, so that no node signs with the new key before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.host_session import Secrets, run_once, session
from components.ssh_target import SshTarget


@dataclass(frozen=True)
class RegistryTrustArgs:
    """`rotation`: its number; `registries`: resource name → host, and its site's secrets."""

    rotation: int
    registries: Mapping[str, tuple[SshTarget, Secrets]]


class RegistryTrust(pulumi.ComponentResource):
    """One SSH session per registry and rotation: later changes do not depend on it, such as a failover."""

    def __init__(
        self, name: str, args: RegistryTrustArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:RegistryTrust", name, {}, opts)
        for resource, (target, secrets) in args.registries.items():
            run_once(
                f"{resource}-trust-{args.rotation}",
                session(target, "trust", target.plan.trust or {}, secrets),
                opts=pulumi.ResourceOptions(parent=self, deleted_with=target.instance),
            )
        self.register_outputs({})
