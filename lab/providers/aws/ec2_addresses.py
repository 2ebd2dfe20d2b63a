"""EC2: fixed public addresses."""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import Ec2Resource
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap


class Eip(Ec2Resource):
    token, what, kind = "aws:ec2/eip:Eip", "EC2 EIP", "elastic-ip"
    replace_on = ("customerOwnedIpv4Pool", "domain", "networkBorderGroup", "publicIpv4Pool", "region")
    computed = (
        "allocationId",
        "arn",
        "associationId",
        "domain",
        "instance",
        "networkInterface",
        "privateDns",
        "privateIp",
        "publicDns",
        "publicIp",
        "publicIpv4Pool",
        "tagsAll",
    )

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "address", "networkBorderGroup", "publicIpv4Pool")
        made = client.allocate_address(Domain=inputs.get("domain", "vpc"), **asked, **self.tagged(inputs))
        return str(made["AllocationId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        if inputs.get("instance") or inputs.get("networkInterface"):
            target = {
                "InstanceId": inputs.get("instance"),
                "NetworkInterfaceId": inputs.get("networkInterface"),
            }
            asked = {key: value for key, value in target.items() if value}
            client.associate_address(AllocationId=id, AllowReassociation=True, **asked)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        names = ("instance", "networkInterface", "associateWithPrivateIp")
        if any(name in inputs and old.get(name) != inputs[name] for name in names):
            self._disassociate(client, id)
            self.finish(client, id, inputs)

    @staticmethod
    def _disassociate(client: Any, id: str) -> None:
        found = client.describe_addresses(AllocationIds=[id])["Addresses"][0]
        if found.get("AssociationId"):
            client.disassociate_address(AssociationId=found["AssociationId"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_addresses(AllocationIds=[id])["Addresses"][0]
        common = self.common(found, id, state)
        public, region = found["PublicIp"], state.get("region") or self.api.region
        return {
            "allocationId": id,
            "arn": common["arn"],
            "associationId": found.get("AssociationId") or "",
            "domain": found["Domain"],
            "instance": found.get("InstanceId") or "",
            "networkInterface": found.get("NetworkInterfaceId") or "",
            "privateIp": found.get("PrivateIpAddress") or "",
            "publicDns": public_name(public, str(region)),
            "publicIp": public,
            "publicIpv4Pool": found.get("PublicIpv4Pool") or "amazon",
            "tags": common["tags"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        # An instance's address is disassociated first, as the real provider does with `instance`.
        if state.get("instance") and state.get("associationId"):
            self._disassociate(client, id)
        client.release_address(AllocationId=id)


class EipAssociation(AwsResource):
    """An address on an instance; its id is AWS's eipassoc-…"""

    token = "aws:ec2/eipAssociation:EipAssociation"
    what, service = "EC2 EIP Association", "ec2"
    replace_on = (
        "allocationId",
        "allowReassociation",
        "instanceId",
        "networkInterfaceId",
        "privateIpAddress",
        "publicIp",
        "region",
    )
    computed = ("allocationId", "instanceId", "networkInterfaceId", "privateIpAddress", "publicIp")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        names = ("allocationId", "allowReassociation", "instanceId", "networkInterfaceId", "privateIpAddress")
        return str(client.associate_address(**pick(inputs, *names, "publicIp"))["AssociationId"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        only = [{"Name": "association-id", "Values": [id]}]
        found = client.describe_addresses(Filters=only)["Addresses"]
        if not found:
            return None
        names = ("allocationId", "instanceId", "networkInterfaceId", "privateIpAddress", "publicIp")
        return {name: found[0].get(name[:1].upper() + name[1:]) for name in names}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.disassociate_address(AssociationId=id)


def public_name(address: str, region: str) -> str:
    """AWS's DNS name of a public address."""
    zone = "compute-1" if region == "us-east-1" else f"{region}.compute"
    return f"ec2-{address.replace('.', '-')}.{zone}.amazonaws.com"


TYPES: tuple[type[AwsResource], ...] = (Eip, EipAssociation)
