"""Security groups and their rules: changed in place, drift reported by value, what AWS refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from lab.providers.aws import __main__ as aws
from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider, serving

VPC, GROUP = "aws:ec2/vpc:Vpc", "aws:ec2/securityGroup:SecurityGroup"
DEFAULT = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
WEB = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "192.0.2.0/24", "description": "web"}


@pytest.fixture(scope="module")
def ec2(shared_moto: str) -> Any:
    return boto3.client("ec2", region_name="eu-west-1")


@pytest.fixture(scope="module")
def cloud(shared_moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


@pytest.fixture(scope="module")
def vpc(cloud: Provider) -> str:
    return cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})[0]


@pytest.fixture
def group(cloud: Provider, vpc: str) -> str:
    return cloud.made(GROUP, {"vpcId": vpc})[0]


@pytest.mark.parametrize("token", [INGRESS, EGRESS])
@pytest.mark.parametrize(
    "now",
    [
        {"cidrIpv4": "198.51.100.0/24"},
        {"fromPort": 80, "toPort": 80},
        {"description": "other"},
        {"tags": {"a": "b"}},
        {"ipProtocol": "udp"},
    ],
)
def test_a_rule_is_changed_in_place(
    cloud: Provider, group: str, ec2: Any, token: str, now: PropertyMap
) -> None:
    """It keeps its id, so that nothing is closed meanwhile."""
    made, state, stored = cloud.made(token, {"securityGroupId": group, **WEB})
    changed = cloud.restated(token, stored, **now)
    assert not cloud.diff(token, stored, changed).replaces
    state = cloud.update(token, made, state, changed)
    assert cloud.read(token, made, state, changed) == (made, state, changed)
    only = [{"Name": "group-id", "Values": [group]}]
    assert len(ec2.describe_security_group_rules(Filters=only)["SecurityGroupRules"]) == 1


def test_the_group_a_rule_names_is_changed_in_place_but_not_into_addresses(
    cloud: Provider, vpc: str, group: str
) -> None:
    other = cloud.made(GROUP, {"vpcId": vpc, "description": "other"})[0]
    about = {key: value for key, value in WEB.items() if key != "cidrIpv4"}
    inputs = {"securityGroupId": group, **about, "referencedSecurityGroupId": group}
    made, state, stored = cloud.made(INGRESS, inputs)
    changed = cloud.restated(INGRESS, stored, referencedSecurityGroupId=other)
    assert not cloud.diff(INGRESS, stored, changed).replaces
    state = cloud.update(INGRESS, made, state, changed)
    assert cloud.read(INGRESS, made, state, changed) == (made, state, changed)
    addresses = cloud.restated(INGRESS, changed, "referencedSecurityGroupId", cidrIpv4="10.0.0.0/8")
    assert set(cloud.diff(INGRESS, changed, addresses).replaces) == {"cidrIpv4", "referencedSecurityGroupId"}


@pytest.mark.parametrize(
    ("by_hand", "seen"),
    [
        ({"CidrIpv4": "0.0.0.0/0"}, {"cidrIpv4": "0.0.0.0/0"}),
        ({"FromPort": 1, "ToPort": 65535}, {"fromPort": 1, "toPort": 65535}),
        ({"Description": "changed manually"}, {"description": "changed manually"}),
        ({"IpProtocol": "udp"}, {"ipProtocol": "udp"}),
    ],
)
def test_drift_is_told_by_value_and_mended(
    cloud: Provider, group: str, ec2: Any, by_hand: dict[str, Any], seen: PropertyMap
) -> None:
    made, state, stored = cloud.made(INGRESS, {"securityGroupId": group, **WEB})
    was = {
        "IpProtocol": "tcp",
        "FromPort": 443,
        "ToPort": 443,
        "CidrIpv4": "192.0.2.0/24",
        "Description": "web",
    }
    change = [{"SecurityGroupRuleId": made, "SecurityGroupRule": {**was, **by_hand}}]
    ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=change)
    _, state, inputs = cloud.read(INGRESS, made, state, stored)
    assert inputs == {**stored, **seen}
    assert set(cloud.diff(INGRESS, inputs, stored).paths) == set(seen)
    state = cloud.update(INGRESS, made, state, stored)
    assert cloud.read(INGRESS, made, state, stored) == (made, state, stored)


def test_a_rule_that_was_taken_away_is_gone(cloud: Provider, group: str, ec2: Any) -> None:
    made, state, stored = cloud.made(EGRESS, {"securityGroupId": group, **WEB})
    ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=[made])
    assert cloud.read(EGRESS, made, state, stored)[0] == ""


def test_the_networks_default_group_is_emptied_and_stays(cloud: Provider, vpc: str, ec2: Any) -> None:
    made, state, stored = cloud.made(DEFAULT, {"vpcId": vpc})
    found = ec2.describe_security_groups(GroupIds=[made])["SecurityGroups"][0]
    assert (found["GroupName"], found["IpPermissions"], found["IpPermissionsEgress"]) == ("default", [], [])
    cloud.delete(DEFAULT, made, state)
    assert cloud.read(DEFAULT, made, state, stored)[0] == made


def test_rules_added_to_it_by_hand_are_seen_where_none_are_stated(
    cloud: Provider, vpc: str, ec2: Any
) -> None:
    """An empty list is a statement, no list is none (both are optional and computed in the real provider)."""
    made, state, stored = cloud.made(DEFAULT, {"vpcId": vpc, "ingress": [], "egress": []})
    opened = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=opened)
    silent = {key: value for key, value in stored.items() if key not in ("ingress", "egress")}
    assert cloud.read(DEFAULT, made, state, silent)[2] == silent
    _, now, inputs = cloud.read(DEFAULT, made, state, stored)
    assert inputs["ingress"][0]["cidrBlocks"] == ["0.0.0.0/0"]
    assert cloud.diff(DEFAULT, inputs, stored).paths == {"ingress[0]": "DELETE"}
    state = cloud.update(DEFAULT, made, now, stored)
    assert not ec2.describe_security_groups(GroupIds=[made])["SecurityGroups"][0]["IpPermissions"]
    assert cloud.read(DEFAULT, made, state, stored) == (made, state, stored)
