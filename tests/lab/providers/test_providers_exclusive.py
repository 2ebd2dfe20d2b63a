"""What is added beside a stack's own things: found by a refresh, taken away by an update, left by a deletion."""

from __future__ import annotations

from typing import Any

import boto3
import grpc
import pytest

from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider

RULES = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
STATE = "aws:ec2transitgateway/instanceState:InstanceState"
TRUST = '{"Version": "2012-10-17", "Statement": []}'
DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}'


@pytest.fixture
def ec2(moto: str) -> Any:
    return boto3.client("ec2", "eu-west-1")


@pytest.fixture
def group(cloud: Provider) -> str:
    vpc = cloud.made("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})[0]
    return cloud.made("aws:ec2/securityGroup:SecurityGroup", {"vpcId": vpc})[0]


def test_another_rule_is_found_and_revoked(cloud: Provider, ec2: Any, group: str) -> None:
    """The one of the stack stays; when it is revoked here first, its own deletion finds nothing and is fine."""
    rule = {
        "securityGroupId": group,
        "ipProtocol": "tcp",
        "fromPort": 1,
        "toPort": 1,
        "cidrIpv4": "10.0.0.0/8",
    }
    own, own_state, _ = cloud.made(INGRESS, rule)
    inputs: PropertyMap = {"securityGroupId": group, "ingressRuleIds": [own], "egressRuleIds": []}
    made, state, stored = cloud.made(RULES, inputs)
    assert cloud.read(RULES, made, state, stored) == (made, state, stored)
    wide = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    added = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[wide])["SecurityGroupRules"][0]
    _, state, found = cloud.read(RULES, made, state, stored)
    assert sorted(found["ingressRuleIds"]) == sorted([own, added["SecurityGroupRuleId"]])
    assert cloud.diff(RULES, found, stored).paths
    state = cloud.update(RULES, made, state, stored)
    assert cloud.read(RULES, made, state, stored)[2] == stored
    state = cloud.update(RULES, made, state, cloud.restated(RULES, stored, ingressRuleIds=[]))
    cloud.delete(INGRESS, own, own_state)
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"] == []


def test_its_deletion_leaves_all_rules(cloud: Provider, ec2: Any, group: str) -> None:
    rule = {
        "securityGroupId": group,
        "ipProtocol": "tcp",
        "fromPort": 1,
        "toPort": 1,
        "cidrIpv4": "10.0.0.0/8",
    }
    own = cloud.made(INGRESS, rule)[0]
    inputs = {"securityGroupId": group, "ingressRuleIds": [own], "egressRuleIds": []}
    made, state, stored = cloud.made(RULES, inputs)
    cloud.delete(RULES, made, state)
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"] != []
    ec2.delete_security_group(GroupId=group)
    assert cloud.read(RULES, made, state, stored)[0] == ""


@pytest.mark.parametrize("kind", ["role", "user"])
def test_another_inline_policy_is_found_and_deleted(cloud: Provider, iam: Any, kind: str) -> None:
    title = kind.capitalize()
    trust = {"assumeRolePolicy": TRUST} if kind == "role" else {}
    cloud.made(f"aws:iam/{kind}:{title}", {"name": "n", **trust})
    cloud.made(f"aws:iam/{kind}Policy:{title}Policy", {kind: "n", "name": "own", "policy": DOCUMENT})
    token = f"aws:iam/{kind}PoliciesExclusive:{title}PoliciesExclusive"
    made, state, stored = cloud.made(token, {f"{kind}Name": "n", "policyNames": ["own"]})
    assert cloud.read(token, made, state, stored) == (made, state, stored)
    getattr(iam, f"put_{kind}_policy")(PolicyName="other", PolicyDocument=DOCUMENT, **{f"{title}Name": "n"})
    assert cloud.read(token, made, state, stored)[2]["policyNames"] == ["other", "own"]
    cloud.update(token, made, state, stored)
    assert getattr(iam, f"list_{kind}_policies")(**{f"{title}Name": "n"})["PolicyNames"] == ["own"]
    with pytest.raises(grpc.RpcError, match="without PolicyDocument"):
        cloud.made(token, {f"{kind}Name": "n", "policyNames": ["own", "missing"]})


@pytest.mark.parametrize("kind", ["role", "user"])
def test_another_attached_policy_is_found_and_detached(cloud: Provider, iam: Any, kind: str) -> None:
    title = kind.capitalize()
    trust = {"assumeRolePolicy": TRUST} if kind == "role" else {}
    cloud.made(f"aws:iam/{kind}:{title}", {"name": "n", **trust})
    token = f"aws:iam/{kind}PolicyAttachmentsExclusive:{title}PolicyAttachmentsExclusive"
    made, state, stored = cloud.made(token, {f"{kind}Name": "n", "policyArns": []})
    assert cloud.read(token, made, state, stored) == (made, state, stored)
    arn = iam.create_policy(PolicyName="wide", PolicyDocument=DOCUMENT)["Policy"]["Arn"]
    getattr(iam, f"attach_{kind}_policy")(PolicyArn=arn, **{f"{title}Name": "n"})
    assert cloud.read(token, made, state, stored)[2]["policyArns"] == [arn]
    cloud.update(token, made, state, stored)
    assert getattr(iam, f"list_attached_{kind}_policies")(**{f"{title}Name": "n"})["AttachedPolicies"] == []


def test_a_machine_that_was_stopped_is_found_and_started(cloud: Provider, ec2: Any, group: str) -> None:
    """A terminated one is gone, and a deletion touches none."""
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    image = cloud.invoke("aws:ec2/getAmiIds:getAmiIds", owners=["099720109477"])["ids"][0]
    machine = ec2.run_instances(
        ImageId=image, SubnetId=subnet, MinCount=1, MaxCount=1, InstanceType="t3.small"
    )
    instance = machine["Instances"][0]["InstanceId"]
    made, state, stored = cloud.made(STATE, {"instanceId": instance, "state": "running"})
    assert cloud.read(STATE, made, state, stored) == (made, state, stored)
    ec2.stop_instances(InstanceIds=[instance])
    _, state, found = cloud.read(STATE, made, state, stored)
    assert found["state"] == "stopped"
    assert cloud.diff(STATE, found, stored).paths == {"state": "UPDATE"}
    state = cloud.update(STATE, made, state, stored)
    assert state["state"] == "running"
    cloud.delete(STATE, made, state)
    assert (
        ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"]
        == "running"
    )
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.terminate_instances(InstanceIds=[instance])
    assert cloud.read(STATE, made, state, stored)[0] == ""
    assert cloud.failures(STATE, {"instanceId": instance, "state": "asleep"})[0]["state"]


def test_machines_are_found_by_tags_and_architecture(cloud: Provider, ec2: Any) -> None:
    """Only running ones where no state is asked for; none is not an error."""
    image = cloud.invoke("aws:ec2/getAmiIds:getAmiIds", owners=["099720109477"])["ids"][0]
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "name", "Value": "one"}]}]
    asked = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small"}
    instance = ec2.run_instances(**asked, TagSpecifications=tags)["Instances"][0]["InstanceId"]

    def found(name: str, kind: str, *states: str) -> Any:
        filters = [{"name": "tag:name", "values": [name]}, {"name": "architecture", "values": [kind]}]
        token = "aws:ec2/getInstances:getInstances"
        return cloud.invoke(token, filters=filters, instanceStateNames=list(states))["ids"]

    assert (found("one", "x86_64"), found("one", "arm64"), found("two", "x86_64")) == ([instance], [], [])
    ec2.stop_instances(InstanceIds=[instance])
    assert (found("one", "x86_64"), found("one", "x86_64", "stopped")) == ([], [instance])
