"""What moto lacks of EC2 once a program states everything about its machines, groups and disks.

Each function names what AWS does and moto does not. `prepare` puts all of it in place, and with it the
failures that a test can order (lab/aws_faults.py).
"""

from __future__ import annotations

import base64
from typing import Any

from botocore.awsrequest import AWSRequest
from moto import settings
from moto.core.responses import ActionResult
from moto.ec2 import utils
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import iam_instance_profile
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.iam_instance_profile import IamInstanceProfileAssociationBackend
from moto.ec2.models.instances import InstanceBackend, Reservation
from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupBackend, SecurityGroupRule
from moto.ec2.responses import instances as instance_responses
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.monitoring import Monitoring
from moto.iam.access_control import IAMRequestBase
from moto.iam.exceptions import NotFoundException
from moto.route53.exceptions import ResourceRecordAlreadyExists
from moto.route53.models import Route53Backend

from lab import aws_faults

_GP3_THROUGHPUT = 125  # MiB/s, AWS's default


def prepare() -> None:
    """Change moto, before it serves its first request."""
    _protect_from_termination()
    _complete_machines()
    _replace_profiles()
    _tell_of_missing_profiles()
    _modify_rules()
    _keep_groups_in_use()
    _want_gateways()
    _know_images_and_types()
    _change_user_data()
    _monitor()
    _refuse_second_records()
    _check_rest_signatures()
    aws_faults.install()


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
    """The disks of a new machine have the IOPS and throughput asked for; its interface goes when it goes."""
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
        given = {one.get("NetworkInterfaceId") for one in named.get("nics", [])}
        for instance in reservation.instances:
            for interface in instance.nics.values():
                if interface.id not in given:
                    interface.delete_on_termination = True
            for mapping in named.get("block_device_mappings", []):
                disk = instance.block_device_mapping.get(mapping["DeviceName"])
                if disk is None:
                    continue
                volume = self.volumes[disk.volume_id]  # type: ignore[attr-defined]
                volume.iops = mapping["Ebs"].get("Iops") or volume.iops
                default = _GP3_THROUGHPUT if volume.volume_type == "gp3" else None
                volume.throughput = mapping["Ebs"].get("Throughput") or default
        return reservation

    InstanceResponse._parse_block_device_mapping = parsed  # type: ignore[method-assign]  # noqa: SLF001
    InstanceBackend.run_instances = completed  # type: ignore[method-assign]


def _replace_profiles() -> None:
    """A replaced association gives the machine the other profile."""
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


def _modify_rules() -> None:
    """ModifySecurityGroupRules replaces all of a rule: any source, and the description also by none."""
    modify = SecurityGroupBackend.modify_security_group_rules

    def modified(self: SecurityGroupBackend, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
        for rule in rules.values():
            if rule.get("IpProtocol") == "-1":  # it has no ports, which moto wants
                rule.setdefault("FromPort", -1)
                rule.setdefault("ToPort", -1)
        modify(self, group_id, rules)
        group: SecurityGroup = self.get_security_group_by_name_or_id(group_id)  # type: ignore[assignment]
        for rule_id, new in rules.items():
            changed: SecurityGroupRule = group.get_rule(rule_id)  # type: ignore[assignment]
            about = {"Description": new["Description"]} if "Description" in new else {}
            if "ReferencedGroupId" in new:
                changed.source_group = {"GroupId": new["ReferencedGroupId"], **about}
            else:
                given = {"CidrIp": new.get("CidrIpv4"), "CidrIpv6": new.get("CidrIpv6")}
                changed.ip_range = {**{key: value for key, value in given.items() if value}, **about}

    SecurityGroupBackend.modify_security_group_rules = modified  # type: ignore[method-assign]


def _keep_groups_in_use() -> None:
    """A group that an interface has, or that another group's rule names, is not deleted."""
    delete = SecurityGroupBackend.delete_security_group

    def deleted(self: Any, name: str | None = None, group_id: str | None = None) -> None:
        groups = [group for groups in self.groups.values() for group in groups.values()]
        others = [group for group in groups if group.id != group_id]
        named = any(
            rule.source_group.get("GroupId") == group_id
            for group in others
            for rule in [*group.ingress_rules, *group.egress_rules]
        )
        worn = any(group.id == group_id for one in self.enis.values() for group in one.group_set)
        if group_id and (named or worn):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        delete(self, name, group_id)

    SecurityGroupBackend.delete_security_group = deleted  # type: ignore[method-assign]


def _want_gateways() -> None:
    """An Elastic IP goes to a machine only in a network that has an internet gateway by then."""
    associate = ElasticAddressBackend.associate_address

    def associated(self: Any, instance: Any = None, eni: Any = None, *arguments: Any, **named: Any) -> Any:
        network = eni.subnet.vpc_id if eni else instance.vpc_id if instance else None
        if network and not any(one.vpc and one.vpc.id == network for one in self.internet_gateways.values()):
            problem = f"Network {network} is not attached to any internet gateway"
            raise EC2ClientError("Gateway.NotAttached", problem)
        return associate(self, instance, eni, *arguments, **named)

    ElasticAddressBackend.associate_address = associated  # type: ignore[method-assign]


def _know_images_and_types() -> None:
    """A machine is refused whose image does not exist in the region, or whose type nowhere exists."""
    settings.ENABLE_AMI_VALIDATION = settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True


def _change_user_data() -> None:
    """ModifyInstanceAttribute takes user data; moto has it decoded already and decodes it once more."""
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
            told = [{"InstanceId": machine.id, "Monitoring": {"State": state}} for machine in machines]
            return ActionResult({"InstanceMonitorings": told})

        return answered

    for name, state in (("monitor_instances", "enabled"), ("unmonitor_instances", "disabled")):
        setattr(Monitoring, name, switched(state))


def _refuse_second_records() -> None:
    """Route 53's CREATE refuses a name that has a record of that type, also when the values are others."""
    change = Route53Backend.change_resource_record_sets

    def changed(self: Route53Backend, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        there = {(one.name.strip("."), one.type) for one in self.get_hosted_zone(zoneid).rrsets}
        for record in [one["ResourceRecordSet"] for one in change_list if one["Action"] == "CREATE"]:
            name, kind = record["Name"].strip("."), record["Type"]
            if (name, kind) in there and "SetIdentifier" not in record:
                raise ResourceRecordAlreadyExists(name=f"{name}.", _type=kind)
        change(self, zoneid, change_list)

    Route53Backend.change_resource_record_sets = changed  # type: ignore[method-assign]


def _check_rest_signatures() -> None:
    """The signature of Route 53's REST requests: moto takes the headers for a body where there is none."""
    made = IAMRequestBase._create_aws_request  # noqa: SLF001

    def created(self: IAMRequestBase) -> AWSRequest:
        request = made(self)
        if self._service == "route53":
            request.data = self._body or b""
        return request

    IAMRequestBase._create_aws_request = created  # type: ignore[method-assign]  # noqa: SLF001
