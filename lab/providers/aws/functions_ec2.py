"""The functions that ask EC2: images, zones, networks, types of machines."""

from __future__ import annotations

import re
from typing import Any

from lab.providers.aws import tagging
from lab.providers.aws.api import Api
from lab.providers.aws.ec2 import by
from lab.providers.protocol import PropertyMap
from lab.providers.resource import Function

_NOTHING = "Your query returned no results. Please change your search criteria and try again."
_UNSAFE = (
    'Most Recent Image Not Filtered: "most_recent" is set to "true" and results are not filtered by owner '
    "or image ID. With this configuration, a third party may introduce a new image which will be returned by "
    "this data source. Filter by owner or image ID to avoid this possibility."
)
_TOLD = (
    "Architecture",
    "CreationDate",
    "Description",
    "Hypervisor",
    "ImageLocation",
    "Name",
    "OwnerId",
    "PlatformDetails",
    "RootDeviceName",
    "RootDeviceType",
    "State",
    "VirtualizationType",
)
"""What is told of an image as AWS tells it."""


def table(api: Api) -> dict[str, Function]:
    """The functions by token."""
    functions = {
        "aws:ec2/getAmi:getAmi": _ami,
        "aws:ec2/getAmiIds:getAmiIds": _ami_ids,
        "aws:ec2/getInstanceTypeOffering:getInstanceTypeOffering": _offering,
        "aws:ec2/getSubnet:getSubnet": _subnet,
        "aws:ec2/getVpc:getVpc": _vpc,
        "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    }

    def bound(function: Any) -> Function:
        return lambda arguments: function({"region": api.region, **arguments}, api)

    return {token: bound(function) for token, function in functions.items()}


def _filters(arguments: PropertyMap) -> list[dict[str, Any]]:
    tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in (arguments.get("tags") or {}).items()]
    return [{"Name": one["name"], "Values": one["values"]} for one in arguments.get("filters") or []] + tags


def _zones(arguments: PropertyMap, api: Api) -> PropertyMap:
    region = arguments["region"]
    with api.errors("ec2", "fetching Availability Zones"):
        asked = {"Filters": _filters(arguments)} if arguments.get("filters") else {}
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


def _ami_ids(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The ids of all images that fit, the newest first unless sortAscending; none is no error."""
    asked: dict[str, Any] = {"Owners": arguments["owners"], "Filters": _filters(arguments)}
    with api.errors("ec2", "reading EC2 AMIs"):
        images = api.client("ec2", arguments["region"]).describe_images(**asked)["Images"]
    images = [image for image in images if re.search(arguments.get("nameRegex") or "", image["Name"])]
    images.sort(key=lambda image: str(image["CreationDate"]), reverse=not arguments.get("sortAscending"))
    return {**arguments, "id": arguments["region"], "ids": [image["ImageId"] for image in images]}


def _ami(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The one image that fits, or with mostRecent the newest; raises RuntimeError for none or several."""
    asked: dict[str, Any] = {"Owners": arguments.get("owners") or [], "Filters": _filters(arguments)}
    sure = {one["Name"] for one in asked["Filters"]} & {"image-id", "owner-id"} or asked["Owners"]
    if arguments.get("mostRecent") and not sure and not arguments.get("allowUnsafeFilter"):
        raise RuntimeError(_UNSAFE)
    with api.errors("ec2", "reading EC2 AMIs"):
        images = api.client("ec2", arguments["region"]).describe_images(**asked)["Images"]
    fitting = [image for image in images if re.search(arguments.get("nameRegex") or "", image["Name"])]
    if not fitting:
        raise RuntimeError(_NOTHING)
    if len(fitting) > 1 and not arguments.get("mostRecent"):
        raise RuntimeError(
            "Your query returned more than one result. Please try a more specific search criteria, "
            "or set `most_recent` attribute to true."
        )
    image = max(fitting, key=lambda image: str(image["CreationDate"]))
    region, id = arguments["region"], image["ImageId"]  # noqa: A001
    return {
        **arguments,
        **{name[:1].lower() + name[1:]: image.get(name, "") for name in _TOLD},
        "arn": f"arn:aws:ec2:{region}::image/{id}",
        "blockDeviceMappings": [_device(one) for one in image.get("BlockDeviceMappings", [])],
        "id": id,
        "imageId": id,
        "imageOwnerAlias": image.get("ImageOwnerAlias", ""),
        "public": image.get("Public", False),
        "tags": tagging.from_api(image.get("Tags")),
    }


def _device(mapping: dict[str, Any]) -> PropertyMap:
    volume = mapping.get("Ebs", {})
    return {
        "deviceName": mapping.get("DeviceName", ""),
        "ebs": {
            "delete_on_termination": str(volume.get("DeleteOnTermination", False)).lower(),
            "encrypted": str(volume.get("Encrypted", False)).lower(),
            "volume_size": str(volume.get("VolumeSize", "")),
            "volume_type": volume.get("VolumeType", ""),
        },
        "noDevice": "",
        "virtualName": mapping.get("VirtualName", ""),
    }


def _one(found: list[dict[str, Any]], what: str) -> dict[str, Any]:
    if not found:
        raise RuntimeError(f"no matching {what} found")
    if len(found) > 1:
        raise RuntimeError(
            f"multiple {what}s matched; use additional constraints to reduce matches to a single {what}"
        )
    return found[0]


def _vpc(arguments: PropertyMap, api: Api) -> PropertyMap:
    region, client = arguments["region"], api.client("ec2", arguments["region"])
    filters = _filters(arguments)
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
    filters = _filters(arguments)
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
            LocationType=where, Filters=_filters(arguments)
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
