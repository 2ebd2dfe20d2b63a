"""Features of security groups, addresses and DNS names that moto lacks and that the program uses.

Each function names what AWS does and moto does not. `prepare` applies all of them, and those for instances
(lab/aws_machines.py), RDS (lab/aws_databases.py), KMS keys (lab/aws_keys.py), answers about deleted resources
(lab/aws_answers.py), the resources that policies are compared with (lab/aws_permissions.py), and the failures
that a test can inject (lab/aws_faults.py).
"""

from __future__ import annotations

from typing import Any

import flask
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupBackend, SecurityGroupRule
from moto.iam.access_control import IAMRequest, IAMRequestBase
from moto.route53.exceptions import ResourceRecordAlreadyExists
from moto.route53.models import Route53Backend

from lab import aws_answers, aws_databases, aws_faults, aws_keys, aws_machines, aws_permissions


def prepare() -> None:
    """Change moto, before it serves its first request."""
    aws_machines.prepare()
    _modify_rules()
    _describe_rules_of_groups()
    _keep_groups_in_use()
    _want_gateways()
    _refuse_second_records()
    _check_rest_signatures()
    aws_answers.prepare()
    aws_keys.prepare()
    aws_databases.prepare()
    aws_permissions.prepare()
    aws_faults.install()


def _modify_rules() -> None:
    """ModifySecurityGroupRules replaces a whole rule: any source, and also a description by none."""
    modify = SecurityGroupBackend.modify_security_group_rules

    def modified(self: SecurityGroupBackend, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
        for rule in rules.values():
            if rule.get("IpProtocol") == "-1":  # it has no ports, which moto requires
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
                ranges = {"CidrIp": new.get("CidrIpv4"), "CidrIpv6": new.get("CidrIpv6")}
                changed.ip_range = {**{key: value for key, value in ranges.items() if value}, **about}

    SecurityGroupBackend.modify_security_group_rules = modified  # type: ignore[method-assign]


def _describe_rules_of_groups() -> None:
    """A rule that names a group has a description too."""

    def description(self: SecurityGroupRule) -> str | None:
        return self.ip_range.get("Description") or self.source_group.get("Description")

    SecurityGroupRule.description = property(description)  # type: ignore[method-assign,assignment]


def _keep_groups_in_use() -> None:
    """A group that an interface uses, or that another group's rule names, is not deleted."""
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
    """An Elastic IP can be associated only in a network that already has an internet gateway."""
    associate = ElasticAddressBackend.associate_address

    def associated(self: Any, instance: Any = None, eni: Any = None, *arguments: Any, **named: Any) -> Any:
        network = eni.subnet.vpc_id if eni else instance.vpc_id if instance else None
        if network and not any(one.vpc and one.vpc.id == network for one in self.internet_gateways.values()):
            problem = f"Network {network} is not attached to any internet gateway"
            raise EC2ClientError("Gateway.NotAttached", problem)
        return associate(self, instance, eni, *arguments, **named)

    ElasticAddressBackend.associate_address = associated  # type: ignore[method-assign]


def _refuse_second_records() -> None:
    """Route 53's CREATE refuses a name that has a record of that type, even with different values."""
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
    """Signatures of REST requests: without a body, moto signs the headers as if they were the body.

    Signatures of S3 Control are like those of S3, over the path as it was sent.
    """
    made, auth = IAMRequestBase._create_aws_request, IAMRequest._create_auth  # noqa: SLF001

    def created(self: IAMRequestBase) -> AWSRequest:
        request = made(self)
        if self._service == "route53" or _of_s3_control(self):
            request.data = self._body or b""
        if _of_s3_control(self):
            request.url = flask.request.environ["RAW_URI"]
        return request

    def signed(self: IAMRequest, credentials: Any) -> Any:
        if _of_s3_control(self):
            return S3SigV4Auth(credentials, self._service, self._region)
        return auth(self, credentials)

    IAMRequestBase._create_aws_request = created  # type: ignore[method-assign]  # noqa: SLF001
    IAMRequest._create_auth = signed  # type: ignore[method-assign]  # noqa: SLF001


def _of_s3_control(request: IAMRequestBase) -> bool:
    return request._service == "s3" and flask.request.path.startswith("/v20180820/")  # noqa: SLF001
