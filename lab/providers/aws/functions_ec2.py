"""The functions that ask EC2: zones, networks, types of machines."""

from __future__ import annotations

from typing import Any

from lab.providers.aws import functions_images, tagging
from lab.providers.aws.api import Api
from lab.providers.aws.ec2 import by
from lab.providers.aws.functions_images import filters_of
from lab.providers.protocol import PropertyMap
from lab.providers.resource import Function


def table(api: Api) -> dict[str, Function]:
    """The functions by token."""
    functions = {
        "aws:ec2/getAmi:getAmi": functions_images.ami,
        "aws:ec2/getAmiIds:getAmiIds": functions_images.ami_ids,
        "aws:ec2/getInstances:getInstances": _instances,
        "aws:ec2/getInstanceTypeOffering:getInstanceTypeOffering": _offering,
        "aws:ec2/getSubnet:getSubnet": _subnet,
        "aws:ec2/getVpc:getVpc": _vpc,
        "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    }

    def bound(function: Any) -> Function:
        return lambda arguments: function({"region": api.region, **arguments}, api)

    return {token: bound(function) for token, function in functions.items()}


def _zones(arguments: PropertyMap, api: Api) -> PropertyMap:
    region = arguments["region"]
    with api.errors("ec2", "fetching Availability Zones"):
        asked = {"Filters": filters_of(arguments)} if arguments.get("filters") else {}
        zones = api.client("ec2", region).describe_availability_zones(**asked)["AvailabilityZones"]
    state = arguments.get("state")
    left_out = (arguments.get("excludeNames") or []) + (arguments.get("excludeZoneIds") or [])
    zones = [
        zone
        for zone in zones
        if state in (None, zone["State"]) and not {zone["ZoneName"], zone["ZoneId"]} & set(left_out)
    ]
    return {
        **arguments,
        "id": region,
        "names": sorted(zone["ZoneName"] for zone in zones),
        "zoneIds": [zone["ZoneId"] for zone in sorted(zones, key=lambda zone: str(zone["ZoneName"]))],
        "groupNames": sorted({zone.get("GroupName") or region for zone in zones}),
    }


def _one(found: list[dict[str, Any]], what: str) -> dict[str, Any]:
    if not found:
        raise RuntimeError(f"no matching {what} found")
    if len(found) > 1:
        raise RuntimeError(
            f"multiple {what}s matched; use additional constraints to reduce matches to a single {what}"
        )
    return found[0]


def _instances(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The machines that fit; only running ones where no state is asked for, and none is no error."""
    region = arguments["region"]
    states = arguments.get("instanceStateNames") or ["running"]
    tags = {"tags": arguments.get("instanceTags")}
    filters = [{"Name": "instance-state-name", "Values": states}, *filters_of({**arguments, **tags})]
    with api.errors("ec2", "reading EC2 Instances"):
        pages = api.client("ec2", region).get_paginator("describe_instances").paginate(Filters=filters)
        found = [one for page in pages for some in page["Reservations"] for one in some["Instances"]]
    return {
        **arguments,
        "id": region,
        "ids": [one["InstanceId"] for one in found],
        "instanceTags": arguments.get("instanceTags") or {},
        "ipv6Addresses": [],
        "privateIps": [one["PrivateIpAddress"] for one in found if one.get("PrivateIpAddress")],
        "publicIps": [one["PublicIpAddress"] for one in found if one.get("PublicIpAddress")],
    }


def _vpc(arguments: PropertyMap, api: Api) -> PropertyMap:
    region, client = arguments["region"], api.client("ec2", arguments["region"])
    filters = filters_of(arguments)
    filters += by(cidr=arguments["cidrBlock"]) if arguments.get("cidrBlock") else []
    filters += by(is_default="true") if arguments.get("default") else []
    ids = {"VpcIds": [arguments["id"]]} if arguments.get("id") else {}
    with api.errors("ec2", "reading EC2 VPC"):
        vpc = _one(client.describe_vpcs(Filters=filters, **ids)["Vpcs"], "EC2 VPC")
        id = vpc["VpcId"]  # noqa: A001
        main = client.describe_route_tables(Filters=by(vpc_id=id, association__main="true"))["RouteTables"]
    return {
        **arguments,
        "arn": f"arn:aws:ec2:{region}:{vpc.get('OwnerId') or api.account}:vpc/{id}",
        "cidrBlock": vpc["CidrBlock"],
        "default": vpc.get("IsDefault", False),
        "dhcpOptionsId": vpc.get("DhcpOptionsId", ""),
        "id": id,
        "instanceTenancy": vpc.get("InstanceTenancy", "default"),
        "mainRouteTableId": main[0]["RouteTableId"] if main else "",
        "ownerId": vpc.get("OwnerId") or api.account,
        "tags": tagging.from_api(vpc.get("Tags")),
    }


def _subnet(arguments: PropertyMap, api: Api) -> PropertyMap:
    filters = filters_of(arguments)
    for name, filter_name in (
        ("vpcId", "vpc_id"),
        ("availabilityZone", "availability_zone"),
        ("cidrBlock", "cidr"),
    ):
        filters += by(**{filter_name: arguments[name]}) if arguments.get(name) else []
    ids = {"SubnetIds": [arguments["id"]]} if arguments.get("id") else {}
    with api.errors("ec2", "reading EC2 Subnet"):
        found = api.client("ec2", arguments["region"]).describe_subnets(Filters=filters, **ids)["Subnets"]
        subnet = _one(found, "EC2 Subnet")
    return {
        **arguments,
        "arn": subnet.get("SubnetArn", ""),
        "availabilityZone": subnet["AvailabilityZone"],
        "availabilityZoneId": subnet.get("AvailabilityZoneId", ""),
        "availableIpAddressCount": subnet.get("AvailableIpAddressCount", 0),
        "cidrBlock": subnet["CidrBlock"],
        "id": subnet["SubnetId"],
        "mapPublicIpOnLaunch": subnet.get("MapPublicIpOnLaunch", False),
        "ownerId": subnet.get("OwnerId") or api.account,
        "state": subnet["State"],
        "tags": tagging.from_api(subnet.get("Tags")),
        "vpcId": subnet["VpcId"],
    }


def _offering(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The type of machine that a place offers: the first preferred one that fits the filters."""
    where = arguments.get("locationType") or "region"
    client = api.client("ec2", arguments["region"])
    with api.errors("ec2", "reading EC2 Instance Type Offerings"):
        pages = client.get_paginator("describe_instance_type_offerings").paginate(
            LocationType=where, Filters=filters_of(arguments)
        )
        offered = [one["InstanceType"] for page in pages for one in page["InstanceTypeOfferings"]]
    preferred = arguments.get("preferredInstanceTypes") or []
    if not offered:
        raise RuntimeError("no EC2 Instance Type Offerings found matching criteria; try different search")
    if not preferred and len(offered) > 1:
        raise RuntimeError("multiple EC2 Instance Offerings found matching criteria; try different search")
    chosen = next((one for one in preferred if one in offered), None) if preferred else offered[0]
    if chosen is None:
        raise RuntimeError("no EC2 Instance Type Offerings found matching criteria; try different search")
    return {**arguments, "id": chosen, "instanceType": chosen, "locationType": where}
