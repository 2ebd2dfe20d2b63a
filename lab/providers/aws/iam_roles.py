"""IAM: roles and the instance profiles that contain them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from lab.providers.aws import tagging
from lab.providers.aws.base import AwsResource
from lab.providers.aws.iam import retag
from lab.providers.aws.normalize import canonical
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap, is_unknown

_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Role(AwsResource):
    token, what, service = "aws:iam/role:Role", "IAM Role", "iam"
    named, longest_name = "name", 64
    json_inputs = ("assumeRolePolicy",)
    replace_on = ("name", "namePrefix", "path")
    computed = ("arn", "createDate", "uniqueId", "tagsAll")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        inline = [name for name in ("inlinePolicies", "managedPolicyArns") if values.get(name)]
        found = [
            (name, "deprecated in pulumi-aws: the lab's stand-in has only its own resource")
            for name in inline
        ]
        return found + too_long(values, self.longest_name)

    def make(self, client: Any, inputs: PropertyMap) -> str:
        tags = {"Tags": self.tag_list(inputs)} if self.tag_list(inputs) else {}
        options = pick(inputs, "path", "description", "maxSessionDuration", "permissionsBoundary")
        client.create_role(
            RoleName=inputs["name"], AssumeRolePolicyDocument=inputs["assumeRolePolicy"], **options, **tags
        )
        return str(inputs["name"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        if canonical(old.get("assumeRolePolicy")) != canonical(inputs["assumeRolePolicy"]):
            client.update_assume_role_policy(RoleName=id, PolicyDocument=inputs["assumeRolePolicy"])
        defaults = {"description": None, "maxSessionDuration": 3600}
        if any((old.get(k) or value) != (inputs.get(k) or value) for k, value in defaults.items()):
            client.update_role(RoleName=id, **pick(inputs, "description", "maxSessionDuration"))
        retag(client, "role", {"RoleName": id}, old, self.tag_list(inputs))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        role = client.get_role(RoleName=id)["Role"]
        document = role["AssumeRolePolicyDocument"]
        return {
            "arn": role["Arn"],
            "assumeRolePolicy": unquote(document) if isinstance(document, str) else json.dumps(document),
            "createDate": role["CreateDate"].strftime(_TIME),
            "description": role.get("Description"),
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "name": role["RoleName"],
            "path": role["Path"],
            "tags": tagging.from_api(role.get("Tags")),
            "uniqueId": role["RoleId"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        # It is removed from its instance profiles in any case (deleteRole in internal/service/iam/role.go);
        # AWS refuses while it still has policies.
        for profile in client.list_instance_profiles_for_role(RoleName=id)["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            client.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=id)
        if state.get("forceDetachPolicies"):
            for name in client.list_role_policies(RoleName=id)["PolicyNames"]:
                client.delete_role_policy(RoleName=id, PolicyName=name)
            for one in client.list_attached_role_policies(RoleName=id)["AttachedPolicies"]:
                client.detach_role_policy(RoleName=id, PolicyArn=one["PolicyArn"])
        client.delete_role(RoleName=id)


class InstanceProfile(AwsResource):
    token, what, service = "aws:iam/instanceProfile:InstanceProfile", "IAM Instance Profile", "iam"
    named, longest_name = "name", 128
    replace_on = ("name", "namePrefix", "path")
    computed = ("arn", "createDate", "role", "uniqueId", "tagsAll")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        return too_long(values, self.longest_name)

    def make(self, client: Any, inputs: PropertyMap) -> str:
        tags = {"Tags": self.tag_list(inputs)} if self.tag_list(inputs) else {}
        client.create_instance_profile(InstanceProfileName=inputs["name"], **pick(inputs, "path"), **tags)
        return str(inputs["name"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        if inputs.get("role"):
            client.add_role_to_instance_profile(InstanceProfileName=id, RoleName=inputs["role"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        if old.get("role") != inputs.get("role"):
            if old.get("role"):
                client.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=old["role"])
            self.finish(client, id, inputs)
        retag(client, "instance_profile", {"InstanceProfileName": id}, old, self.tag_list(inputs))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        profile = client.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]
        roles = profile["Roles"]
        return {
            "arn": profile["Arn"],
            "createDate": profile["CreateDate"].strftime(_TIME),
            "name": profile["InstanceProfileName"],
            "path": profile["Path"],
            "role": roles[0]["RoleName"] if roles else None,
            "tags": tagging.from_api(profile.get("Tags")),
            "uniqueId": profile["InstanceProfileId"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        for role in client.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]["Roles"]:
            client.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=role["RoleName"])
        client.delete_instance_profile(InstanceProfileName=id)


def too_long(values: PropertyMap, longest: int) -> list[tuple[str, str]]:
    """The error for a configured name with too many characters."""
    name = values.get("name")
    if not isinstance(name, str) or is_unknown(name) or len(name) <= longest:
        return []
    return [("name", f"expected length of name to be in the range (1 - {longest}), got {name}")]


TYPES: tuple[type[AwsResource], ...] = (Role, InstanceProfile)
