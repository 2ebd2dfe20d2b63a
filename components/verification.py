"""What nodes answer to each other, checked once those that answer have their settings.

Apply checks what a node can answer alone, and rolls back. Verification changes nothing: if it fails, the
update fails, and the next one only verifies (docs/adr/0007-verification-after-apply.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.host_session import run, session
from components.node import ConfiguredHost, HostArgs


@dataclass(frozen=True)
class VerificationArgs:
    """`hosts`: resource name → a host of the site; `configured`: name → host, including the primary's."""

    hosts: Mapping[str, HostArgs]
    configured: Mapping[str, ConfiguredHost]


class Verification(pulumi.ComponentResource):
    """`proof`: node → check → answer. One SSH session per host that verifies others."""

    proof: pulumi.Output[dict[str, dict[str, str]]]

    def __init__(self, name: str, args: VerificationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gitlabgeo:index:Verification", name, {}, opts)
        answers = {
            host.plan.name: self._ask(resource, host, args)
            for resource, host in args.hosts.items()
            if host.plan.verify is not None
        }
        self.proof = pulumi.Output.all(**answers)
        self.register_outputs({"proof": self.proof})

    def _ask(self, resource: str, host: HostArgs, args: VerificationArgs) -> pulumi.Output[dict[str, str]]:
        before = {one: args.configured[one] for one in host.plan.answering}
        # A change on one of them repeats the verification.
        verify = session(
            host.target,
            "verify",
            host.plan.verify or {},
            host.secrets,
            {"applied": {one: configured.digest for one, configured in before.items()}},
        )
        command = run(
            f"{resource}-verification",
            verify,
            after=[*before.values()],
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        return command.stdout.apply(lambda text: json.loads(text)["proof"])
