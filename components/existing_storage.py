"""Sites that keep their registry storage: checks on the nodes that no two sites use the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.host_session import run_once, session
from components.ssh_target import SshTarget
from config.errors import report
from plan.existing_storage import ExistingStoragePlan, shared_storage


@dataclass(frozen=True)
class ExistingStorageArgs:
    """`targets`: every host by name."""

    plan: ExistingStoragePlan
    targets: Mapping[str, SshTarget]


class ExistingStorage(pulumi.ComponentResource):
    """`distinct`: true once checked; if two sites share storage, the update fails before it changes a node.

    Opens one additional SSH session per site that keeps its storage, at the first `up` only.
    """

    distinct: pulumi.Output[bool]

    def __init__(
        self, name: str, args: ExistingStorageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:ExistingStorage", name, {}, opts)
        identities: dict[str, pulumi.Input[dict[str, Any] | None]] = {**args.plan.known}
        for site, host in args.plan.inspected.items():
            target = args.targets[host]
            command = run_once(
                f"{name}-{site}-existing-storage",
                session(target, "inspect_storage", target.plan.inspect),
                opts=pulumi.ResourceOptions(parent=self),
            )
            identities[site] = command.stdout.apply(lambda text: json.loads(text)["storage"])
        self.distinct = pulumi.Output.all(**identities).apply(_refuse_shared)
        self.register_outputs({"distinct": self.distinct})


def _refuse_shared(identities: dict[str, dict[str, Any] | None]) -> bool:
    error = shared_storage(identities)
    if error:
        raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", [error]))
    return True
