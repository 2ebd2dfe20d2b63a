"""The functions of the aws stand-in: who is asking, where, and what there is."""

from __future__ import annotations

import re
from typing import Any

from lab.providers.aws.api import Api
from lab.providers.protocol import PropertyMap
from lab.providers.resource import Function


def table(api: Api) -> dict[str, Function]:
    """The functions by token."""
    return {
        "aws:index/getCallerIdentity:getCallerIdentity": lambda _: _caller_identity(api),
        "aws:index/getPartition:getPartition": lambda _: _PARTITION,
        "aws:index/getRegion:getRegion": lambda arguments: _region(arguments, api),
        "aws:index/getAvailabilityZones:getAvailabilityZones": lambda arguments: _zones(arguments, api),
        "aws:ec2/getAmi:getAmi": lambda arguments: _ami(arguments, api),
    }


_PARTITION = {
    "id": "aws",
    "partition": "aws",
    "dnsSuffix": "amazonaws.com",
    "reverseDnsPrefix": "com.amazonaws",
}


def _caller_identity(api: Api) -> PropertyMap:
    with api.errors("sts", "reading STS Caller Identity"):
        found = api.client("sts").get_caller_identity()
    account = found["Account"]
    return {"accountId": account, "arn": found["Arn"], "id": account, "userId": found["UserId"]}


def _region(arguments: PropertyMap, api: Api) -> PropertyMap:
    name = arguments.get("region") or arguments.get("name") or api.region
    return {
        "id": name,
        "name": name,
        "region": name,
        "endpoint": f"ec2.{name}.amazonaws.com",
        "description": name,
    }


def _zones(arguments: PropertyMap, api: Api) -> PropertyMap:
    region = arguments.get("region") or api.region
    with api.errors("ec2", "fetching Availability Zones"):
        zones = api.client("ec2", region).describe_availability_zones()["AvailabilityZones"]
    return {
        **arguments,
        "id": region,
        "region": region,
        "names": [zone["ZoneName"] for zone in zones],
        "zoneIds": [zone["ZoneId"] for zone in zones],
        "groupNames": [region],
    }


def _ami(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The one image that fits, or with mostRecent the newest; raises RuntimeError for none or several."""
    filters = [{"Name": one["name"], "Values": one["values"]} for one in arguments.get("filters") or []]
    asked: dict[str, Any] = {"Owners": arguments.get("owners") or [], "Filters": filters}
    with api.errors("ec2", "reading EC2 AMIs"):
        images = api.client("ec2", arguments.get("region")).describe_images(**asked)["Images"]
    fitting = [image for image in images if re.search(arguments.get("nameRegex") or "", image["Name"])]
    if not fitting:
        raise RuntimeError(
            "Your query returned no results. Please change your search criteria and try again."
        )
    if len(fitting) > 1 and not arguments.get("mostRecent"):
        raise RuntimeError(
            "Your query returned more than one result. Please try a more specific search criteria, "
            "or set `most_recent` attribute to true."
        )
    image = max(fitting, key=lambda image: str(image["CreationDate"]))
    return {
        **arguments,
        "id": image["ImageId"],
        "imageId": image["ImageId"],
        "name": image["Name"],
        "architecture": image["Architecture"],
        "rootDeviceName": image.get("RootDeviceName", ""),
        "region": arguments.get("region") or api.region,
        "tags": {},
    }
