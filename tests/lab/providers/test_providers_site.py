"""All that a site is made of on AWS: made, found as it was stated, and gone after its deletion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider

pytestmark = pytest.mark.lab
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIRq2UxAKcSWeN1kcRAXaFtQCfKuLr1/FORx0Y4ZZird"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
READING = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"}],
    }
)
TAGS = {"site": "london"}

# (name, token, inputs); "<name>" stands for the id of what was made before, "<name.output>" for an output.
SITE: tuple[tuple[str, str, PropertyMap], ...] = (
    ("vpc", "aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True, "tags": TAGS}),
    ("emptied", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", {"vpcId": "<vpc>", "tags": TAGS}),
    ("gateway", "aws:ec2/internetGateway:InternetGateway", {"vpcId": "<vpc>", "tags": TAGS}),
    ("subnet", "aws:ec2/subnet:Subnet", {"vpcId": "<vpc>", "cidrBlock": "10.0.1.0/24", "tags": TAGS}),
    ("table", "aws:ec2/routeTable:RouteTable", {"vpcId": "<vpc>", "tags": TAGS}),
    (
        "route",
        "aws:ec2/route:Route",
        {"routeTableId": "<table>", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "<gateway>"},
    ),
    (
        "association",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        {"routeTableId": "<table>", "subnetId": "<subnet>"},
    ),
    ("group", "aws:ec2/securityGroup:SecurityGroup", {"vpcId": "<vpc>", "description": "a", "tags": TAGS}),
    (
        "ssh",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {
            "securityGroupId": "<group>",
            "ipProtocol": "tcp",
            "fromPort": 22,
            "toPort": 22,
            "cidrIpv4": "192.0.2.0/24",
            "description": "SSH",
            "tags": TAGS,
        },
    ),
    (
        "peers",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {
            "securityGroupId": "<group>",
            "ipProtocol": "tcp",
            "fromPort": 5050,
            "toPort": 5050,
            "referencedSecurityGroupId": "<group>",
        },
    ),
    (
        "out",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        {"securityGroupId": "<group>", "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"},
    ),
    ("key", "aws:ec2/keyPair:KeyPair", {"publicKey": PUBLIC_KEY, "tags": TAGS}),
    ("role", "aws:iam/role:Role", {"assumeRolePolicy": TRUST, "description": "a", "tags": TAGS}),
    ("reading", "aws:iam/rolePolicy:RolePolicy", {"role": "<role>", "policy": READING}),
    (
        "managed",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        {"role": "<role>", "policyArn": "<managed policy>"},
    ),
    ("profile", "aws:iam/instanceProfile:InstanceProfile", {"role": "<role>", "tags": TAGS}),
    ("kms", "aws:kms/key:Key", {"description": "a", "enableKeyRotation": True, "tags": TAGS}),
    ("alias", "aws:kms/alias:Alias", {"name": "alias/london", "targetKeyId": "<kms>"}),
    (
        "grant",
        "aws:kms/grant:Grant",
        {"keyId": "<kms>", "granteePrincipal": "<role.arn>", "operations": ["Encrypt", "Decrypt"]},
    ),
    (
        "host",
        "aws:ec2/instance:Instance",
        {
            "ami": "<ami>",
            "instanceType": "t3.small",
            "keyName": "<key>",
            "subnetId": "<subnet>",
            "vpcSecurityGroupIds": ["<group>"],
            "iamInstanceProfile": "<profile>",
            "userData": "#cloud-config\nhostname: gitlab\n",
            "rootBlockDevice": {
                "volumeType": "gp3",
                "volumeSize": 50,
                "encrypted": True,
                "kmsKeyId": "<kms.arn>",
                "iops": 4000,
                "throughput": 250,
                "deleteOnTermination": True,
                "tags": {"disk": "root"},
            },
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpTokens": "required",
                "httpPutResponseHopLimit": 1,
            },
            "disableApiTermination": True,
            "forceDestroy": True,
            "ebsOptimized": True,
            "monitoring": True,
            "tags": TAGS,
        },
    ),
    ("address", "aws:ec2/eip:Eip", {"domain": "vpc", "tags": TAGS}),
    (
        "addressed",
        "aws:ec2/eipAssociation:EipAssociation",
        {"allocationId": "<address>", "instanceId": "<host>"},
    ),
    ("zone", "aws:route53/zone:Zone", {"name": "example.com", "tags": TAGS}),
    (
        "name",
        "aws:route53/record:Record",
        {
            "zoneId": "<zone>",
            "name": "gitlab.example.com",
            "type": "A",
            "ttl": 60,
            "records": ["<address.publicIp>"],
        },
    ),
)


class Site:
    """What has been made, in order: name -> (token, id, state, stored inputs)."""

    def __init__(self, cloud: Provider) -> None:
        self.cloud = cloud
        self.things: dict[str, tuple[str, str, PropertyMap, PropertyMap]] = {}
        ami = cloud.invoke("aws:ec2/getAmi:getAmi", owners=["099720109477"], mostRecent=True)
        self.known = {"<ami>": ami["id"]}

    def make(self, name: str, token: str, inputs: PropertyMap) -> None:
        made, state, stored = self.cloud.made(token, self.filled(inputs))
        self.things[name] = (token, made, state, stored)
        self.known[f"<{name}>"] = made
        self.known |= {f"<{name}.{key}>": value for key, value in state.items() if isinstance(value, str)}

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        return (
            [self.filled(item) for item in value] if isinstance(value, list) else self.known.get(value, value)
        )


def test_a_whole_site_is_made_found_as_stated_and_deleted(cloud: Provider, iam: Any) -> None:
    """After everything is made a refresh sees no change, neither in the inputs nor in the outputs."""
    site = Site(cloud)
    managed = iam.create_policy(PolicyName="managed", PolicyDocument=READING)["Policy"]["Arn"]
    site.known["<managed policy>"] = managed
    for name, token, inputs in SITE:
        site.make(name, token, inputs)
        _, made, state, stored = site.things[name]
        assert cloud.read(token, made, state, stored) == (made, state, stored), name
    for name, (token, made, state, stored) in site.things.items():
        _, now, inputs = cloud.read(token, made, state, stored)
        assert inputs == stored, name
        if name not in ("role", "group", "host", "table", "address"):  # others have become parts of these
            assert now == state, name
        again = cloud.restated(token, stored)
        assert not cloud.diff(token, stored, again).paths, name
    for name, (token, made, state, stored) in reversed(site.things.items()):
        cloud.delete(token, made, state)
        if name != "emptied":  # a default group stays until its network goes
            assert cloud.read(token, made, state, stored)[0] == "", name
        cloud.delete(token, made, state)  # once more: gone already is no error
