"""The functions that query EC2: images, instances and availability zones."""

from __future__ import annotations

from typing import Any

from lab.providers.aws import functions_images
from lab.providers.aws.api import Api
from lab.providers.aws.functions_images import filters_of
from lab.providers.protocol import PropertyMap
from lab.providers.resource import Function


def table(api: Api) -> dict[str, Function]:
    """The functions by token."""
    functions = {
        "aws:ec2/getAmiIds:getAmiIds": functions_images.ami_ids,
        "aws:ec2/getInstances:getInstances": _instances,
        "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    }

    def bound(function: Any) -> Function:
        return lambda arguments: function({"region": api.region, **arguments}, api)

    return {token: bound(function) for token, function in functions.items()}


def _instances(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The matching instances; only running ones if no state is requested; none is not an error."""
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


def _zones(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The matching availability zones, ordered by name; none is not an error."""
    region, state = arguments["region"], arguments.get("state")
    filters = [*filters_of(arguments), *([{"Name": "state", "Values": [state]}] if state else [])]
    with api.errors("ec2", "reading EC2 Availability Zones"):
        found = api.client("ec2", region).describe_availability_zones(Filters=filters)["AvailabilityZones"]
    found = sorted(found, key=lambda one: str(one["ZoneName"]))
    return {
        **arguments,
        "groupNames": sorted({one.get("GroupName") or region for one in found}),
        "id": region,
        "names": [one["ZoneName"] for one in found],
        "zoneIds": [one.get("ZoneId") for one in found],
    }
