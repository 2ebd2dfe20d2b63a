"""A created site's network: a VPC with one public subnet (or one that is given), an address for each node."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from omnibus.machines import Aws

WORLD = "0.0.0.0/0"


class SiteNetwork(pulumi.ComponentResource):
    """`vpc_id`, `subnet_id`, `addresses` (node → its Elastic IP); `ready`: what lets packets in and out."""

    def __init__(
        self, site: str, of: Aws, nodes: Sequence[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        shown = {"region": of.region, "cidr": of.cidr or of.vpc_id}
        super().__init__("gitlabgeo:index:SiteNetwork", f"{site}-network", shown, opts)
        self._here = pulumi.ResourceOptions(parent=self)
        # Without these a server would be there and nobody could find it.
        self._kept = pulumi.ResourceOptions(
            parent=self,
            protect=of.termination_protection,
            # Another range or zone means another network with other servers in it.
            ignore_changes=["cidrBlock", "availabilityZone"],
        )
        self.vpc_id: pulumi.Input[str] = of.vpc_id or ""
        self.subnet_id: pulumi.Input[str] = of.subnet_id or ""
        self.ready: list[pulumi.Resource] = []
        if of.cidr:
            self._build(site, of, of.cidr)
        # Before any server: the other sites' firewalls and the site's names are about these.
        self.addresses = {
            node: aws.ec2.Eip(
                f"{node}-address",
                domain="vpc",
                tags={"Name": node},
                opts=pulumi.ResourceOptions(parent=self, protect=of.termination_protection),
            )
            for node in nodes
        }
        self.register_outputs({"addresses": {node: eip.public_ip for node, eip in self.addresses.items()}})

    def _build(self, site: str, of: Aws, cidr: str) -> None:
        tags, here = {"Name": f"gitlab-{site}"}, self._here
        vpc = aws.ec2.Vpc(
            f"{site}-vpc",
            cidr_block=cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=tags,
            opts=self._kept,
        )
        # Made by AWS with every VPC, and open among all that are in it: closed, since nothing here uses it.
        aws.ec2.DefaultSecurityGroup(
            f"{site}-default-closed", vpc_id=vpc.id, ingress=[], egress=[], tags=tags, opts=here
        )
        gateway = aws.ec2.InternetGateway(f"{site}-gateway", vpc_id=vpc.id, tags=tags, opts=here)
        subnet = aws.ec2.Subnet(
            f"{site}-subnet",
            vpc_id=vpc.id,
            cidr_block=first_subnet(cidr),
            availability_zone=of.availability_zone,
            tags=tags,
            opts=self._kept,
        )
        routes = aws.ec2.RouteTable(f"{site}-routes", vpc_id=vpc.id, tags=tags, opts=here)
        outside = aws.ec2.Route(
            f"{site}-route-outside",
            route_table_id=routes.id,
            destination_cidr_block=WORLD,
            gateway_id=gateway.id,
            opts=here,
        )
        joined = aws.ec2.RouteTableAssociation(
            f"{site}-subnet-routes", route_table_id=routes.id, subnet_id=subnet.id, opts=here
        )
        self.vpc_id, self.subnet_id = vpc.id, subnet.id
        self.ready = [outside, joined]


def first_subnet(cidr: str) -> str:
    """`10.110.0.0/16` → `10.110.0.0/24`: the rest of the range stays free for what comes later."""
    network = IPv4Network(cidr)
    return str(next(network.subnets(new_prefix=24)) if network.prefixlen < 24 else network)
