"""A site on AWS with the real engine: created, left alone, changed in place, drifted, mended, destroyed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3

from tests.lab.providers.stacks import Stack

pytestmark = pytest.mark.lab

PROGRAM = """
import json, os
import pulumi, pulumi_aws as aws

changed = json.loads(os.environ["CHANGED"])
trust = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
reading = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"}]}
key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIRq2UxAKcSWeN1kcRAXaFtQCfKuLr1/FORx0Y4ZZird"

def provider_of(place, region):
    tags = {"tags": {"stack": "dev", "site": place}}
    return aws.Provider(place, region=region, default_tags=tags, max_retries=3)

def site(place, region, cidr):
    provider = provider_of(place, region)
    opts = pulumi.ResourceOptions(provider=provider)
    asked = pulumi.InvokeOptions(provider=provider)
    zone = aws.route53.Zone("zone", name="example.com", opts=opts)
    ami = aws.ec2.get_ami(owners=["099720109477"], most_recent=True, opts=asked)
    zones = aws.get_availability_zones(state="available", opts=asked)
    vpc = aws.ec2.Vpc(place, cidr_block=f"{cidr}.0.0/16", enable_dns_hostnames=True, opts=opts)
    aws.ec2.DefaultSecurityGroup(place, vpc_id=vpc.id, opts=opts)
    gateway = aws.ec2.InternetGateway(place, vpc_id=vpc.id, opts=opts)
    table = aws.ec2.RouteTable(place, vpc_id=vpc.id, opts=opts)
    aws.ec2.Route(place, route_table_id=table.id, destination_cidr_block="0.0.0.0/0",
        gateway_id=gateway.id, opts=opts)
    subnet = aws.ec2.Subnet(place, vpc_id=vpc.id, cidr_block=f"{cidr}.1.0/24",
        availability_zone=zones.names[0], tags={"Name": place}, opts=opts)
    aws.ec2.RouteTableAssociation(place, route_table_id=table.id, subnet_id=subnet.id, opts=opts)
    group = aws.ec2.SecurityGroup(place, vpc_id=vpc.id, description=f"GitLab at {place}", opts=opts)
    def rule(name, kind, **about):
        kind(f"{place}-{name}", security_group_id=group.id, opts=opts, **about)
    ingress = aws.vpc.SecurityGroupIngressRule
    rule("ssh", ingress, ip_protocol="tcp", from_port=22, to_port=22, cidr_ipv4="192.0.2.0/24", description="SSH")
    rule("own", ingress, ip_protocol="-1", referenced_security_group_id=group.id)
    rule("web", ingress, ip_protocol="tcp", from_port=443, to_port=443,
        cidr_ipv4=changed.get("clients", "198.51.100.0/24"), description=changed.get("about", "clients"))
    rule("out", aws.vpc.SecurityGroupEgressRule, ip_protocol="-1", cidr_ipv4="0.0.0.0/0")
    keys = aws.ec2.KeyPair(place, public_key=key, opts=opts)
    role = aws.iam.Role(place, assume_role_policy=json.dumps(trust), opts=opts)
    aws.iam.RolePolicy(place, role=role.id, policy=json.dumps(reading), opts=opts)
    profile = aws.iam.InstanceProfile(place, role=role.name, opts=opts)
    secret = aws.kms.Key(place, description=place, enable_key_rotation=True, opts=opts)
    aws.kms.Alias(place, name=f"alias/{place}", target_key_id=secret.id, opts=opts)
    aws.kms.Grant(place, key_id=secret.id, grantee_principal=role.arn, operations=["Encrypt", "Decrypt"], opts=opts)
    host = aws.ec2.Instance(place, ami=ami.id, instance_type=changed.get("type", "t3.small"), key_name=keys.key_name,
        subnet_id=subnet.id, vpc_security_group_ids=[group.id], iam_instance_profile=profile.name,
        user_data=pulumi.Output.secret("#cloud-config\\nssh_keys: host-key\\n"),
        root_block_device={"volume_type": "gp3", "volume_size": changed.get("size", 20), "encrypted": True,
            "kms_key_id": secret.arn, "tags": {"disk": "root"}},
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required",
            "http_put_response_hop_limit": changed.get("hops", 1)},
        disable_api_termination=changed.get("protected", True), tags={"Name": place},
        opts=pulumi.ResourceOptions(provider=provider, ignore_changes=["ami", "userData"]))
    address = aws.ec2.Eip(place, domain="vpc", opts=opts)
    aws.ec2.EipAssociation(place, allocation_id=address.id, instance_id=host.id, opts=opts)
    aws.route53.Record(place, zone_id=zone.zone_id, name=f"{place}.example.com", type="A", ttl=60,
        records=[address.public_ip], opts=opts)
    for name, value in {"host": host.id, "group": group.id, "address": address.public_ip}.items():
        pulumi.export(name, value)

site("london", "eu-west-2", "10.1")
tokyo = aws.ec2.Vpc("tokyo", cidr_block="10.2.0.0/16",
    opts=pulumi.ResourceOptions(provider=provider_of("tokyo", "ap-northeast-1")))
pulumi.export("region", tokyo.region)
pulumi.export("tags", tokyo.tags_all)
"""


@pytest.fixture
def stack(tmp_path: Path, moto: str) -> Stack:
    return Stack(tmp_path, PROGRAM, CHANGED="{}")


@pytest.fixture
def ec2(moto: str) -> Any:
    return boto3.client("ec2", region_name="eu-west-2")


def _host(ec2: Any, outputs: dict[str, Any]) -> Any:
    return ec2.describe_instances(InstanceIds=[outputs["host"]])["Reservations"][0]["Instances"][0]


def _rules(ec2: Any, outputs: dict[str, Any]) -> dict[int, Any]:
    only = [{"Name": "group-id", "Values": [outputs["group"]]}]
    rules = ec2.describe_security_group_rules(Filters=only)["SecurityGroupRules"]
    return {rule.get("FromPort", -1): rule for rule in rules if not rule["IsEgress"]}


def _tags(thing: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing["Tags"]}


def _there(ec2: Any) -> dict[str, int]:
    """How many there are of each, without what AWS makes for everybody."""
    machines = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    iam, own = boto3.client("iam", "eu-west-2"), [{"Name": "is-default", "Values": ["false"]}]
    return {
        "machines": len([one for one in machines if one["State"]["Name"] != "terminated"]),
        "disks": len(ec2.describe_volumes()["Volumes"]),
        "networks": len(ec2.describe_vpcs(Filters=own)["Vpcs"]),
        "addresses": len(ec2.describe_addresses()["Addresses"]),
        "groups": len([one for one in groups if one["GroupName"] != "default"]),
        "subnets": len([one for one in ec2.describe_subnets()["Subnets"] if not one["DefaultForAz"]]),
        "gateways": len(ec2.describe_internet_gateways()["InternetGateways"]),
        "keys": len(ec2.describe_key_pairs()["KeyPairs"]),
        "profiles": len(iam.list_instance_profiles()["InstanceProfiles"]),
        "roles": len(iam.list_roles()["Roles"]),
        "zones": len(boto3.client("route53", "eu-west-2").list_hosted_zones()["HostedZones"]),
    }


def test_a_site_lives(stack: Stack, ec2: Any, moto: str) -> None:
    """Failures leave nothing twice, a refresh and an `up` see no change, drift is mended, all goes in the end."""
    _creation_with_failures(stack, ec2, moto)
    outputs = stack.outputs()
    host = _host(ec2, outputs)
    assert host["PublicIpAddress"] == outputs["address"]
    default = {"stack": "dev", "site": "london"}
    assert _tags(host) == {**default, "Name": "london"}
    assert _tags(ec2.describe_volumes()["Volumes"][0]) == {**default, "disk": "root"}
    assert (outputs["region"], outputs["tags"]) == ("ap-northeast-1", {"stack": "dev", "site": "tokyo"})
    assert "host-key" not in stack.state()

    stack.refresh("--expect-no-changes")
    stack.up("--expect-no-changes")

    _drift(ec2, outputs)
    seen = stack.refresh("--diff")
    assert '"198.51.100.0/24" => "0.0.0.0/0"' in seen
    assert '"required" => "optional"' in seen
    assert "1 deleted" in seen
    changed = {"type": "t3.large", "size": 40, "about": "everyone", "protected": False}
    stack.environment["CHANGED"] = json.dumps(changed)
    mended = stack.up()
    assert "1 created" in mended
    assert "2 updated" in mended
    assert "replaced" not in mended
    assert [(port, rule.get("CidrIpv4")) for port, rule in sorted(_rules(ec2, outputs).items())] == [
        (-1, None),
        (22, "192.0.2.0/24"),
        (443, "198.51.100.0/24"),
    ]
    host = _host(ec2, outputs)
    assert (host["InstanceType"], host["MetadataOptions"]["HttpTokens"]) == ("t3.large", "required")
    assert ec2.describe_volumes()["Volumes"][0]["Size"] == 40

    stack.destroy()
    assert not any(_there(ec2).values()), _there(ec2)


def _creation_with_failures(stack: Stack, ec2: Any, moto: str) -> None:
    """Refusals that pass are not even seen; after one that lasts, the next `up` goes on with what is there."""
    for fault in (
        {"action": "CreateVpc", "code": "RequestLimitExceeded", "status": 503},
        {"action": "ModifyVpcAttribute", "code": "Unsupported", "region": "eu-west-2"},
        {"action": "RunInstances", "code": "InsufficientInstanceCapacity", "status": 500, "times": 4},
    ):
        urllib3.request("POST", f"{moto}/moto-api/lab/faults", json=fault)
    failed = stack.up(check=False)
    assert "ModifyVpcAttribute" in failed
    assert "CreateVpc" not in failed
    failed = stack.up(check=False)
    expected = (
        "creating EC2 Instance: operation error EC2: RunInstances, exceeded maximum number of attempts, 3"
    )
    assert expected in failed
    assert "api error InsufficientInstanceCapacity" in failed
    stack.up()  # its first try is refused too
    assert {name: number for name, number in _there(ec2).items() if number != 1} == {}


def _drift(ec2: Any, outputs: dict[str, Any]) -> None:
    """By hand: one rule less, one wider, and the metadata service open to version 1."""
    rules = _rules(ec2, outputs)
    gone = [rules[22]["SecurityGroupRuleId"]]
    ec2.revoke_security_group_ingress(GroupId=outputs["group"], SecurityGroupRuleIds=gone)
    wide = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "0.0.0.0/0"}
    widened = [{"SecurityGroupRuleId": rules[443]["SecurityGroupRuleId"], "SecurityGroupRule": wide}]
    ec2.modify_security_group_rules(GroupId=outputs["group"], SecurityGroupRules=widened)
    ec2.modify_instance_metadata_options(InstanceId=outputs["host"], HttpTokens="optional")
