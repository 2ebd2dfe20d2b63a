"""Machines: what is changed in place and how, what replaces, what is read back, and protection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import grpc
import pytest
import urllib3

from lab.providers.aws import __main__ as aws
from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider, serving

VPC, SUBNET, GROUP = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
GATEWAY = "aws:ec2/internetGateway:InternetGateway"
INSTANCE, ROLE, PROFILE = (
    "aws:ec2/instance:Instance",
    "aws:iam/role:Role",
    "aws:iam/instanceProfile:InstanceProfile",
)
EIP, ASSOCIATION = "aws:ec2/eip:Eip", "aws:ec2/eipAssociation:EipAssociation"
TRUST = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture(scope="module")
def ec2(shared_moto: str) -> Any:
    return boto3.client("ec2", region_name="eu-west-1")


@pytest.fixture(scope="module")
def cloud(shared_moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


@pytest.fixture(scope="module")
def place(cloud: Provider) -> PropertyMap:
    """The inputs that every machine needs, in a network of its own."""
    vpc = cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})[0]
    subnet = cloud.made(SUBNET, {"vpcId": vpc, "cidrBlock": "10.0.1.0/24"})[0]
    ami = cloud.invoke("aws:ec2/getAmiIds:getAmiIds", owners=["099720109477"])["ids"][0]
    group = cloud.made(GROUP, {"vpcId": vpc})[0]
    return {"ami": ami, "instanceType": "t3.small", "subnetId": subnet, "vpcSecurityGroupIds": [group]}


def _machine(ec2: Any, id: str) -> Any:
    return ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]


class TestChange:
    @pytest.mark.parametrize(
        ("was", "now", "where", "value"),
        [
            ({"instanceType": "t3.small"}, {"instanceType": "t3.large"}, "instanceType", "t3.large"),
            (
                {"metadataOptions": {"httpTokens": "optional", "httpPutResponseHopLimit": 2}},
                {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1}},
                "metadataOptions.httpTokens",
                "required",
            ),
            (
                {"disableApiTermination": True},
                {"disableApiTermination": False},
                "disableApiTermination",
                False,
            ),
            (
                {"disableApiTermination": False},
                {"disableApiTermination": True},
                "disableApiTermination",
                True,
            ),
            (
                {"rootBlockDevice": {"volumeSize": 20, "volumeType": "gp3", "tags": {"a": "b"}}},
                {"rootBlockDevice": {"volumeSize": 40, "volumeType": "gp3", "tags": {"c": "d"}}},
                "rootBlockDevice.volumeSize",
                40,
            ),
            ({"tags": {"a": "b"}}, {"tags": {"c": "d"}}, "tags.c", "d"),
        ],
    )
    def test_it_is_changed_in_place_and_read_back(
        self, cloud: Provider, place: PropertyMap, was: PropertyMap, now: PropertyMap, where: str, value: Any
    ) -> None:
        made, state, stored = cloud.made(INSTANCE, {**place, **was})
        assert cloud.read(INSTANCE, made, state, stored) == (made, state, stored)
        changed = cloud.restated(INSTANCE, stored, **now)
        assert not cloud.diff(INSTANCE, stored, changed).replaces
        state = cloud.update(INSTANCE, made, state, changed)
        found: Any = state
        for part in where.split("."):
            found = found[part]
        assert found == value
        assert cloud.read(INSTANCE, made, state, changed) == (made, state, changed)

    @pytest.mark.parametrize(
        ("was", "now", "what"),
        [
            ({}, {"ami": "ami-other"}, "ami"),
            ({}, {"subnetId": "subnet-other"}, "subnetId"),
            ({"keyName": "a"}, {"keyName": "b"}, "keyName"),
            (
                {"rootBlockDevice": {"encrypted": True}},
                {"rootBlockDevice": {"encrypted": False}},
                "rootBlockDevice",
            ),
            (
                {"rootBlockDevice": {"kmsKeyId": "a"}},
                {"rootBlockDevice": {"kmsKeyId": "b"}},
                "rootBlockDevice",
            ),
            ({"userData": "a"}, {"userData": "b", "userDataReplaceOnChange": True}, "userData"),
        ],
    )
    def test_it_is_replaced(
        self, cloud: Provider, place: PropertyMap, was: PropertyMap, now: PropertyMap, what: str
    ) -> None:
        old = cloud.check(INSTANCE, {**place, **was})
        assert cloud.diff(INSTANCE, old, cloud.restated(INSTANCE, old, **now)).replaces == [what]

    def test_its_instance_profile_is_replaced_added_and_taken(
        self, cloud: Provider, place: PropertyMap, ec2: Any
    ) -> None:
        role = cloud.made(ROLE, {"assumeRolePolicy": TRUST})[0]
        for name in ("one", "other"):
            cloud.made(PROFILE, {"name": name, "role": role})
        made, state, stored = cloud.made(INSTANCE, {**place, "iamInstanceProfile": "one"})
        other = cloud.restated(INSTANCE, stored, iamInstanceProfile="other")
        state = cloud.update(INSTANCE, made, state, other)
        assert _machine(ec2, made)["IamInstanceProfile"]["Arn"].endswith("/other")
        assert cloud.read(INSTANCE, made, state, other) == (made, state, other)
        none = cloud.restated(INSTANCE, other, without="iamInstanceProfile")
        state = cloud.update(INSTANCE, made, state, none)
        assert "IamInstanceProfile" not in _machine(ec2, made)
        assert "iamInstanceProfile" not in state

    def test_its_groups_are_those_of_its_interface_in_any_order(
        self, cloud: Provider, place: PropertyMap, ec2: Any
    ) -> None:
        vpc = ec2.describe_subnets(SubnetIds=[place["subnetId"]])["Subnets"][0]["VpcId"]
        more = cloud.made(GROUP, {"vpcId": vpc, "name": "more"})[0]
        made, state, stored = cloud.made(INSTANCE, place)
        both = cloud.restated(INSTANCE, stored, vpcSecurityGroupIds=[more, *place["vpcSecurityGroupIds"]])
        state = cloud.update(INSTANCE, made, state, both)
        assert cloud.read(INSTANCE, made, state, both)[2] == both
        turned = cloud.restated(INSTANCE, both, vpcSecurityGroupIds=both["vpcSecurityGroupIds"][::-1])
        assert not cloud.diff(INSTANCE, both, turned).paths
        cloud.delete(INSTANCE, made, state)


class TestProtection:
    def test_a_switch_by_hand_is_seen(self, cloud: Provider, place: PropertyMap, ec2: Any) -> None:
        made, state, stored = cloud.made(INSTANCE, {**place, "disableApiTermination": True})
        ec2.modify_instance_attribute(InstanceId=made, DisableApiTermination={"Value": False})
        assert cloud.read(INSTANCE, made, state, stored)[2]["disableApiTermination"] is False


class TestCreation:
    def test_a_profile_that_ec2_does_not_know_yet_is_waited_for(
        self, cloud: Provider, shared_moto: str, place: PropertyMap
    ) -> None:
        role = cloud.made(ROLE, {"assumeRolePolicy": TRUST})[0]
        profile = cloud.made(PROFILE, {"role": role})[0]
        message = (
            "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        )
        fault = {"action": "RunInstances", "code": "InvalidParameterValue", "message": message, "times": 2}
        urllib3.request("POST", f"{shared_moto}/moto-api/lab/faults", json=fault)
        _, state, _ = cloud.made(INSTANCE, {**place, "iamInstanceProfile": profile})
        assert state["iamInstanceProfile"] == profile

    def test_an_elastic_ip_makes_a_stated_no_to_public_addresses_a_replacement(
        self, cloud: Provider, place: PropertyMap, ec2: Any
    ) -> None:
        """A trap of the real provider (its issue 47100): with an Elastic IP leave associatePublicIpAddress unstated."""
        vpc = ec2.describe_subnets(SubnetIds=[place["subnetId"]])["Subnets"][0]["VpcId"]
        machines = [
            cloud.made(INSTANCE, {**place, **stated}) for stated in ({}, {"associatePublicIpAddress": False})
        ]
        address = cloud.made(EIP, {"domain": "vpc"})[0]
        with pytest.raises(grpc.RpcError, match=r"Gateway.NotAttached"):
            cloud.made(ASSOCIATION, {"allocationId": address, "instanceId": machines[0][0]})
        cloud.made(GATEWAY, {"vpcId": vpc})
        for (made, state, stored), replaces in zip(machines, ([], ["associatePublicIpAddress"]), strict=True):
            address = cloud.made(EIP, {"domain": "vpc"})[0]
            cloud.made(ASSOCIATION, {"allocationId": address, "instanceId": made})
            _, _, inputs = cloud.read(INSTANCE, made, state, stored)
            assert cloud.diff(INSTANCE, inputs, stored).replaces == replaces

    def test_a_key_of_its_disk_that_is_not_named_by_its_arn_makes_a_replacement(
        self, cloud: Provider, place: PropertyMap
    ) -> None:
        """A trap of the real provider: AWS tells the ARN, and another one replaces."""
        kms: Any = boto3.client("kms", region_name="eu-west-1")
        key = kms.create_key()["KeyMetadata"]
        for named, replaces in ((key["Arn"], []), (key["KeyId"], ["rootBlockDevice"])):
            disk = {"encrypted": True, "kmsKeyId": named}
            made, state, stored = cloud.made(INSTANCE, {**place, "rootBlockDevice": disk})
            inputs = cloud.read(INSTANCE, made, state, stored)[2]
            assert inputs["rootBlockDevice"]["kmsKeyId"] == key["Arn"]
            assert cloud.diff(INSTANCE, inputs, stored).replaces == replaces
