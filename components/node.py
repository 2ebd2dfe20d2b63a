"""One GitLab node: its settings are applied and checked in one session, and removed on delete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.host_session import Secrets, complete, run, session
from components.ssh_target import SshTarget
from plan.node import SETTINGS, HostPlan, NodePlan


@dataclass(frozen=True)
class HostArgs:
    """`secrets`: all of the site's, and addresses that AWS chooses; the host gets those that its plan names.

    `storage_checked`: delays the host until kept storage is checked; `after`: what must be done first.
    """

    plan: HostPlan
    target: SshTarget
    secrets: Secrets
    storage_checked: pulumi.Input[bool]
    after: Sequence[pulumi.Resource]


class ConfiguredHost(pulumi.ComponentResource):
    """A host with its settings. `proof`: check → result; `digest`: of its payload."""

    proof: pulumi.Output[dict[str, str]]
    digest: pulumi.Output[str]

    def __init__(
        self,
        kind: str,
        name: str,
        args: HostArgs,
        shown: dict[str, Any],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        plan, target = args.plan, args.target
        inputs = {
            "site": plan.site,
            "node": plan.name,
            **shown,
            "settings": complete(plan.preview, args.secrets),
        }
        super().__init__(kind, name, inputs, opts)
        triggers: dict[str, pulumi.Input[Any]] = {"storage_checked": args.storage_checked}
        if target.instance:
            # Another instance at the same address has no settings yet.
            triggers["instance"] = target.instance.id
        apply = session(target, "apply", plan.apply, args.secrets, triggers)
        self.digest = apply.digest()
        command = run(
            f"{name}{SETTINGS}",
            apply,
            delete="undo",
            after=args.after,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.result: pulumi.Output[dict[str, Any]] = command.stdout.apply(json.loads)
        self.proof = self.result["proof"]
        self.register_outputs({"proof": self.proof})


class Node(ConfiguredHost):
    """Inputs shown in a preview: site, roles and every setting of the node.

    `fingerprint`: of the registry certificate in effect there.
    """

    fingerprint: pulumi.Output[str]

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        roles = [*args.plan.roles] if isinstance(args.plan, NodePlan) else []
        super().__init__("gitlabgeo:index:Node", name, args, {"roles": roles}, opts)
        self.fingerprint = self.result["fingerprint"]
