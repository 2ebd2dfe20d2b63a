"""Networks and machines: made, changed in place or replaced, found again, deleted."""

from __future__ import annotations

from typing import Any

import boto3
import grpc
import pytest

from tests.lab.providers.harness import Provider

pytestmark = pytest.mark.lab
VPC, SUBNET, GROUP = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
KEY, INSTANCE = "aws:ec2/keyPair:KeyPair", "aws:ec2/instance:Instance"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIRq2UxAKcSWeN1kcRAXaFtQCfKuLr1/FORx0Y4ZZird"


@pytest.fixture
def ec2(moto: str) -> Any:
    return boto3.client("ec2", region_name="eu-west-1")


@pytest.fixture
def vpc(cloud: Provider) -> str:
    return cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})[0]


@pytest.fixture
def subnet(cloud: Provider, vpc: str) -> str:
    return cloud.made(SUBNET, {"vpcId": vpc, "cidrBlock": "10.0.1.0/24"})[0]


def test_a_network_lives_and_keeps_to_what_was_stated(cloud: Provider) -> None:
    made, state, stored = cloud.made(
        VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True, "tags": {"a": "b"}}
    )
    assert state["arn"].endswith(f":vpc/{made}")
    assert cloud.read(VPC, made, state, stored)[2] == stored
    changed = cloud.restated(VPC, stored, enableDnsHostnames=False, tags={"c": "d"})
    state = cloud.update(VPC, made, state, changed)
    assert cloud.read(VPC, made, state, changed) == (made, state, changed)
    assert cloud.diff(VPC, stored, {**stored, "cidrBlock": "10.1.0.0/16"}).replaces == ["cidrBlock"]
    cloud.delete(VPC, made, state)
    assert cloud.read(VPC, made, state, changed)[0] == ""


def test_a_subnet_hands_out_public_addresses_when_told(cloud: Provider, vpc: str) -> None:
    made, state, stored = cloud.made(SUBNET, {"vpcId": vpc, "cidrBlock": "10.0.1.0/24"})
    assert state["availabilityZone"].startswith("eu-west-1")
    public = {**stored, "mapPublicIpOnLaunch": True}
    state = cloud.update(SUBNET, made, state, public)
    assert cloud.read(SUBNET, made, state, public)[2] == public
    cloud.delete(SUBNET, made, state)


def test_a_security_group_starts_without_any_rule(cloud: Provider, vpc: str, ec2: Any) -> None:
    made, state, stored = cloud.made(GROUP, {"vpcId": vpc})
    found = ec2.describe_security_groups(GroupIds=[made])["SecurityGroups"][0]
    assert not found["IpPermissions"]
    assert not found["IpPermissionsEgress"]
    assert found["GroupName"] == stored["name"]
    assert cloud.read(GROUP, made, state, stored)[2] == stored
    cloud.delete(GROUP, made, state)


@pytest.mark.parametrize(("token", "side"), [(INGRESS, "IpPermissions"), (EGRESS, "IpPermissionsEgress")])
def test_rules_come_and_go(cloud: Provider, vpc: str, ec2: Any, token: str, side: str) -> None:
    group = cloud.made(GROUP, {"vpcId": vpc})[0]
    rule = {
        "securityGroupId": group,
        "ipProtocol": "tcp",
        "fromPort": 22,
        "toPort": 22,
        "cidrIpv4": "10.0.0.0/8",
    }
    made, state, stored = cloud.made(token, rule)
    assert made.startswith("sgr-")
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0][side][0]["FromPort"] == 22
    assert cloud.read(token, made, state, stored)[2] == stored
    cloud.delete(token, made, state)
    assert not ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0][side]


def test_a_key_pair_is_replaced_with_its_key(cloud: Provider) -> None:
    made, state, stored = cloud.made(KEY, {"publicKey": PUBLIC_KEY})
    assert made == stored["keyName"]
    assert state["fingerprint"]
    assert cloud.diff(KEY, stored, {**stored, "publicKey": "other"}).replaces == ["publicKey"]
    cloud.delete(KEY, made, state)
    assert cloud.read(KEY, made, state, stored)[0] == ""


def test_an_instance_lives(cloud: Provider, subnet: str, ec2: Any) -> None:
    ami = cloud.invoke("aws:ec2/getAmi:getAmi", owners=["099720109477"], mostRecent=True, nameRegex="ubuntu")
    inputs = {"ami": ami["id"], "instanceType": "t3.small", "subnetId": subnet, "userData": "#cloud-config"}
    made, state, stored = cloud.made(INSTANCE, {**inputs, "rootBlockDevice": {"volumeSize": 30}})
    assert state["instanceState"] == "running"
    assert state["privateIp"].startswith("10.0.1.")
    assert cloud.read(INSTANCE, made, state, stored)[2] == stored
    larger = cloud.restated(INSTANCE, stored, instanceType="t3.large", tags={"a": "b"})
    assert not cloud.diff(INSTANCE, stored, larger).replaces
    state = cloud.update(INSTANCE, made, state, larger)
    assert state["instanceType"] == "t3.large"
    assert state["privateIp"]
    ec2.terminate_instances(InstanceIds=[made])
    assert cloud.read(INSTANCE, made, state, larger)[0] == ""
    cloud.delete(INSTANCE, made, state)


def test_the_zones_of_a_region_are_known(cloud: Provider) -> None:
    zones = cloud.invoke("aws:index/getAvailabilityZones:getAvailabilityZones")
    assert zones["names"][0] == "eu-west-1a"


def test_an_image_that_fits_nothing_or_too_much_is_refused(cloud: Provider) -> None:
    with pytest.raises(grpc.RpcError, match="returned no results"):
        cloud.invoke("aws:ec2/getAmi:getAmi", nameRegex="^no such image$")
    with pytest.raises(grpc.RpcError, match="more than one result"):
        cloud.invoke("aws:ec2/getAmi:getAmi")
