"""EC2: machines and the keys to them, and what all of EC2 has in common."""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap


class Ec2Resource(AwsResource):
    """Something with an id of AWS's making, and tags that are set in the same way for all."""

    service = "ec2"
    kind = ""
    """What AWS calls it where tags are given and in ARNs, as "vpc"."""

    def tagged(self, inputs: PropertyMap) -> dict[str, Any]:
        """The tags as an argument of the call that makes it."""
        tags = self.tag_list(inputs)
        return {"TagSpecifications": [{"ResourceType": self.kind, "Tags": tags}]} if tags else {}

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        tags = self.tag_list(inputs)
        if lost := set(old.get("tagsAll") or {}) - {tag["Key"] for tag in tags}:
            client.delete_tags(Resources=[id], Tags=[{"Key": key} for key in sorted(lost)])
        if tags:
            client.create_tags(Resources=[id], Tags=tags)

    def common(self, found: dict[str, Any], id: str, state: PropertyMap) -> PropertyMap:
        """ARN, owner and tags out of an answer of the API."""
        owner = found.get("OwnerId") or self.api.account
        arn = f"arn:aws:ec2:{state.get('region') or self.api.region}:{owner}:{self.kind}/{id}"
        return {"arn": arn, "ownerId": owner, "tags": self.own_tags(found.get("Tags", []))}


class KeyPair(Ec2Resource):
    token, what, kind = "aws:ec2/keyPair:KeyPair", "EC2 Key Pair", "key-pair"
    named, longest_name = "keyName", 255
    replace_on = ("keyName", "keyNamePrefix", "publicKey", "region")
    computed = ("arn", "fingerprint", "keyPairId", "keyType", "tagsAll")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        material = inputs["publicKey"].encode()
        client.import_key_pair(KeyName=inputs["keyName"], PublicKeyMaterial=material, **self.tagged(inputs))
        return str(inputs["keyName"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, old["keyPairId"], old, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_key_pairs(KeyNames=[id])["KeyPairs"][0]
        common = self.common(found, id, state)
        return {
            "arn": common["arn"],
            "fingerprint": found["KeyFingerprint"],
            "keyName": id,
            "keyPairId": found["KeyPairId"],
            "keyType": found.get("KeyType"),
            "tags": common["tags"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_key_pair(KeyName=id)


class Instance(Ec2Resource):
    token, what, kind = "aws:ec2/instance:Instance", "EC2 Instance", "instance"
    replace_on = (
        "ami",
        "associatePublicIpAddress",
        "availabilityZone",
        "keyName",
        "privateIp",
        "region",
        "subnetId",
    )
    computed = (
        "arn",
        "availabilityZone",
        "instanceState",
        "primaryNetworkInterfaceId",
        "privateDns",
        "privateIp",
        "publicDns",
        "publicIp",
        "tagsAll",
        "vpcSecurityGroupIds",
    )

    def make(self, client: Any, inputs: PropertyMap) -> str:
        interface = {"DeviceIndex": 0, **pick(inputs, "subnetId", "associatePublicIpAddress")}
        if inputs.get("vpcSecurityGroupIds"):
            interface["Groups"] = inputs["vpcSecurityGroupIds"]
        if inputs.get("privateIp"):
            interface["PrivateIpAddress"] = inputs["privateIp"]
        asked: dict[str, Any] = {"ImageId": inputs["ami"], "NetworkInterfaces": [interface]}
        asked |= pick(inputs, "instanceType", "keyName", "userData")
        if disk := inputs.get("rootBlockDevice"):
            volume = pick(disk, "volumeSize", "volumeType", "encrypted", "iops", "throughput")
            volume["DeleteOnTermination"] = disk.get("deleteOnTermination", True)
            asked["BlockDeviceMappings"] = [{"DeviceName": "/dev/sda1", "Ebs": volume}]
        if options := inputs.get("metadataOptions"):
            names = ("httpEndpoint", "httpPutResponseHopLimit", "httpTokens")
            asked["MetadataOptions"] = pick(options, *names)
        if inputs.get("iamInstanceProfile"):
            asked["IamInstanceProfile"] = {"Name": inputs["iamInstanceProfile"]}
        made = client.run_instances(MinCount=1, MaxCount=1, **asked, **self.tagged(inputs))
        id = str(made["Instances"][0]["InstanceId"])  # noqa: A001
        client.get_waiter("instance_running").wait(InstanceIds=[id])
        return id

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        if old.get("instanceType") != inputs.get("instanceType"):  # AWS changes it only while stopped
            client.stop_instances(InstanceIds=[id])
            client.get_waiter("instance_stopped").wait(InstanceIds=[id])
            client.modify_instance_attribute(InstanceId=id, InstanceType={"Value": inputs["instanceType"]})
            client.start_instances(InstanceIds=[id])
            client.get_waiter("instance_running").wait(InstanceIds=[id])
        groups = inputs.get("vpcSecurityGroupIds")
        if groups and groups != old.get("vpcSecurityGroupIds"):
            client.modify_instance_attribute(InstanceId=id, Groups=groups)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        found = client.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
        if found["State"]["Name"] == "terminated":
            return None
        common = self.common(found, id, state)
        interfaces = found.get("NetworkInterfaces", [])
        return {
            "ami": found["ImageId"],
            "arn": common["arn"],
            "availabilityZone": found["Placement"]["AvailabilityZone"],
            "instanceState": found["State"]["Name"],
            "instanceType": found["InstanceType"],
            "keyName": found.get("KeyName"),
            "primaryNetworkInterfaceId": interfaces[0]["NetworkInterfaceId"] if interfaces else None,
            "privateDns": found.get("PrivateDnsName"),
            "privateIp": found.get("PrivateIpAddress"),
            "publicDns": found.get("PublicDnsName", ""),
            "publicIp": found.get("PublicIpAddress", ""),
            "subnetId": found.get("SubnetId"),
            "tags": common["tags"],
            "vpcSecurityGroupIds": [group["GroupId"] for group in found.get("SecurityGroups", [])],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.terminate_instances(InstanceIds=[id])


TYPES: tuple[type[AwsResource], ...] = (KeyPair, Instance)
