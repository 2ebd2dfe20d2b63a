"""EC2: the call that starts an instance, and the retries that a new instance profile needs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

from lab.providers.aws import ec2_volumes, retries, tagging
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap

METADATA = (
    "httpEndpoint",
    "httpProtocolIpv6",
    "httpPutResponseHopLimit",
    "httpTokens",
    "instanceMetadataTags",
)
"""The keys of `metadataOptions`."""
_PROPAGATION = 120  # seconds until EC2 must know a new instance profile
_T = TypeVar("_T")


def arguments(
    client: Any, inputs: PropertyMap, tags: tagging.Tags, default_tags: tagging.Tags
) -> dict[str, Any]:
    """The inputs of an instance as arguments of RunInstances."""
    asked = pick(inputs, "instanceType", "keyName", "ebsOptimized", "disableApiTermination")
    asked |= {"ImageId": inputs["ami"], **_network(inputs)}
    if "userData" in inputs or "userDataBase64" in inputs:
        asked["UserData"] = user_data(inputs)
    if "rootBlockDevice" in inputs:
        asked["BlockDeviceMappings"] = ec2_volumes.mapping(client, inputs)
    if options := inputs.get("metadataOptions"):
        asked["MetadataOptions"] = pick(options, *METADATA)
    if inputs.get("iamInstanceProfile"):
        asked["IamInstanceProfile"] = {"Name": inputs["iamInstanceProfile"]}
    if inputs.get("monitoring"):
        asked["Monitoring"] = {"Enabled": True}
    kinds = {"instance": tags, "volume": {**default_tags, **(inputs.get("volumeTags") or {})}}
    specifications = [
        {"ResourceType": kind, "Tags": tagging.to_api(those)} for kind, those in kinds.items() if those
    ]
    return {**asked, **({"TagSpecifications": specifications} if specifications else {})}


def _network(inputs: PropertyMap) -> dict[str, Any]:
    placement = pick(inputs, "availabilityZone", "tenancy")
    asked: dict[str, Any] = {"Placement": placement} if placement else {}
    groups = inputs.get("vpcSecurityGroupIds")
    if inputs.get("associatePublicIpAddress") is None:
        named = {"SecurityGroupIds": groups} if groups else {}
        private = {"PrivateIpAddress": inputs["privateIp"]} if inputs.get("privateIp") else {}
        return {**asked, **pick(inputs, "subnetId"), **named, **private}
    interface = {"DeviceIndex": 0, **pick(inputs, "subnetId", "associatePublicIpAddress")}
    interface |= {"DeleteOnTermination": True, **({"Groups": groups} if groups else {})}
    if inputs.get("privateIp"):
        interface["PrivateIpAddress"] = inputs["privateIp"]
    return {**asked, "NetworkInterfaces": [interface]}


def user_data(inputs: PropertyMap) -> str | bytes:
    """For boto3, which encodes it: text that is already base64 is not encoded twice (ec2_instance.go)."""
    data = inputs.get("userDataBase64") or inputs.get("userData") or ""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return str(data)


def patiently(call: Callable[[], _T]) -> _T:
    """The call's answer, with retries while EC2 does not know an instance profile yet."""
    return retries.until(_PROPAGATION, _propagating, call)


def _propagating(problem: Exception) -> bool:
    text = str(problem)
    return "InvalidParameterValue" in text and (
        "Invalid IAM Instance Profile" in text or " has no associated IAM Roles" in text
    )
