"""EC2: the root disk of an instance, which is part of the instance's resource."""

from __future__ import annotations

from typing import Any

from lab.providers.aws import ec2, tagging
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap

_MADE = ("encrypted", "iops", "kmsKeyId", "throughput", "volumeSize", "volumeType")
_CHANGED = {"iops": "Iops", "throughput": "Throughput", "volumeSize": "Size", "volumeType": "VolumeType"}


def mapping(client: Any, inputs: PropertyMap) -> list[dict[str, Any]]:
    """`rootBlockDevice` as an argument of the call that creates an instance."""
    images = client.describe_images(ImageIds=[inputs["ami"]])["Images"]
    device = images[0].get("RootDeviceName") if images else None
    disk = inputs["rootBlockDevice"]
    volume = {**pick(disk, *_MADE), "DeleteOnTermination": disk.get("deleteOnTermination", True)}
    if not disk.get("volumeSize"):  # else the image's size
        sizes = [
            one.get("Ebs", {}).get("VolumeSize")
            for one in (images[0]["BlockDeviceMappings"] if images else [])
        ]
        volume["VolumeSize"] = next((size for size in sizes if size), 8)
    return [{"DeviceName": device or "/dev/sda1", "Ebs": volume}]


def look(client: Any, machine: dict[str, Any], state: PropertyMap, default_tags: tagging.Tags) -> PropertyMap:
    """`rootBlockDevice` and, if set, `volumeTags`."""
    root = _root(machine)
    if root is None:
        return {}
    volume = client.describe_volumes(VolumeIds=[root["Ebs"]["VolumeId"]])["Volumes"][0]
    disk = {
        "deleteOnTermination": root["Ebs"]["DeleteOnTermination"],
        "deviceName": root["DeviceName"],
        "encrypted": volume["Encrypted"],
        "iops": volume.get("Iops"),
        "kmsKeyId": volume.get("KmsKeyId"),
        "throughput": volume.get("Throughput"),
        "volumeId": volume["VolumeId"],
        "volumeSize": volume["Size"],
        "volumeType": volume["VolumeType"],
    }
    tags = tagging.from_api(volume.get("Tags"))
    if state.get("volumeTags"):
        own = tagging.split(default_tags, state["volumeTags"], tags)["tags"]
        return {"rootBlockDevice": disk, "volumeTags": own or {}}
    stated = (state.get("rootBlockDevice") or {}).get("tags")
    split = tagging.split(default_tags, stated, tags)
    return {"rootBlockDevice": {**disk, "tags": split["tags"] or {}, "tagsAll": split["tagsAll"]}}


def change(client: Any, id: str, old: PropertyMap, inputs: PropertyMap, default_tags: tagging.Tags) -> None:
    """Update the instance's disk from the old state to the inputs."""
    was, now = old.get("rootBlockDevice") or {}, inputs.get("rootBlockDevice") or {}
    changed = {name for name in now if now[name] != was.get(name)}
    if target := {api: now[name] for name, api in _CHANGED.items() if name in changed and now[name]}:
        client.modify_volume(VolumeId=was["volumeId"], **target)
    if "deleteOnTermination" in changed:
        device = {"DeviceName": was["deviceName"], "Ebs": {"DeleteOnTermination": now["deleteOnTermination"]}}
        client.modify_instance_attribute(InstanceId=id, BlockDeviceMappings=[device])
    if inputs.get("volumeTags") or old.get("volumeTags"):
        formerly = {**default_tags, **(old.get("volumeTags") or {})}
        retag(client, id, formerly, {**default_tags, **(inputs.get("volumeTags") or {})})
    else:
        # Only the tags that are set on this disk: the provider's own tags are applied at creation only, and a
        # former one of them counts as set once it was read (ec2_instance.go, updateTags).
        retag(client, id, was.get("tags") or {}, now.get("tags") or {})


def retag(client: Any, id: str, old: tagging.Tags, new: tagging.Tags) -> None:
    """Change the tags of the instance's disk."""
    if old == new:
        return
    machine = client.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
    if root := _root(machine):
        ec2.retag(client, root["Ebs"]["VolumeId"], old, new)


def _root(machine: dict[str, Any]) -> dict[str, Any] | None:
    disks: list[dict[str, Any]] = machine.get("BlockDeviceMappings", [])
    named = (disk for disk in disks if disk["DeviceName"] == machine.get("RootDeviceName"))
    return next(named, disks[0] if disks else None)
