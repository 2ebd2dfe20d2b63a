"""Users, roles, policies and keys: their life, what replaces them, and that a key's secret stays one."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from lab.providers.protocol import UNKNOWN, PropertyMap, is_secret
from tests.lab.providers.harness import Provider, error

USER, ROLE = "aws:iam/user:User", "aws:iam/role:Role"
USER_POLICY, ROLE_POLICY = "aws:iam/userPolicy:UserPolicy", "aws:iam/rolePolicy:RolePolicy"
KEY = "aws:iam/accessKey:AccessKey"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"


def policy(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        ],
    }
)


@pytest.fixture
def user(cloud: Provider) -> str:
    return cloud.made(USER, {"name": "registry"})[0]


class TestUser:
    def test_its_life(self, cloud: Provider, iam: Any) -> None:
        made, state, stored = cloud.made(USER, {"name": "registry", "path": "/gitlab/"})
        assert made == "registry"
        assert state["arn"] == "arn:aws:iam::123456789012:user/gitlab/registry"
        assert state["uniqueId"]
        assert cloud.read(USER, made, state, stored) == (made, state, stored)
        cloud.delete(USER, made, state)
        cloud.delete(USER, made, state)
        assert not iam.list_users()["Users"]

    def test_one_that_exists_is_an_error_with_awss_code(self, cloud: Provider, user: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(USER, {"name": user})
        text = error(refused.value)
        assert text.startswith(
            "creating IAM User (registry): operation error IAM: CreateUser, https response error"
        )
        assert "StatusCode: 409" in text
        assert ", EntityAlreadyExists: " in text


class TestInlinePolicy:
    @pytest.fixture
    def owner(self, cloud: Provider, request: pytest.FixtureRequest) -> dict[str, str]:
        """Where a policy of the parametrised type goes: {"user": name} or {"role": name}."""
        if request.getfixturevalue("token") == USER_POLICY:
            return {"user": cloud.made(USER, {"name": "registry"})[0]}
        return {"role": cloud.made(ROLE, {"name": "registry", "assumeRolePolicy": TRUST})[0]}

    @pytest.mark.parametrize("token", [USER_POLICY, ROLE_POLICY])
    def test_its_life(self, cloud: Provider, owner: dict[str, str], token: str) -> None:
        inputs = {**owner, "name": "least", "policy": policy("s3:GetObject")}
        made, state, stored = cloud.made(token, inputs)
        assert made == "registry:least"
        assert cloud.read(token, made, state, stored) == (made, state, stored)
        wider = {**stored, "policy": policy("s3:GetObject", "s3:PutObject")}
        assert not cloud.diff(token, stored, wider).replaces
        cloud.update(token, made, state, wider)
        drifted = cloud.read(token, made, state, stored)[2]
        assert json.loads(drifted["policy"]) == json.loads(wider["policy"])
        assert json.loads(cloud.read(token, made)[2]["policy"]) == json.loads(wider["policy"])
        cloud.delete(token, made, state)
        assert cloud.read(token, made, state, stored)[0] == ""


class TestAccessKey:
    def test_its_secret_is_one_through_its_whole_life(self, cloud: Provider, user: str) -> None:
        made, state, stored = cloud.made(KEY, {"user": user})
        assert made.startswith("AKIA")
        assert is_secret(state["secret"])
        assert is_secret(state["sesSmtpPasswordV4"])
        assert state["status"] == "Active"
        off = {**stored, "status": "Inactive"}
        updated = cloud.update(KEY, made, state, off)
        assert updated["status"] == "Inactive"
        assert updated["secret"] == state["secret"]
        _, outputs, inputs = cloud.read(KEY, made, updated, off)
        assert outputs == updated
        assert inputs == off

    def test_a_preview_does_not_know_it(self, cloud: Provider, user: str) -> None:
        _, outputs = cloud.create(KEY, {"user": user}, preview=True)
        assert outputs["secret"] == UNKNOWN

    def test_a_key_that_was_deleted_is_gone(self, cloud: Provider, user: str, iam: Any) -> None:
        made, state, stored = cloud.made(KEY, {"user": user})
        iam.delete_access_key(UserName=user, AccessKeyId=made)
        assert cloud.read(KEY, made, state, stored)[0] == ""
        cloud.delete(KEY, made, state)


class TestRole:
    def test_its_life(self, cloud: Provider) -> None:
        made, state, stored = cloud.made(ROLE, {"name": "registry", "assumeRolePolicy": TRUST})
        assert state["arn"] == "arn:aws:iam::123456789012:role/registry"
        assert cloud.read(ROLE, made, state, stored) == (made, state, stored)
        described = {**stored, "description": "reads images"}
        assert not cloud.diff(ROLE, stored, described).replaces
        state = cloud.update(ROLE, made, state, described)
        assert cloud.read(ROLE, made, state, described)[1]["description"] == "reads images"
        cloud.delete(ROLE, made, state)
        assert cloud.read(ROLE, made, state, described)[0] == ""


class TestMachineRole:
    """Roles that machines get through instance profiles."""

    @pytest.fixture
    def role(self, cloud: Provider) -> tuple[str, PropertyMap, PropertyMap]:
        return cloud.made(ROLE, {"assumeRolePolicy": TRUST})

    def test_one_with_policies_on_it_is_not_deleted(
        self, cloud: Provider, role: tuple[str, PropertyMap, PropertyMap]
    ) -> None:
        made, state, stored = role
        cloud.made("aws:iam/rolePolicy:RolePolicy", {"role": made, "policy": policy("s3:GetObject")})
        with pytest.raises(grpc.RpcError, match=f"deleting IAM Role .{made}.*DeleteConflict"):
            cloud.delete(ROLE, made, state)
        cloud.delete(ROLE, made, {**state, "forceDetachPolicies": True})
        assert cloud.read(ROLE, made, state, stored)[0] == ""

    def test_a_profile_changes_its_role_in_place_and_leaves_it_when_the_role_goes(
        self, cloud: Provider, role: tuple[str, PropertyMap, PropertyMap], iam: Any
    ) -> None:
        made, state, stored = cloud.made(PROFILE, {"role": role[0], "tags": {"a": "b"}})
        other, other_state, _ = cloud.made(ROLE, {"assumeRolePolicy": TRUST})
        changed = cloud.restated(PROFILE, stored, role=other, tags={"c": "d"})
        assert not cloud.diff(PROFILE, stored, changed).replaces
        state = cloud.update(PROFILE, made, state, changed)
        assert cloud.read(PROFILE, made, state, changed) == (made, state, changed)
        cloud.delete(ROLE, other, other_state)
        assert iam.get_instance_profile(InstanceProfileName=made)["InstanceProfile"]["Roles"] == []
        assert "role" not in cloud.read(PROFILE, made, state, changed)[2]
