"""The functions of the aws stand-in: who is asking, and where."""

from __future__ import annotations

from lab.providers.aws.api import Api
from lab.providers.protocol import PropertyMap
from lab.providers.resource import Function


def table(api: Api) -> dict[str, Function]:
    """The functions by token."""

    def caller_identity(_: PropertyMap) -> PropertyMap:
        with api.errors("reading STS Caller Identity"):
            found = api.client("sts").get_caller_identity()
        return {
            "accountId": found["Account"],
            "arn": found["Arn"],
            "id": found["Account"],
            "userId": found["UserId"],
        }

    def partition(_: PropertyMap) -> PropertyMap:
        return {
            "id": "aws",
            "partition": "aws",
            "dnsSuffix": "amazonaws.com",
            "reverseDnsPrefix": "com.amazonaws",
        }

    def region(arguments: PropertyMap) -> PropertyMap:
        name = arguments.get("region") or arguments.get("name") or api.region
        return {
            "id": name,
            "name": name,
            "region": name,
            "endpoint": f"ec2.{name}.amazonaws.com",
            "description": name,
        }

    return {
        "aws:index/getCallerIdentity:getCallerIdentity": caller_identity,
        "aws:index/getPartition:getPartition": partition,
        "aws:index/getRegion:getRegion": region,
    }
