"""The lock file that read-only registries need but cannot write: a node of the primary writes it.

GitLab's registry marks a storage with images by the file `filesystem-in-use`, and exits if it cannot write
it: a secondary on shared storage would never start again after the first push. So the file is written before
any node is changed, and storage that belongs to a metadata database is refused before that, too. The file
stays when the stack is destroyed: the primary's registry would write it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.host_session import Secrets, run, session
from components.ssh_target import SshTarget
from plan.lock_file import LockFilePlan


@dataclass(frozen=True)
class LockFileArgs:
    """`secrets`: the primary's storage credentials; `after`: what must be done first."""

    plan: LockFilePlan
    target: SshTarget
    secrets: Secrets
    after: Sequence[pulumi.Resource]


class LockFile(pulumi.ComponentResource):
    """One SSH session at the first `up`, and one when the storage, its keys or GitLab's version changes.

    It only writes a missing file, so it can be repeated at any time.
    """

    def __init__(self, name: str, args: LockFileArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gitlabgeo:index:LockFile", name, {}, opts)
        run(
            name,
            session(args.target, "lock_file", args.plan.payload, args.secrets),
            after=args.after,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
