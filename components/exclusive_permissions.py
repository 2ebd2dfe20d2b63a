"""Detects what this stack has not created: other rules in its groups, other policies on its roles and users.

AWS keeps those as separate objects, so a refresh of this stack's resources does not detect them. These
resources hold complete lists: `pulumi preview --refresh` shows additions, `pulumi up --refresh` removes them.

They come after the site's nodes. A node that refuses a change keeps its former settings, so what those need
may only be removed when all nodes of the site are done.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.aws_site import AwsSite
from components.registry_storage import StorageAccess


@dataclass(frozen=True)
class ExclusiveInstancesArgs:
    """`after`: what must be done first."""

    site: str
    created: AwsSite
    after: pulumi.Resource


class ExclusiveInstances(pulumi.ComponentResource):
    """For a created site: the rules of its security groups, and the permissions of its instances."""

    def __init__(
        self, name: str, args: ExclusiveInstancesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:ExclusiveInstances", name, {"site": args.site}, opts)
        child = pulumi.ResourceOptions(parent=self, depends_on=[args.after])
        created = args.created
        of_database = created.database.rules if created.database else {}
        for part, rules in {"rules": created.firewall.rules, **of_database}.items():
            aws.ec2.VpcSecurityGroupRulesExclusive(
                f"{name}-exclusive-{part}",
                security_group_id=rules.group_id,
                ingress_rule_ids=[rule.id for rule in rules.ingress],
                egress_rule_ids=[rule.id for rule in rules.egress],
                opts=child,
            )
        if created.role and created.policy:
            aws.iam.RolePoliciesExclusive(
                f"{name}-exclusive-role-policies",
                role_name=created.role.name,
                policy_names=[created.policy.name],
                opts=child,
            )
            aws.iam.RolePolicyAttachmentsExclusive(
                f"{name}-exclusive-role-attachments",
                role_name=created.role.name,
                policy_arns=[],
                opts=child,
            )
        self.register_outputs({})


@dataclass(frozen=True)
class ExclusiveUserArgs:
    """`after`: what must be done first."""

    site: str
    access: StorageAccess
    after: pulumi.Resource


class ExclusiveUser(pulumi.ComponentResource):
    """The permissions of a site's user for its storage."""

    def __init__(
        self, name: str, args: ExclusiveUserArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:ExclusiveUser", name, {"site": args.site}, opts)
        child = pulumi.ResourceOptions(parent=self, depends_on=[args.after])
        aws.iam.UserPoliciesExclusive(
            f"{name}-exclusive-user-policies",
            user_name=args.access.user.name,
            policy_names=[args.access.policy.name],
            opts=child,
        )
        aws.iam.UserPolicyAttachmentsExclusive(
            f"{name}-exclusive-user-attachments",
            user_name=args.access.user.name,
            policy_arns=[],
            opts=child,
        )
        self.register_outputs({})
