"""The hosts of a site that this stack creates: network, firewall, instances, permissions, host names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.aws_database import AwsDatabase
from components.aws_firewall import AwsFirewall, AwsFirewallArgs
from components.aws_instance import AwsInstance, AwsInstanceArgs
from components.aws_network import AwsNetwork
from plan.aws import AwsSitePlan

_ASSUMED_BY_INSTANCES = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


@dataclass(frozen=True)
class AwsSiteArgs:
    """`addresses`: node → its Elastic IP, of all created sites. `images`: node → the id of its AMI.

    `node_names`: node → its resource name; `zone`: the id of the site's zone. `database`: the site's metadata
    database, if the stack creates it.
    """

    plan: AwsSitePlan
    network: AwsNetwork
    addresses: Mapping[str, aws.ec2.Eip]
    images: Mapping[str, str]
    node_names: Mapping[str, str]
    zone: str | None
    public_key: pulumi.Input[str]
    database: AwsDatabase | None


class AwsSite(pulumi.ComponentResource):
    """`instances`: node → its instance; `firewall`; `role` and `policy` of the instances, if needed.

    `database`: its metadata database, if any; `names`: the records of the site's host names.
    """

    firewall: AwsFirewall
    instances: dict[str, AwsInstance]
    role: aws.iam.Role | None
    policy: aws.iam.RolePolicy | None
    database: AwsDatabase | None
    names: list[pulumi.Resource]

    def __init__(self, name: str, args: AwsSiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan = args.plan
        super().__init__("gitlabgeo:index:AwsSite", name, {"site": plan.site, "region": plan.region}, opts)
        child = pulumi.ResourceOptions(parent=self)
        firewall = AwsFirewallArgs(plan, args.network.vpc_id, args.addresses)
        self.firewall = AwsFirewall(name, firewall, child)
        self.role, self.policy, self.database = None, None, args.database
        login = aws.ec2.KeyPair(f"{name}-login", public_key=args.public_key, opts=child)
        profile = self._profile(name, plan, child)
        self.instances = {
            node: AwsInstance(
                args.node_names[node],
                AwsInstanceArgs(
                    instance,
                    args.images[node],
                    args.network,
                    self.firewall,
                    login.key_name,
                    profile,
                    self._groups(node, plan),
                ),
                child,
            )
            for node, instance in plan.instances.items()
        }
        self.names = self._names(name, args, child)
        self.register_outputs({})

    def _groups(self, node: str, plan: AwsSitePlan) -> list[pulumi.Input[str]]:
        """A node with a registry is a client of the database."""
        connects = self.database and plan.database and node in plan.database.nodes
        return [self.database.clients] if self.database and connects else []

    def _profile(
        self, name: str, plan: AwsSitePlan, child: pulumi.ResourceOptions
    ) -> pulumi.Input[str] | None:
        """The instance profile with permissions for the registry's bucket: there is no key to copy."""
        if plan.role is None:
            return None
        self.role = role = aws.iam.Role(
            f"{name}-instances", assume_role_policy=json.dumps(_ASSUMED_BY_INSTANCES), opts=child
        )
        self.policy = policy = aws.iam.RolePolicy(
            f"{name}-policy-{plan.role.name}",
            role=role.name,
            policy=json.dumps(plan.role.document),
            opts=child,
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[policy])
        return aws.iam.InstanceProfile(f"{name}-instances-profile", role=role.name, opts=after).name

    def _names(self, name: str, args: AwsSiteArgs, child: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        if args.zone is None:
            return []
        return [
            aws.route53.Record(
                f"{name}-name-{host}",
                zone_id=args.zone,
                name=host,
                type="A",
                ttl=60,
                records=[args.addresses[node].public_ip],
                opts=child,
            )
            for host, node in args.plan.names.items()
        ]
