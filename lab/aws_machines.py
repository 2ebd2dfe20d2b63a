"""EC2 instance and disk features that moto lacks and that the program uses.

Each function names what AWS does and moto does not.
"""

from __future__ import annotations

import base64
from typing import Any

from moto import settings
from moto.core.responses import ActionResult
from moto.ec2 import utils
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import iam_instance_profile
from moto.ec2.models.iam_instance_profile import IamInstanceProfileAssociationBackend
from moto.ec2.models.instances import InstanceBackend, Reservation
from moto.ec2.responses import instances as instance_responses
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.monitoring import Monitoring
from moto.iam.exceptions import NotFoundException
from moto.kms.models import kms_backends

_GP3_THROUGHPUT = 125  # MiB/s, AWS's default


def prepare() -> None:
    """Change moto, before it serves its first request."""
    _protect_from_termination()
    _complete_machines()
    _replace_profiles()
    _tell_of_missing_profiles()
    _know_images_and_types()
    _change_user_data()
    _monitor()


def _protect_from_termination() -> None:
    """RunInstances takes DisableApiTermination."""
    run = InstanceResponse.run_instances

    def protected(self: InstanceResponse) -> Any:
        answer = run(self)
        reservation = answer.result
        if isinstance(reservation, Reservation) and self._get_bool_param("DisableApiTermination", False):
            for instance in reservation.instances:
                instance.disable_api_termination = True
        return answer

    InstanceResponse.run_instances = protected  # type: ignore[method-assign]


def _complete_machines() -> None:
    """The disks of a new instance have the requested IOPS and throughput; its interface goes with it."""
    parse, run = InstanceResponse._parse_block_device_mapping, InstanceBackend.run_instances  # noqa: SLF001

    def parsed(self: InstanceResponse) -> list[dict[str, Any]]:
        asked = {
            one.get("DeviceName"): one.get("Ebs", {}) for one in self._get_param("BlockDeviceMappings", [])
        }
        mappings = parse(self)
        for mapping in mappings:
            mapping["Ebs"]["Throughput"] = asked[mapping["DeviceName"]].get("Throughput")
        return mappings

    def completed(self: InstanceBackend, *arguments: Any, **named: Any) -> Reservation:
        reservation = run(self, *arguments, **named)
        existing = {one.get("NetworkInterfaceId") for one in named.get("nics", [])}
        for instance in reservation.instances:
            for interface in instance.nics.values():
                if interface.id not in existing:
                    interface.delete_on_termination = True
            for mapping in named.get("block_device_mappings", []):
                disk = instance.block_device_mapping.get(mapping["DeviceName"])
                if disk is None:
                    continue
                volume = self.volumes[disk.volume_id]  # type: ignore[attr-defined]
                volume.iops = mapping["Ebs"].get("Iops") or volume.iops
                default = _GP3_THROUGHPUT if volume.volume_type == "gp3" else None
                volume.throughput = mapping["Ebs"].get("Throughput") or default
                if volume.encrypted:
                    volume.kms_key_id = _key_arn(self, str(volume.kms_key_id))
        return reservation

    InstanceResponse._parse_block_device_mapping = parsed  # type: ignore[method-assign]  # noqa: SLF001
    InstanceBackend.run_instances = completed  # type: ignore[method-assign]


def _key_arn(backend: Any, key: str) -> str:
    """The key of a disk in AWS's form, however it was named."""
    keys = kms_backends[backend.account_id][backend.region_name]
    try:
        return str(keys.describe_key(key).arn)
    except KeyError:
        return key


def _replace_profiles() -> None:
    """A replaced association attaches the other profile to the instance."""
    replace = IamInstanceProfileAssociationBackend.replace_iam_instance_profile_association

    def replaced(self: IamInstanceProfileAssociationBackend, *arguments: Any, **named: Any) -> Any:
        association = replace(self, *arguments, **named)
        profile = {"Arn": association.iam_instance_profile.arn, "Id": association.association_id}
        association.instance.iam_instance_profile = profile
        return association

    setattr(IamInstanceProfileAssociationBackend, replace.__name__, replaced)


def _tell_of_missing_profiles() -> None:
    """A profile that EC2 does not know, or not yet, is an invalid parameter of EC2, not an error of IAM."""
    find = utils.filter_iam_instance_profiles

    def found(*arguments: Any, **named: Any) -> Any:
        try:
            return find(*arguments, **named)
        except NotFoundException as missing:
            name = named.get("iam_instance_profile_name") or named.get("iam_instance_profile_arn")
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({name}) for parameter iamInstanceProfile.name is invalid. "
                "Invalid IAM Instance Profile name",
            ) from missing

    for module in (iam_instance_profile, instance_responses):
        setattr(module, find.__name__, found)


def _know_images_and_types() -> None:
    """An instance is refused if its image does not exist in the region, or if its type does not exist
    anywhere.
    """
    settings.ENABLE_AMI_VALIDATION = settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True


def _change_user_data() -> None:
    """ModifyInstanceAttribute accepts user data; moto has already decoded it and decodes it again."""
    parse = instance_responses.parse_user_data  # type: ignore[attr-defined]

    def parsed(value: Any) -> Any:
        return parse(base64.b64encode(value).decode() if isinstance(value, bytes) else value)

    instance_responses.parse_user_data = parsed  # type: ignore[attr-defined]


def _monitor() -> None:
    """MonitorInstances and UnmonitorInstances."""

    def switched(state: str) -> Any:
        def answered(self: Monitoring) -> ActionResult:
            machines = [self.ec2_backend.get_instance(id) for id in self._get_param("InstanceIds", [])]  # noqa: A001
            for machine in machines:
                machine.monitoring_state = state
            monitorings = [{"InstanceId": machine.id, "Monitoring": {"State": state}} for machine in machines]
            return ActionResult({"InstanceMonitorings": monitorings})

        return answered

    for name, state in (("monitor_instances", "enabled"), ("unmonitor_instances", "disabled")):
        setattr(Monitoring, name, switched(state))
