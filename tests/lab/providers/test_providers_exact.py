"""Where the stand-in once differed from the real provider, found by running both: each as the real one does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import botocore.client
import grpc
import pytest

from lab.providers.aws import __main__ as aws
from lab.providers.aws import retries
from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider, error, made_zone, serving

INSTANCE, GROUP, VPC = "aws:ec2/instance:Instance", "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/vpc:Vpc"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"
RECORD, BUCKET = "aws:route53/record:Record", "aws:s3/bucket:Bucket"
UBUNTU = "099720109477"
TRUST = '{"Version": "2012-10-17", "Statement": []}'


def statement(**other: Any) -> str:
    one = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::images/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**one, **other}]})


class TestPolicies:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"Action": ["s3:PutObject", "s3:GetObject"]}, {}),
            ({"Resource": ["arn:aws:s3:::images/*"]}, {}),
            ({"Principal": "*"}, {"Principal": {"AWS": ["*"]}}),
            ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, {"Condition": {"Bool": {"aws:SecureTransport": [False]}}}),
        ],
    )  # fmt: skip
    def test_those_that_mean_the_same_are_no_change(self, cloud: Provider, one: Any, other: Any) -> None:
        was, now = statement(**one), statement(**other)
        inputs = {"role": "r", "name": "n"}
        assert not cloud.diff(ROLE_POLICY, {**inputs, "policy": was}, {**inputs, "policy": now}).paths

    @pytest.mark.parametrize("other", [{"Effect": "Deny"}, {"Action": ["s3:GetObject"]}, {"Principal": "*"}])
    def test_those_that_do_not_are_one(self, cloud: Provider, other: Any) -> None:
        inputs = {"role": "r", "name": "n"}
        was, now = {**inputs, "policy": statement()}, {**inputs, "policy": statement(**other)}
        assert list(cloud.diff(ROLE_POLICY, was, now).paths) == ["policy"]


class TestRefusals:
    @pytest.mark.parametrize(("token", "longest"), [(ROLE, 64), (PROFILE, 128)])
    def test_a_name_that_is_too_long(self, cloud: Provider, token: str, longest: int) -> None:
        inputs = {"assumeRolePolicy": TRUST} if token == ROLE else {}
        failures, _ = cloud.failures(token, {**inputs, "name": "n" * (longest + 1)})
        assert failures["name"].startswith(f"expected length of name to be in the range (1 - {longest})")
        assert cloud.check(token, {**inputs, "name": "n" * longest})

    def test_a_name_that_is_made_up_is_not_shortened(self, cloud: Provider) -> None:
        request = {"assumeRolePolicy": TRUST}
        with pytest.raises(grpc.RpcError, match="plus 7 random chars is longer than maximum length 64"):
            cloud.check(ROLE, request, name="n" * 57)
        assert len(cloud.check(ROLE, request, name="n" * 56)["name"]) == 64

    @pytest.mark.parametrize(
        ("cidr", "why"),
        [("10.0.0.7/8", 'did you mean "10.0.0.0/8"?'), ("10.0.0.300/8", "invalid CIDR address")],
    )
    def test_a_range_with_host_bits(self, cloud: Provider, cidr: str, why: str) -> None:
        rule = {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 1, "toPort": 1}
        failures, _ = cloud.failures(INGRESS, {**rule, "cidrIpv4": cidr})
        assert why in failures["cidrIpv4"]
        assert cloud.check(INGRESS, {**rule, "cidrIpv4": "10.0.0.0/8"})

    def test_a_bucket_with_capitals_is_refused_when_it_is_made(self, cloud: Provider) -> None:
        stored = cloud.check(BUCKET, {"bucket": "Images"})
        assert cloud.create(BUCKET, stored, preview=True)
        with pytest.raises(grpc.RpcError) as refused:
            cloud.create(BUCKET, stored)
        assert 'only lowercase alphanumeric characters and hyphens allowed in "Images"' in error(
            refused.value
        )


def test_another_type_of_record_replaces_it(cloud: Provider) -> None:
    was = {"zoneId": "Z", "name": "a.example.com", "ttl": 60, "type": "A", "records": ["192.0.2.1"]}
    now = {**was, "type": "CNAME", "records": ["b.example.com"]}
    assert cloud.diff(RECORD, was, now).replaces == ["type"]


def test_a_deleted_record_can_be_made_again_beside_a_later_name(cloud: Provider) -> None:
    zone = made_zone()
    asked = {"zoneId": zone, "type": "A", "ttl": 60, "records": ["192.0.2.1"]}
    made, state, _ = cloud.made(RECORD, {**asked, "name": "a.example.com"})
    cloud.made(RECORD, {**asked, "name": "b.example.com"})
    cloud.delete(RECORD, made, state)
    assert cloud.made(RECORD, {**asked, "name": "a.example.com"})[0] == made


def test_six_attempts_take_more_than_half_a_minute() -> None:
    """36 s were measured, the first pause 1.2 s, the last one 16 s."""
    pauses = [retries.pause("RequestLimitExceeded", 503, attempt) or 0 for attempt in range(1, 6)]
    assert 31 <= sum(pauses) <= 62
    assert 1 <= pauses[0] <= 2


@pytest.fixture
def tagging(moto: str) -> Iterator[Any]:
    """The provider with these default tags, as a promotion or another aws.tags changes them."""
    with ExitStack() as running:

        def provider(**tags: str) -> Provider:
            found = running.enter_context(serving(aws.servicer()))
            found.configure(defaultTags=json.dumps({"tags": tags}))
            return found

        yield provider


@pytest.fixture
def machine(cloud: Provider) -> PropertyMap:
    vpc = cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})[0]
    subnet = cloud.made("aws:ec2/subnet:Subnet", {"vpcId": vpc, "cidrBlock": "10.0.1.0/24"})[0]
    ami = cloud.invoke("aws:ec2/getAmiIds:getAmiIds", owners=[UBUNTU])["ids"][0]
    disk = {"volumeType": "gp3", "volumeSize": 20}
    return {"ami": ami, "instanceType": "c6i.large", "subnetId": subnet, "rootBlockDevice": disk}


def tags_of_disk(made: str) -> dict[str, str]:
    ec2: Any = boto3.client("ec2", "eu-west-1")
    found = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made]}])["Volumes"]
    return {tag["Key"]: tag["Value"] for tag in found[0].get("Tags", [])}


def test_other_tags_of_a_role_change_nothing_else_of_it(
    tagging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real provider calls TagRole only; UpdateRole is an action of its own in a policy."""
    before, after = tagging(role="secondary"), tagging(role="primary")
    made, state, stored = before.made(ROLE, {"name": "n", "assumeRolePolicy": TRUST})
    calls: list[str] = []
    base: Any = botocore.client.BaseClient
    make = base._make_api_call

    def called(self: Any, name: str, arguments: Any) -> Any:
        calls.append(name)
        return make(self, name, arguments)

    monkeypatch.setattr(base, "_make_api_call", called)
    after.update(ROLE, made, state, after.restated(ROLE, stored))
    assert "TagRole" in calls and "UpdateRole" not in calls


class TestTagsOfTheDisk:
    def test_default_tags_reach_it_at_its_creation_only_and_are_drift_later(
        self, tagging: Any, machine: PropertyMap
    ) -> None:
        """hashicorp/terraform-provider-aws 38301: `up --refresh` then takes the former tag away."""
        before = tagging(role="secondary", stack="dev")
        made, state, stored = before.made(INSTANCE, machine)
        assert tags_of_disk(made) == {"role": "secondary", "stack": "dev"}
        assert before.read(INSTANCE, made, state, stored)[2] == stored
        after = tagging(role="primary", stack="dev")
        state = after.update(INSTANCE, made, state, after.restated(INSTANCE, stored))
        assert tags_of_disk(made) == {"role": "secondary", "stack": "dev"}
        stored = after.restated(INSTANCE, stored)
        _, state, found = after.read(INSTANCE, made, state, stored)
        assert found["rootBlockDevice"]["tags"] == {"role": "secondary"}
        paths = after.diff(INSTANCE, found, stored).paths
        assert [path for path in paths if not path.startswith("rootBlockDevice.tags")] == []
        assert paths
        after.update(INSTANCE, made, state, stored)
        assert tags_of_disk(made) == {"stack": "dev"}

    def test_what_is_ignored_stays(self, tagging: Any, machine: PropertyMap) -> None:
        before = tagging(role="secondary")
        made, state, stored = before.made(INSTANCE, machine)
        after = tagging(role="primary")
        ignored = ("rootBlockDevice.tags", "rootBlockDevice.tagsAll")
        state = after.update(INSTANCE, made, state, after.restated(INSTANCE, stored), ignore=ignored)
        larger = after.restated(INSTANCE, stored, rootBlockDevice={"volumeType": "gp3", "volumeSize": 40})
        after.update(INSTANCE, made, state, larger, ignore=ignored)
        assert tags_of_disk(made) == {"role": "secondary"}


class TestAnotherArchitecture:
    def test_it_replaces_the_machine(self, cloud: Provider, machine: PropertyMap) -> None:
        stored = cloud.check(INSTANCE, machine)
        now = cloud.restated(INSTANCE, stored, instanceType="c7g.large")
        assert cloud.diff(INSTANCE, stored, now).replaces == ["instanceType"]

    @pytest.mark.parametrize("size", ["c7i.xlarge", "c99.imaginary"])
    def test_the_same_one_does_not(self, cloud: Provider, machine: PropertyMap, size: str) -> None:
        stored = cloud.check(INSTANCE, machine)
        now = cloud.restated(INSTANCE, stored, instanceType=size)
        assert cloud.diff(INSTANCE, stored, now).replaces == []


class TestRulesTags:
    def test_they_are_no_inputs_and_another_default_tag_is_still_a_change(
        self, tagging: Any, machine: PropertyMap
    ) -> None:
        before, after = tagging(role="secondary"), tagging(role="primary")
        group = before.made(
            GROUP, {"vpcId": boto3.client("ec2", "eu-west-1").describe_vpcs()["Vpcs"][-1]["VpcId"]}
        )[0]
        rule = {
            "securityGroupId": group,
            "ipProtocol": "tcp",
            "fromPort": 1,
            "toPort": 1,
            "cidrIpv4": "10.0.0.0/8",
        }
        made, state, stored = before.made(INGRESS, rule)
        assert "tagsAll" not in stored
        assert before.read(INGRESS, made, state, stored) == (made, state, stored)
        assert not before.diff(INGRESS, stored, stored, state=state).paths
        assert list(after.diff(INGRESS, stored, stored, state=state).paths) == ["tagsAll.role"]
        assert after.update(INGRESS, made, state, stored)["tagsAll"] == {"role": "primary"}


def test_a_new_bucket_has_its_tags_from_the_first_moment(tagging: Any, s3: Any) -> None:
    """Then they are changed through S3 Control."""
    provider = tagging(stack="dev")
    made, state, stored = provider.made(BUCKET, {"bucket": "images", "tags": {"a": "b"}})
    assert provider.read(BUCKET, made, state, stored) == (made, state, stored)
    state = provider.update(BUCKET, made, state, provider.restated(BUCKET, stored, tags={"c": "d"}))
    found = s3.get_bucket_tagging(Bucket="images")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {"stack": "dev", "c": "d"}
