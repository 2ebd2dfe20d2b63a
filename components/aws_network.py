"""A created site's network: a VPC with one public subnet (or existing ones), one address per node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from plan.aws import NetworkPlan
from plan.aws_database import public_subnet

WORLD = "0.0.0.0/0"


@dataclass(frozen=True)
class AwsNetworkArgs:
    """`node_names`: node → its resource name, the prefix of its address's."""

    plan: NetworkPlan
    node_names: Mapping[str, str]


class AwsNetwork(pulumi.ComponentResource):
    """`vpc_id`, `subnet_id`, `addresses` (node → its Elastic IP); `ready`: what lets packets in and out."""

    vpc_id: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    addresses: dict[str, aws.ec2.Eip]

    def __init__(self, name: str, args: AwsNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan = args.plan
        shown = {"site": plan.site, "region": plan.region, "cidr": plan.cidr or plan.vpc_id}
        super().__init__("gitlabgeo:index:AwsNetwork", name, shown, opts)
        # Without these, an instance would exist but could not be reached.
        self._protected = pulumi.ResourceOptions(
            parent=self,
            protect=plan.protect,
            # Another range or zone means another network with other instances in it.
            ignore_changes=["cidrBlock", "availabilityZone"],
        )
        self.vpc_id = plan.vpc_id or ""
        self.subnet_id = plan.subnet_id or ""
        self.ready: list[pulumi.Resource] = []
        if plan.cidr:
            self._build(name, plan, plan.cidr)
        # Before any instance: other sites' firewall rules and the site's DNS records need them.
        self.addresses = {
            node: aws.ec2.Eip(
                f"{args.node_names[node]}-address",
                domain="vpc",
                tags={"Name": node},
                opts=pulumi.ResourceOptions(parent=self, protect=plan.protect),
            )
            for node in plan.nodes
        }
        self.register_outputs({"addresses": {node: eip.public_ip for node, eip in self.addresses.items()}})

    def _build(self, name: str, plan: NetworkPlan, cidr: str) -> None:
        tags, child = {"Name": f"gitlab-{plan.site}"}, pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=tags,
            opts=self._protected,
        )
        # AWS creates it with every VPC, open between its members. No instance uses it, so it is closed.
        aws.ec2.DefaultSecurityGroup(
            f"{name}-default-closed", vpc_id=vpc.id, ingress=[], egress=[], tags=tags, opts=child
        )
        gateway = aws.ec2.InternetGateway(f"{name}-gateway", vpc_id=vpc.id, tags=tags, opts=child)
        subnet = aws.ec2.Subnet(
            f"{name}-subnet",
            vpc_id=vpc.id,
            cidr_block=public_subnet(cidr),
            availability_zone=plan.availability_zone,
            tags=tags,
            opts=self._protected,
        )
        routes = aws.ec2.RouteTable(f"{name}-routes", vpc_id=vpc.id, tags=tags, opts=child)
        outside = aws.ec2.Route(
            f"{name}-route-outside",
            route_table_id=routes.id,
            destination_cidr_block=WORLD,
            gateway_id=gateway.id,
            opts=child,
        )
        joined = aws.ec2.RouteTableAssociation(
            f"{name}-subnet-routes", route_table_id=routes.id, subnet_id=subnet.id, opts=child
        )
        self.vpc_id, self.subnet_id = vpc.id, subnet.id
        self.ready = [outside, joined]
