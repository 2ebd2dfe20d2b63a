"""The functions that look for machine images."""

from __future__ import annotations

import re
import zlib
from typing import Any

from lab.providers.aws import tagging
from lab.providers.aws.api import Api
from lab.providers.protocol import PropertyMap

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


def filters_of(arguments: PropertyMap) -> list[dict[str, Any]]:
    """The API's filters out of the arguments `filters` and `tags`."""
    tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in (arguments.get("tags") or {}).items()]
    return [{"Name": one["name"], "Values": one["values"]} for one in arguments.get("filters") or []] + tags


def ami(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The one image that fits, or with mostRecent the newest; raises RuntimeError for none or several."""
    sure = {one["name"] for one in arguments.get("filters") or []} & {"image-id", "owner-id"}
    if arguments.get("mostRecent") and not (
        sure or arguments.get("owners") or arguments.get("allowUnsafeFilter")
    ):
        raise RuntimeError(_UNSAFE)
    fitting = _images(arguments, api)
    if not fitting:
        raise RuntimeError(_NOTHING)
    if len(fitting) > 1 and not arguments.get("mostRecent"):
        raise RuntimeError(
            "Your query returned more than one result. Please try a more specific search criteria, "
            "or set `most_recent` attribute to true."
        )
    image = fitting[0]
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


def ami_ids(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The ids of all images that fit, the newest first; none are no error."""
    ids = [image["ImageId"] for image in _images(arguments, api)]
    ordered = ids[::-1] if arguments.get("sortAscending") else ids
    return {**arguments, "id": str(zlib.crc32(repr(arguments).encode())), "ids": ordered}


def _images(arguments: PropertyMap, api: Api) -> list[dict[str, Any]]:
    """The images that fit, the newest first."""
    asked = {"Owners": arguments.get("owners") or [], "Filters": filters_of(arguments)}
    with api.errors("ec2", "reading EC2 AMIs"):
        images = api.client("ec2", arguments["region"]).describe_images(**asked)["Images"]
    fitting = [image for image in images if re.search(arguments.get("nameRegex") or "", image["Name"])]
    return sorted(fitting, key=lambda image: str(image["CreationDate"]), reverse=True)


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
