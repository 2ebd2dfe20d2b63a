"""Resources that let a refresh find foreign changes: rules in a group, policies on a role or user, a stop.

They do not exist on AWS as separate objects. Deleting one changes nothing (framework.WithNoOpDelete,
and resourceInstanceStateDelete in internal/service/ec2/ec2_instance_state.go of terraform-provider-aws).
"""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import by
from lab.providers.protocol import PropertyMap


class _Exclusive(AwsResource):
    owner = ""
    """The input that names the owner of the list; it is also the id."""

    def make(self, client: Any, inputs: PropertyMap) -> str:
        self._sync(client, inputs)
        return str(inputs[self.owner])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        self._sync(client, inputs)

    def _sync(self, client: Any, inputs: PropertyMap) -> None:
        raise NotImplementedError

    def state_of(self, id: str) -> PropertyMap:
        return {self.owner: id}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        """Changes nothing."""


class SecurityGroupRules(_Exclusive):
    token = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
    what, service, owner = "Security Group Rules Exclusive", "ec2", "securityGroupId"
    replace_on = ("region", "securityGroupId")

    def _sync(self, client: Any, inputs: PropertyMap) -> None:
        # Missing rules only cause a warning.
        for rule in _rules(client, inputs["securityGroupId"]):
            way = "egress" if rule["IsEgress"] else "ingress"
            if rule["SecurityGroupRuleId"] not in inputs[f"{way}RuleIds"]:
                revoke = getattr(client, f"revoke_security_group_{way}")
                revoke(GroupId=inputs["securityGroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        client.describe_security_groups(GroupIds=[state["securityGroupId"]])
        rules = _rules(client, state["securityGroupId"])
        return {
            "egressRuleIds": sorted(one["SecurityGroupRuleId"] for one in rules if one["IsEgress"]),
            "ingressRuleIds": sorted(one["SecurityGroupRuleId"] for one in rules if not one["IsEgress"]),
            "securityGroupId": state["securityGroupId"],
        }


def _rules(client: Any, group: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("describe_security_group_rules").paginate(Filters=by(group_id=group))
    return [rule for page in pages for rule in page["SecurityGroupRules"]]


class _Inline(_Exclusive):
    """The inline policies of a role or user."""

    service, kind = "iam", ""

    def _names(self, client: Any, owner: str) -> list[str]:
        pages = client.get_paginator(f"list_{self.kind}_policies").paginate(**self._of(owner))
        return sorted(name for page in pages for name in page["PolicyNames"])

    def _of(self, owner: str) -> dict[str, str]:
        return {f"{self.kind.capitalize()}Name": owner}

    def _sync(self, client: Any, inputs: PropertyMap) -> None:
        owner = inputs[self.owner]
        there = self._names(client, owner)
        for name in inputs["policyNames"]:
            if name not in there:
                # Like the real provider, which sends no document, so that AWS refuses it. The policies must
                # come first.
                raise RuntimeError(f"{self.what} ({owner}): PutPolicy of {name} without PolicyDocument")
        for name in there:
            if name not in inputs["policyNames"]:
                getattr(client, f"delete_{self.kind}_policy")(PolicyName=name, **self._of(owner))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        owner = state[self.owner]
        return {self.owner: owner, "policyNames": self._names(client, owner)}


class RolePolicies(_Inline):
    token = "aws:iam/rolePoliciesExclusive:RolePoliciesExclusive"
    what, kind, owner = "Role Policies Exclusive", "role", "roleName"
    replace_on = ("roleName",)


class UserPolicies(_Inline):
    token = "aws:iam/userPoliciesExclusive:UserPoliciesExclusive"
    what, kind, owner = "User Policies Exclusive", "user", "userName"
    replace_on = ("userName",)


class _Attached(_Inline):
    """The managed policies that are attached to a role or user."""

    def _names(self, client: Any, owner: str) -> list[str]:
        pages = client.get_paginator(f"list_attached_{self.kind}_policies").paginate(**self._of(owner))
        return sorted(one["PolicyArn"] for page in pages for one in page["AttachedPolicies"])

    def _sync(self, client: Any, inputs: PropertyMap) -> None:
        owner = inputs[self.owner]
        there = self._names(client, owner)
        for arn in inputs["policyArns"]:
            if arn not in there:
                getattr(client, f"attach_{self.kind}_policy")(PolicyArn=arn, **self._of(owner))
        for arn in there:
            if arn not in inputs["policyArns"]:
                getattr(client, f"detach_{self.kind}_policy")(PolicyArn=arn, **self._of(owner))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        owner = state[self.owner]
        return {self.owner: owner, "policyArns": self._names(client, owner)}


class RolePolicyAttachments(_Attached):
    token = "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive"
    what, kind, owner = "Role Policy Attachments Exclusive", "role", "roleName"
    replace_on = ("roleName",)


class UserPolicyAttachments(_Attached):
    token = "aws:iam/userPolicyAttachmentsExclusive:UserPolicyAttachmentsExclusive"
    what, kind, owner = "User Policy Attachments Exclusive", "user", "userName"
    replace_on = ("userName",)


class InstanceState(AwsResource):
    """Whether an instance runs. Pulumi has it in the module of the transit gateways."""

    token = "aws:ec2transitgateway/instanceState:InstanceState"
    what, service = "EC2 (Elastic Compute Cloud) Instance State", "ec2"
    replace_on = ("instanceId", "region")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        state = values.get("state")
        if state in (None, "running", "stopped"):
            return []
        return [("state", f'expected state to be one of ["running" "stopped"], got {state}')]

    def make(self, client: Any, inputs: PropertyMap) -> str:
        self.change(client, inputs["instanceId"], {}, inputs)
        return str(inputs["instanceId"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        wanted = inputs["state"]
        if _state(client, id) == wanted:
            return
        if wanted == "running":
            client.start_instances(InstanceIds=[id])
        else:
            client.stop_instances(InstanceIds=[id], Force=bool(inputs.get("force")))
        options = {"Delay": 1, "MaxAttempts": 600}
        client.get_waiter(f"instance_{wanted}").wait(InstanceIds=[id], WaiterConfig=options)

    def state_of(self, id: str) -> PropertyMap:
        return {"instanceId": id}

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        found = _state(client, id)
        if found in (None, "terminated"):
            return None
        return {"force": state.get("force", False), "instanceId": id, "state": found}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        """The instance does not change."""


def _state(client: Any, id: str) -> str | None:
    found = client.describe_instance_status(InstanceIds=[id], IncludeAllInstances=True)["InstanceStatuses"]
    return str(found[0]["InstanceState"]["Name"]) if found else None


TYPES: tuple[type[AwsResource], ...] = (
    SecurityGroupRules,
    RolePolicies,
    UserPolicies,
    RolePolicyAttachments,
    UserPolicyAttachments,
    InstanceState,
)
