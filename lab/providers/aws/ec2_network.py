"""EC2: networks, and who may reach what in them."""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import Ec2Resource
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap


class Vpc(Ec2Resource):
    token, what, kind = "aws:ec2/vpc:Vpc", "EC2 VPC", "vpc"
    replace_on = ("cidrBlock", "region")
    computed = ("arn", "defaultSecurityGroupId", "ownerId", "tagsAll")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "cidrBlock", "instanceTenancy")
        id = str(client.create_vpc(**asked, **self.tagged(inputs))["Vpc"]["VpcId"])  # noqa: A001
        self._set_dns(client, id, inputs)
        return id

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        self._set_dns(client, id, inputs)

    @staticmethod
    def _set_dns(client: Any, id: str, inputs: PropertyMap) -> None:
        for name, value in pick(inputs, "enableDnsSupport", "enableDnsHostnames").items():
            client.modify_vpc_attribute(VpcId=id, **{name: {"Value": value}})

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_vpcs(VpcIds=[id])["Vpcs"][0]
        only = [{"Name": "vpc-id", "Values": [id]}, {"Name": "group-name", "Values": ["default"]}]
        group = client.describe_security_groups(Filters=only)["SecurityGroups"][0]
        dns = {
            name: client.describe_vpc_attribute(VpcId=id, Attribute=name)[name[:1].upper() + name[1:]][
                "Value"
            ]
            for name in ("enableDnsSupport", "enableDnsHostnames")
        }
        own = {"cidrBlock": found["CidrBlock"], "defaultSecurityGroupId": group["GroupId"]}
        return {**self.common(found, id, state), **own, **dns}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_vpc(VpcId=id)


class Subnet(Ec2Resource):
    token, what, kind = "aws:ec2/subnet:Subnet", "EC2 Subnet", "subnet"
    replace_on = ("availabilityZone", "cidrBlock", "region", "vpcId")
    computed = ("arn", "availabilityZone", "ownerId", "tagsAll")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "vpcId", "cidrBlock", "availabilityZone")
        id = str(client.create_subnet(**asked, **self.tagged(inputs))["Subnet"]["SubnetId"])  # noqa: A001
        self._set_public(client, id, inputs)
        return id

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        self._set_public(client, id, inputs)

    @staticmethod
    def _set_public(client: Any, id: str, inputs: PropertyMap) -> None:
        public = {"Value": bool(inputs.get("mapPublicIpOnLaunch"))}
        client.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=public)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_subnets(SubnetIds=[id])["Subnets"][0]
        own = {
            "availabilityZone": found["AvailabilityZone"],
            "cidrBlock": found["CidrBlock"],
            "mapPublicIpOnLaunch": found.get("MapPublicIpOnLaunch", False),
            "vpcId": found["VpcId"],
        }
        return {**self.common(found, id, state), **own}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_subnet(SubnetId=id)


class SecurityGroup(Ec2Resource):
    token, what, kind = "aws:ec2/securityGroup:SecurityGroup", "EC2 Security Group", "security-group"
    named, longest_name = "name", 255
    replace_on = ("description", "name", "namePrefix", "region", "vpcId")
    computed = ("arn", "ownerId", "tagsAll", "vpcId")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        rules = [name for name in ("ingress", "egress") if values.get(name)]
        return [(name, "the lab's stand-in has only aws.vpc.SecurityGroup…Rule for it") for name in rules]

    def make(self, client: Any, inputs: PropertyMap) -> str:
        about = inputs.get("description", "Managed by Pulumi")
        asked = {"GroupName": inputs["name"], "Description": about, **pick(inputs, "vpcId")}
        id = str(client.create_security_group(**asked, **self.tagged(inputs))["GroupId"])  # noqa: A001
        # AWS lets a new group out to everywhere; the real provider takes that away, so that rules say it all.
        everywhere = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        client.revoke_security_group_egress(GroupId=id, IpPermissions=everywhere)
        return id

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]
        own = {"description": found["Description"], "name": found["GroupName"], "vpcId": found.get("VpcId")}
        return {**self.common(found, id, state), **own}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_security_group(GroupId=id)


class _Rule(Ec2Resource):
    kind = "security-group-rule"
    way = ""
    computed = ("arn", "securityGroupRuleId", "tagsAll")
    # The real provider changes some of these in place; AWS's effect is the same.
    replace_on = (
        "cidrIpv4",
        "cidrIpv6",
        "fromPort",
        "ipProtocol",
        "referencedSecurityGroupId",
        "region",
        "securityGroupId",
        "toPort",
    )

    def make(self, client: Any, inputs: PropertyMap) -> str:
        rule: dict[str, Any] = pick(inputs, "ipProtocol", "fromPort", "toPort")
        about = pick(inputs, "description")
        for name, list_name, key in (
            ("cidrIpv4", "IpRanges", "CidrIp"),
            ("cidrIpv6", "Ipv6Ranges", "CidrIpv6"),
            ("referencedSecurityGroupId", "UserIdGroupPairs", "GroupId"),
        ):
            if inputs.get(name):
                rule[list_name] = [{key: inputs[name], **about}]
        authorize = getattr(client, f"authorize_security_group_{self.way}")
        made = authorize(GroupId=inputs["securityGroupId"], IpPermissions=[rule], **self.tagged(inputs))
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        rules = client.describe_security_group_rules(SecurityGroupRuleIds=[id])["SecurityGroupRules"]
        if not rules:
            return None
        common = self.common(rules[0], id, state)
        own = {"securityGroupId": rules[0]["GroupId"], "securityGroupRuleId": id}
        return {"arn": common["arn"], "tags": common["tags"], **own}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        revoke = getattr(client, f"revoke_security_group_{self.way}")
        revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])


class SecurityGroupIngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    what, way = "VPC Security Group Ingress Rule", "ingress"


class SecurityGroupEgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    what, way = "VPC Security Group Egress Rule", "egress"


TYPES: tuple[type[AwsResource], ...] = (
    Vpc,
    Subnet,
    SecurityGroup,
    SecurityGroupIngressRule,
    SecurityGroupEgressRule,
)
