"""A created site's security group: one resource per rule of plan/firewall.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from plan import firewall
from plan.aws import AwsSitePlan


@dataclass(frozen=True)
class GroupRules:
    """A security group and all its rules."""

    group_id: pulumi.Output[str]
    ingress: list[pulumi.CustomResource]
    egress: list[pulumi.CustomResource]

    @property
    def all(self) -> list[pulumi.CustomResource]:
        return [*self.ingress, *self.egress]


@dataclass(frozen=True)
class AwsFirewallArgs:
    """`addresses`: node → its Elastic IP, of all created sites: rules name their peers."""

    plan: AwsSitePlan
    vpc_id: pulumi.Input[str]
    addresses: Mapping[str, aws.ec2.Eip]


class AwsFirewall(pulumi.ComponentResource):
    """`group_id`, and its `rules`; `ready`: what connections need."""

    group_id: pulumi.Output[str]
    rules: GroupRules

    def __init__(self, name: str, args: AwsFirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan = args.plan
        super().__init__("gitlabgeo:index:AwsFirewall", name, {"site": plan.site}, opts)
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            f"{name}-nodes",
            vpc_id=args.vpc_id,
            description=f"GitLab {plan.site}: managed by Pulumi",
            tags={"Name": f"gitlab-{plan.site}"},
            opts=pulumi.ResourceOptions(parent=self, protect=plan.protect),
        )
        self.group_id = group.id
        self.rules = GroupRules(group.id, [], [])
        for rule in plan.rules:
            kind = (
                aws.vpc.SecurityGroupIngressRule if rule.way == "ingress" else aws.vpc.SecurityGroupEgressRule
            )
            cidr: pulumi.Input[str] | None = None
            if isinstance(rule.peer, firewall.Node):
                cidr = pulumi.Output.concat(args.addresses[rule.peer.name].public_ip, "/32")
            elif rule.peer != "self":
                cidr = rule.peer
            resource = kind(
                f"{name}-{rule.way}-{rule.name}",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=rule.ports[0],
                to_port=rule.ports[1],
                cidr_ipv4=cidr,
                referenced_security_group_id=group.id if rule.peer == "self" else None,
                description=rule.why,
                opts=child,
            )
            (self.rules.ingress if rule.way == "ingress" else self.rules.egress).append(resource)
        self.ready: list[pulumi.Resource] = [*self.rules.all]
        self.register_outputs({"group_id": group.id})
