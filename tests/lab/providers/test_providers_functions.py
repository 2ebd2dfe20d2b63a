"""What programs ask AWS for before they state anything; and the tags that a provider gives to everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import grpc
import pytest

from lab.providers.aws import __main__ as aws
from tests.lab.providers.harness import Provider, serving

pytestmark = pytest.mark.lab
VPC, SUBNET, ROLE = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:iam/role:Role"
AMI, DOCUMENT = "aws:ec2/getAmi:getAmi", "aws:iam/getPolicyDocument:getPolicyDocument"


@pytest.fixture(scope="module")
def cloud(shared_moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


def test_an_image_is_found_by_owner_and_name(cloud: Provider) -> None:
    filters = [
        {"name": "name", "values": ["ubuntu/images/*"]},
        {"name": "architecture", "values": ["x86_64"]},
    ]
    found = cloud.invoke(AMI, owners=["099720109477"], filters=filters, mostRecent=True)
    assert found["id"] == found["imageId"]
    assert found["architecture"] == "x86_64"
    assert found["rootDeviceName"].startswith("/dev/")


def test_all_ids_of_images_that_fit_are_told_the_newest_first(cloud: Provider) -> None:
    token, owners = "aws:ec2/getAmiIds:getAmiIds", ["099720109477"]
    ids = cloud.invoke(token, owners=owners)["ids"]
    assert ids[0] == cloud.invoke(AMI, owners=owners, mostRecent=True)["id"]
    assert cloud.invoke(token, owners=owners, sortAscending=True)["ids"] == ids[::-1]
    assert cloud.invoke(token, owners=owners, nameRegex="^no such image$")["ids"] == []


def test_the_newest_image_of_anybody_is_refused(cloud: Provider) -> None:
    """A stranger may take any name: pulumi-aws 7 wants an owner or an image id."""
    with pytest.raises(grpc.RpcError, match="Most Recent Image Not Filtered"):
        cloud.invoke(AMI, mostRecent=True)
    assert cloud.invoke(AMI, mostRecent=True, allowUnsafeFilter=True)["id"]


def test_zones_can_be_left_out_and_are_those_of_a_region(cloud: Provider) -> None:
    token = "aws:index/getAvailabilityZones:getAvailabilityZones"
    names = cloud.invoke(token, state="available")["names"]
    assert names == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert cloud.invoke(token, excludeNames=["eu-west-1a"])["names"] == names[1:]
    assert cloud.invoke(token, region="ap-northeast-1")["names"][0].startswith("ap-northeast-1")


def test_networks_are_found_by_id_or_tags(cloud: Provider) -> None:
    vpc, _, _ = cloud.made(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"site": "london"}})
    subnet, state, _ = cloud.made(SUBNET, {"vpcId": vpc, "cidrBlock": "10.0.1.0/24"})
    token = "aws:ec2/getVpc:getVpc"
    assert cloud.invoke(token, id=vpc)["cidrBlock"] == "10.0.0.0/16"
    assert cloud.invoke(token, tags={"site": "london"})["id"] == vpc
    assert cloud.invoke(token, default=True)["id"] != vpc
    with pytest.raises(grpc.RpcError, match="no matching EC2 VPC found"):
        cloud.invoke(token, tags={"site": "paris"})
    found = cloud.invoke("aws:ec2/getSubnet:getSubnet", id=subnet)
    assert (found["vpcId"], found["availabilityZone"]) == (vpc, state["availabilityZone"])
    with pytest.raises(grpc.RpcError, match=r"reading EC2 Subnet: .*InvalidSubnetID.NotFound"):
        cloud.invoke("aws:ec2/getSubnet:getSubnet", id="subnet-none")


def test_the_preferred_type_of_machine_that_a_region_has(cloud: Provider) -> None:
    token = "aws:ec2/getInstanceTypeOffering:getInstanceTypeOffering"
    filters = [{"name": "instance-type", "values": ["t3.large", "t3.small"]}]
    preferred = ["c99.none", "t3.small"]
    assert (
        cloud.invoke(token, filters=filters, preferredInstanceTypes=preferred)["instanceType"] == "t3.small"
    )
    with pytest.raises(grpc.RpcError, match="no EC2 Instance Type Offerings found"):
        cloud.invoke(token, filters=[{"name": "instance-type", "values": ["c99.none"]}])


def test_a_policy_document_is_written_as_the_real_provider_does(cloud: Provider) -> None:
    statement = {
        "sid": "Read",
        "actions": ["s3:GetObject", "s3:GetBucketLocation"],
        "resources": ["arn:aws:s3:::images/*"],
        "principals": [{"type": "Service", "identifiers": ["ec2.amazonaws.com"]}],
        "conditions": [{"test": "Bool", "variable": "aws:SecureTransport", "values": ["true"]}],
    }
    text = cloud.invoke(DOCUMENT, statements=[statement])["json"]
    assert text.startswith('{\n  "Version": "2012-10-17",\n  "Statement": [\n    {\n      "Sid": "Read",')
    assert json.loads(text)["Statement"] == [
        {
            "Sid": "Read",
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:GetObject"],
            "Resource": "arn:aws:s3:::images/*",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Condition": {"Bool": {"aws:SecureTransport": "true"}},
        }
    ]


class TestDefaultTags:
    @pytest.fixture
    def tagging(self, shared_moto: str) -> Iterator[Provider]:
        with serving(aws.servicer()) as provider:
            provider.configure(defaultTags='{"tags": {"stack": "dev", "site": "london"}}')
            yield provider

    def test_they_show_in_a_preview_and_can_be_overruled(self, tagging: Provider) -> None:
        stored = tagging.check(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"site": "tokyo", "a": "b"}})
        assert stored["tags"] == {"site": "tokyo", "a": "b"}
        assert stored["tagsAll"] == {"stack": "dev", "site": "tokyo", "a": "b"}

    @pytest.mark.parametrize(
        ("token", "inputs"), [(VPC, {"cidrBlock": "10.0.0.0/16"}), (ROLE, {"assumeRolePolicy": "{}"})]
    )
    def test_other_ones_change_what_there_is(
        self, tagging: Provider, token: str, inputs: dict[str, Any]
    ) -> None:
        made, state, stored = tagging.made(token, inputs)
        assert tagging.read(token, made, state, stored) == (made, state, stored)
        tagging.configure(defaultTags='{"tags": {"stack": "prod"}}')
        changed = tagging.restated(token, stored)
        assert tagging.diff(token, stored, changed).paths == {
            "tagsAll.site": "DELETE",
            "tagsAll.stack": "UPDATE",
        }
        state = tagging.update(token, made, state, changed)
        assert tagging.read(token, made, state, changed) == (made, state, changed)
        assert state["tagsAll"] == {"stack": "prod"}

    def test_one_changed_or_added_by_hand_is_seen(self, tagging: Provider) -> None:
        made, state, stored = tagging.made(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": "b"}})
        ec2: Any = boto3.client("ec2", "eu-west-1")
        ec2.create_tags(Resources=[made], Tags=[{"Key": "stack", "Value": "x"}, {"Key": "c", "Value": "d"}])
        _, state, inputs = tagging.read(VPC, made, state, stored)
        assert inputs["tags"] == {"a": "b", "c": "d", "stack": "x"}
        state = tagging.update(VPC, made, state, stored)
        assert tagging.read(VPC, made, state, stored) == (made, state, stored)
