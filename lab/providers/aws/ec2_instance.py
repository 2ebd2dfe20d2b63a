"""EC2: instances.  Updates and refreshes follow internal/service/ec2/ec2_instance.go."""

from __future__ import annotations

import base64
from typing import Any

from lab.providers.aws import ec2_launch, ec2_volumes
from lab.providers.aws.api import AwsError
from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import Ec2Resource
from lab.providers.aws.ec2_launch import METADATA
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap, is_unknown
from lab.providers.resource import Call

_LIVING = ("pending", "running", "stopping", "stopped")


class Instance(Ec2Resource):
    token, what, kind = "aws:ec2/instance:Instance", "EC2 Instance", "instance"
    dropping = "terminating"
    replace_on = (
        "ami",
        "associatePublicIpAddress",
        "availabilityZone",
        "ebsOptimized",
        "hibernation",
        "keyName",
        "placementGroup",
        "privateIp",
        "region",
        "rootBlockDevice.encrypted",
        "rootBlockDevice.kmsKeyId",
        "securityGroups",
        "subnetId",
        "tenancy",
    )
    computed = (
        "arn",
        "associatePublicIpAddress",
        "availabilityZone",
        "disableApiTermination",
        "ebsOptimized",
        "iamInstanceProfile",
        "instanceState",
        "instanceType",
        "keyName",
        "metadataOptions",
        "monitoring",
        "primaryNetworkInterfaceId",
        "privateDns",
        "privateIp",
        "publicDns",
        "publicIp",
        "rootBlockDevice",
        "subnetId",
        "tagsAll",
        "tenancy",
        "userDataBase64",
        "vpcSecurityGroupIds",
    )

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        found = []
        if "userData" in values and "userDataBase64" in values:
            found.append(("userData", '"userData": conflicts with userDataBase64'))
        if values.get("volumeTags") and (values.get("rootBlockDevice") or {}).get("tags"):
            found.append(("volumeTags", '"volumeTags": conflicts with rootBlockDevice.tags'))
        if not values.get("instanceType") and not values.get("launchTemplate"):
            found.append(("instanceType", "one of `instanceType,launchTemplate` must be specified"))
        data = values.get("userData")
        if isinstance(data, str) and not is_unknown(data) and len(data) > 16384:
            found.append(("userData", "expected length of userData to be in the range (0 - 16384)"))
        return found

    def replaced_by(self, old: PropertyMap, new: PropertyMap) -> tuple[str, ...]:
        found: tuple[str, ...] = self.replace_on
        if new.get("userDataReplaceOnChange"):
            found = (*found, "userData", "userDataBase64")
        types = old.get("instanceType"), new.get("instanceType")
        if types[0] != types[1] and self._no_common_architecture(new, *types):
            found = (*found, "instanceType")
        return found

    def _no_common_architecture(self, inputs: PropertyMap, *types: Any) -> bool:
        """Whether no image can run on both; if AWS does not know a type, the update must refuse it."""
        if not all(isinstance(one, str) and not is_unknown(one) for one in types):
            return False
        try:
            with self.api.errors(self.service, "reading EC2 Instance Type"):
                response = self._client(inputs).describe_instance_types(InstanceTypes=list(types))
        except AwsError:
            return False
        kinds = [set(one["ProcessorInfo"]["SupportedArchitectures"]) for one in response["InstanceTypes"]]
        return len(kinds) == len(types) and not set.intersection(*kinds)

    def ignoring(self, inputs: PropertyMap, state: PropertyMap, ignored: tuple[str, ...]) -> PropertyMap:
        """The current tags of the disk, if the program ignores them."""
        disk, former = inputs.get("rootBlockDevice"), state.get("rootBlockDevice") or {}
        if "rootBlockDevice.tags" not in ignored or not disk or not former.get("tags"):
            return inputs
        return {**inputs, "rootBlockDevice": {**disk, "tags": former["tags"]}}

    def read(
        self, call: Call, id: str, state: PropertyMap, inputs: PropertyMap
    ) -> tuple[str, PropertyMap, PropertyMap] | None:
        """A disk keeps the provider's tags of its creation; later ones are drift (issue 38301)."""
        answer = super().read(call, id, state, inputs)
        if answer is None or not state:
            return answer
        name, outputs, now = answer
        tags = (outputs.get("rootBlockDevice") or {}).get("tags")
        if tags and now.get("rootBlockDevice") and not now.get("volumeTags"):
            now = {**now, "rootBlockDevice": {**now["rootBlockDevice"], "tags": tags}}
        return name, outputs, now

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        compared = super().comparable(inputs)
        if isinstance(inputs.get("iamInstanceProfile"), str):
            compared["iamInstanceProfile"] = inputs["iamInstanceProfile"].rpartition("/")[2]
        return compared

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = ec2_launch.arguments(client, inputs, self.tag_map(inputs), self.api.default_tags)
        made = ec2_launch.patiently(lambda: client.run_instances(MinCount=1, MaxCount=1, **asked))
        return str(made["Instances"][0]["InstanceId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        self._wait(client, "running", id)
        if tags := (inputs.get("rootBlockDevice") or {}).get("tags"):
            ec2_volumes.retag(client, id, {}, {**self.api.default_tags, **tags})
        if "sourceDestCheck" in inputs and not inputs["sourceDestCheck"]:
            client.modify_instance_attribute(InstanceId=id, SourceDestCheck={"Value": False})

    @staticmethod
    def _wait(client: Any, state: str, id: str) -> None:
        """Wait for the instance, polling at short intervals because the lab is fast."""
        options = {"Delay": 1, "MaxAttempts": 600}
        client.get_waiter(f"instance_{state}").wait(InstanceIds=[id], WaiterConfig=options)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        changed = {name for name in inputs if inputs[name] != old.get(name)}
        if "iamInstanceProfile" in changed or (
            old.get("iamInstanceProfile") and "iamInstanceProfile" not in inputs
        ):
            self._set_profile(client, id, inputs.get("iamInstanceProfile"))
        if "vpcSecurityGroupIds" in changed:
            interface = _described(client, id)["NetworkInterfaces"][0]["NetworkInterfaceId"]
            client.modify_network_interface_attribute(
                NetworkInterfaceId=interface, Groups=inputs["vpcSecurityGroupIds"]
            )
        if "instanceType" in changed:
            self._change_stopped(client, id, InstanceType={"Value": inputs["instanceType"]})
        if changed & {"userData", "userDataBase64"}:
            # Takes effect only at a first boot: cloud-init does not run it again.
            self._change_stopped(client, id, UserData={"Value": ec2_launch.user_data(inputs)})
        if "disableApiTermination" in changed:
            protected = {"Value": bool(inputs["disableApiTermination"])}
            client.modify_instance_attribute(InstanceId=id, DisableApiTermination=protected)
        if "sourceDestCheck" in changed:
            client.modify_instance_attribute(
                InstanceId=id, SourceDestCheck={"Value": inputs["sourceDestCheck"]}
            )
        if "monitoring" in changed:
            (client.monitor_instances if inputs["monitoring"] else client.unmonitor_instances)(
                InstanceIds=[id]
            )
        if "metadataOptions" in changed:
            client.modify_instance_metadata_options(
                InstanceId=id, **pick(inputs["metadataOptions"], *METADATA)
            )
        ec2_volumes.change(client, id, old, inputs, self.api.default_tags)

    def _change_stopped(self, client: Any, id: str, **attribute: Any) -> None:
        client.stop_instances(InstanceIds=[id])
        self._wait(client, "stopped", id)
        client.modify_instance_attribute(InstanceId=id, **attribute)
        client.start_instances(InstanceIds=[id])
        self._wait(client, "running", id)

    @staticmethod
    def _set_profile(client: Any, id: str, name: str | None) -> None:
        only = [{"Name": "instance-id", "Values": [id]}]
        found = client.describe_iam_instance_profile_associations(Filters=only)[
            "IamInstanceProfileAssociations"
        ]
        if name is None:
            for one in found:
                client.disassociate_iam_instance_profile(AssociationId=one["AssociationId"])
            return
        profile = {"IamInstanceProfile": {"Name": name}}
        if found:
            association = found[0]["AssociationId"]
            ec2_launch.patiently(
                lambda: client.replace_iam_instance_profile_association(AssociationId=association, **profile)
            )
        else:
            ec2_launch.patiently(lambda: client.associate_iam_instance_profile(InstanceId=id, **profile))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        found = _described(client, id)
        if found["State"]["Name"] not in _LIVING:
            return None
        common = self.common(found, id, state)
        interface: dict[str, Any] = next(iter(found.get("NetworkInterfaces", [])), {})
        options, profile = found.get("MetadataOptions", {}), found.get("IamInstanceProfile", {})
        protected = client.describe_instance_attribute(InstanceId=id, Attribute="disableApiTermination")
        return {
            "ami": found["ImageId"],
            "arn": common["arn"],
            # An Elastic IP counts too: if a program sets False and adds one, a refresh turns this into a
            # replacement (the same pitfall as in the real provider).
            "associatePublicIpAddress": bool(interface.get("Association")),
            "availabilityZone": found["Placement"]["AvailabilityZone"],
            "disableApiTermination": protected["DisableApiTermination"]["Value"],
            "ebsOptimized": found.get("EbsOptimized", False),
            "iamInstanceProfile": profile.get("Arn", "").rpartition("/")[2] or None,
            "instanceState": found["State"]["Name"],
            "instanceType": found["InstanceType"],
            "keyName": found.get("KeyName"),
            "metadataOptions": {name: options.get(name[:1].upper() + name[1:]) for name in METADATA},
            "monitoring": found.get("Monitoring", {}).get("State") in ("enabled", "pending"),
            "primaryNetworkInterfaceId": interface.get("NetworkInterfaceId"),
            "privateDns": found.get("PrivateDnsName"),
            "privateIp": found.get("PrivateIpAddress"),
            "publicDns": found.get("PublicDnsName", ""),
            "publicIp": found.get("PublicIpAddress", ""),
            "sourceDestCheck": found.get("SourceDestCheck", True),
            "subnetId": found.get("SubnetId"),
            "tags": common["tags"],
            "tenancy": found["Placement"].get("Tenancy", "default"),
            "vpcSecurityGroupIds": [group["GroupId"] for group in found.get("SecurityGroups", [])],
            **self._told_user_data(client, id, state),
            **ec2_volumes.look(client, found, state, self.api.default_tags),
        }

    @staticmethod
    def _told_user_data(client: Any, id: str, state: PropertyMap) -> PropertyMap:
        answer = client.describe_instance_attribute(InstanceId=id, Attribute="userData")
        data = answer.get("UserData", {}).get("Value")
        if "userDataBase64" in state:
            return {"userDataBase64": data}
        # As written: the real provider treats text that is already base64 as the encoded form.
        if data is None or data == state.get("userData"):
            return {"userData": data}
        return {"userData": base64.b64decode(data).decode(errors="replace")}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        if state.get("forceDestroy"):
            client.modify_instance_attribute(InstanceId=id, DisableApiTermination={"Value": False})
        client.terminate_instances(InstanceIds=[id])
        self._wait(client, "terminated", id)


def _described(client: Any, id: str) -> dict[str, Any]:
    reservations = client.describe_instances(InstanceIds=[id])["Reservations"]
    instance: dict[str, Any] = reservations[0]["Instances"][0]
    return instance


TYPES: tuple[type[AwsResource], ...] = (Instance,)
