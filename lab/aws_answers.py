"""Differences between moto and AWS in answers about deleted resources, and in what moto forgets.

Each function names what AWS does and moto does not.
"""

from __future__ import annotations

from typing import Any

import xmltodict  # type: ignore[import-untyped]
from moto.ec2.exceptions import EC2ClientError, InvalidPermissionNotFoundError
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.route53.models import Route53Backend
from moto.s3.responses import S3Response


def prepare() -> None:
    """Change moto, before it serves its first request."""
    _terminate_twice()
    _name_missing_rules()
    _forget_deleted_records()
    _tag_new_buckets()


def _terminate_twice() -> None:
    """TerminateInstances of an instance that is terminated succeeds; moto misses its network interface."""
    terminate = Instance.terminate

    def terminated(self: Instance, *arguments: Any, **named: Any) -> Any:
        if self.state == "terminated":
            return self._state
        return terminate(self, *arguments, **named)

    Instance.terminate = terminated  # type: ignore[method-assign]


def _name_missing_rules() -> None:
    """Revoking a missing rule by its id has its own error code, which providers ignore."""
    for way in ("ingress", "egress"):
        name = f"revoke_security_group_{way}"
        revoke = getattr(SecurityGroupBackend, name)

        def revoked(self: Any, *arguments: Any, revoke: Any = revoke, **named: Any) -> Any:
            try:
                return revoke(self, *arguments, **named)
            except InvalidPermissionNotFoundError:
                ids = named.get("security_rule_ids")
                if not ids:
                    raise
                problem = f"The security group rule ID '{ids[0]}' does not exist"
                raise EC2ClientError("InvalidSecurityGroupRuleId.NotFound", problem) from None

        setattr(SecurityGroupBackend, name, revoked)


def _forget_deleted_records() -> None:
    """A deleted record can be created again; moto finds the next name in its journal and refuses."""
    change = Route53Backend.change_resource_record_sets

    def changed(self: Route53Backend, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        zone = self.get_hosted_zone(zoneid)
        there = {(one.name.strip("."), one.type) for one in zone.rrsets}
        for one in change_list:
            record = one["ResourceRecordSet"]
            if one["Action"] == "CREATE" and (record["Name"].strip("."), record["Type"]) not in there:
                while one in zone.rr_changes:
                    zone.rr_changes.remove(one)
        change(self, zoneid, change_list)

    Route53Backend.change_resource_record_sets = changed  # type: ignore[method-assign]


def _tag_new_buckets() -> None:
    """CreateBucket takes tags, as it does since 2025."""
    respond = S3Response._bucket_response_put  # noqa: SLF001 (moto has no other place)

    def responded(self: S3Response, request: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
        answer = respond(self, request, bucket_name, querystring)
        if not querystring and self.body and b"<Tags" in self.body:
            stated = xmltodict.parse(self.body, force_list=("Tag",))["CreateBucketConfiguration"]["Tags"]
            tags = {one["Key"]: one.get("Value") or "" for one in (stated or {}).get("Tag", [])}
            self.backend.put_bucket_tagging(bucket_name, tags)
        return answer

    setattr(S3Response, respond.__name__, responded)
