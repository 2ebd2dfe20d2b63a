"""The functions that search for machine images."""

from __future__ import annotations

import re
import zlib
from typing import Any

from lab.providers.aws.api import Api
from lab.providers.protocol import PropertyMap


def filters_of(arguments: PropertyMap) -> list[dict[str, Any]]:
    """The API's filters from the arguments `filters` and `tags`."""
    tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in (arguments.get("tags") or {}).items()]
    return [{"Name": one["name"], "Values": one["values"]} for one in arguments.get("filters") or []] + tags


def ami_ids(arguments: PropertyMap, api: Api) -> PropertyMap:
    """The ids of all matching images, newest first; none is not an error."""
    ids = [image["ImageId"] for image in _images(arguments, api)]
    ordered = ids[::-1] if arguments.get("sortAscending") else ids
    return {**arguments, "id": str(zlib.crc32(repr(arguments).encode())), "ids": ordered}


def _images(arguments: PropertyMap, api: Api) -> list[dict[str, Any]]:
    """The matching images, newest first."""
    asked = {"Owners": arguments.get("owners") or [], "Filters": filters_of(arguments)}
    with api.errors("ec2", "reading EC2 AMIs"):
        images = api.client("ec2", arguments["region"]).describe_images(**asked)["Images"]
    fitting = [image for image in images if re.search(arguments.get("nameRegex") or "", image["Name"])]
    return sorted(fitting, key=lambda image: str(image["CreationDate"]), reverse=True)
