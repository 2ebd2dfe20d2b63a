"""A created site's security group: the rules of omnibus.firewall, each a resource that drift is seen on."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.network import SiteNetwork
from omnibus import firewall
from omnibus.model import Deployment


class SiteFirewall(pulumi.ComponentResource):
    """`group_id`; `ingress`, `egress`: its rules; `ready`: both, without which a server cannot be reached."""

    def __init__(
        self,
        site: str,
        deployment: Deployment,
        networks: Mapping[str, SiteNetwork],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        rules = firewall.rules(deployment, site)
        super().__init__("gitlabgeo:index:SiteFirewall", f"{site}-firewall", {}, opts)
        here = pulumi.ResourceOptions(parent=self)
        addresses = {node: eip for network in networks.values() for node, eip in network.addresses.items()}
        group = aws.ec2.SecurityGroup(
            f"{site}-nodes",
            vpc_id=networks[site].vpc_id,
            description=f"GitLab {site}: managed by Pulumi",
            tags={"Name": f"gitlab-{site}"},
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.created[site].termination_protection),
        )
        self.group_id = group.id
        self.ingress: list[pulumi.CustomResource] = []
        self.egress: list[pulumi.CustomResource] = []
        for rule in rules:
            kind = (
                aws.vpc.SecurityGroupIngressRule if rule.way == "ingress" else aws.vpc.SecurityGroupEgressRule
            )
            cidr: pulumi.Input[str] | None = None
            if isinstance(rule.peer, firewall.Node):
                cidr = pulumi.Output.concat(addresses[rule.peer.name].public_ip, "/32")
            elif rule.peer != "self":
                cidr = rule.peer
            made = kind(
                f"{site}-{rule.way}-{rule.name}",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=rule.ports[0],
                to_port=rule.ports[1],
                cidr_ipv4=cidr,
                referenced_security_group_id=group.id if rule.peer == "self" else None,
                description=rule.why,
                opts=here,
            )
            (self.ingress if rule.way == "ingress" else self.egress).append(made)
        self.ready: list[pulumi.Resource] = [*self.ingress, *self.egress]
        self.register_outputs({"group_id": group.id})
