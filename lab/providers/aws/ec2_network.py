"""EC2: networks."""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import Ec2Resource, by
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap


class Vpc(Ec2Resource):
    token, what, kind = "aws:ec2/vpc:Vpc", "EC2 VPC", "vpc"
    replace_on = ("cidrBlock", "region")
    computed = (
        "arn",
        "defaultNetworkAclId",
        "defaultRouteTableId",
        "defaultSecurityGroupId",
        "dhcpOptionsId",
        "enableDnsHostnames",
        "enableNetworkAddressUsageMetrics",
        "mainRouteTableId",
        "ownerId",
        "tagsAll",
    )

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "cidrBlock", "instanceTenancy")
        return str(client.create_vpc(**asked, **self.tagged(inputs))["Vpc"]["VpcId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        for name, value in pick(inputs, "enableDnsSupport", "enableDnsHostnames").items():
            client.modify_vpc_attribute(VpcId=id, **{name: {"Value": value}})

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        self.finish(client, id, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_vpcs(VpcIds=[id])["Vpcs"][0]
        group = client.describe_security_groups(Filters=by(vpc_id=id, group_name="default"))
        acls = client.describe_network_acls(Filters=by(vpc_id=id))["NetworkAcls"]
        main = client.describe_route_tables(Filters=by(vpc_id=id, association__main="true"))["RouteTables"]
        table = main[0]["RouteTableId"] if main else None
        own = {
            "cidrBlock": found["CidrBlock"],
            "defaultNetworkAclId": next((acl["NetworkAclId"] for acl in acls if acl["IsDefault"]), None),
            "defaultRouteTableId": table,
            "defaultSecurityGroupId": group["SecurityGroups"][0]["GroupId"],
            "dhcpOptionsId": found.get("DhcpOptionsId"),
            "enableNetworkAddressUsageMetrics": False,
            "instanceTenancy": found.get("InstanceTenancy", "default"),
            "mainRouteTableId": table,
        }
        return {**self.common(found, id, state), **own, **self._dns(client, id)}

    @staticmethod
    def _dns(client: Any, id: str) -> PropertyMap:
        def attribute(name: str) -> Any:
            answer = client.describe_vpc_attribute(VpcId=id, Attribute=name)
            return answer[name[:1].upper() + name[1:]]["Value"]

        return {name: attribute(name) for name in ("enableDnsSupport", "enableDnsHostnames")}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_vpc(VpcId=id)


class Subnet(Ec2Resource):
    token, what, kind = "aws:ec2/subnet:Subnet", "EC2 Subnet", "subnet"
    replace_on = ("availabilityZone", "availabilityZoneId", "cidrBlock", "region", "vpcId")
    computed = ("arn", "availabilityZone", "availabilityZoneId", "ownerId", "tagsAll")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId")
        return str(client.create_subnet(**asked, **self.tagged(inputs))["Subnet"]["SubnetId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        if inputs.get("mapPublicIpOnLaunch"):  # off by default on AWS
            self._set_public(client, id, inputs)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        if bool(old.get("mapPublicIpOnLaunch")) != bool(inputs.get("mapPublicIpOnLaunch")):
            self._set_public(client, id, inputs)

    @staticmethod
    def _set_public(client: Any, id: str, inputs: PropertyMap) -> None:
        public = {"Value": bool(inputs.get("mapPublicIpOnLaunch"))}
        client.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=public)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_subnets(SubnetIds=[id])["Subnets"][0]
        own = {
            "availabilityZone": found["AvailabilityZone"],
            "availabilityZoneId": found.get("AvailabilityZoneId"),
            "cidrBlock": found["CidrBlock"],
            "mapPublicIpOnLaunch": found.get("MapPublicIpOnLaunch", False),
            "vpcId": found["VpcId"],
        }
        return {**self.common(found, id, state), **own}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_subnet(SubnetId=id)


class InternetGateway(Ec2Resource):
    token, what = "aws:ec2/internetGateway:InternetGateway", "EC2 Internet Gateway"
    kind = "internet-gateway"
    replace_on = ("region",)
    computed = ("arn", "ownerId", "tagsAll", "vpcId")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        made = client.create_internet_gateway(**self.tagged(inputs))
        return str(made["InternetGateway"]["InternetGatewayId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        if inputs.get("vpcId"):
            client.attach_internet_gateway(InternetGatewayId=id, VpcId=inputs["vpcId"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        if old.get("vpcId") != inputs.get("vpcId"):
            self._detach(client, id, old)
            self.finish(client, id, inputs)

    @staticmethod
    def _detach(client: Any, id: str, state: PropertyMap) -> None:
        if state.get("vpcId"):
            client.detach_internet_gateway(InternetGatewayId=id, VpcId=state["vpcId"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_internet_gateways(InternetGatewayIds=[id])["InternetGateways"][0]
        attached = found.get("Attachments", [])
        return {**self.common(found, id, state), "vpcId": attached[0]["VpcId"] if attached else None}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        self._detach(client, id, state)
        client.delete_internet_gateway(InternetGatewayId=id)


TYPES: tuple[type[AwsResource], ...] = (Vpc, Subnet, InternetGateway)
