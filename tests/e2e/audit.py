"""What is wrong with what stands in an AWS account, asked of AWS and not of our program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lab.api import Lab

WORLD = {"0.0.0.0/0", "::/0"}
# The account's own, who runs Pulumi.
ADMINISTRATOR = "admin"
# Ports that users of GitLab reach; nothing else may be open to the world.
PUBLIC = {80, 443, 5050}


def findings(lab: Lab, regions: tuple[str, ...], *, bucket: str) -> list[str]:
    """One line for each thing that a security review would not let pass; `bucket` is the registry's."""
    found: list[str] = []
    for region in regions:
        ec2 = lab.ec2(region)
        found += _groups(ec2)
        found += _servers(ec2)
        found += _untagged(ec2)
    found += _policies(lab, bucket)
    found += _buckets(lab)
    return found


def _groups(ec2: Any) -> Iterator[str]:
    vpcs = {v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]}
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        if group["VpcId"] not in vpcs:
            continue
        name = group["GroupName"]
        for rule in group["IpPermissions"]:
            peers = {r["CidrIp"] for r in rule.get("IpRanges", [])} | {
                r["CidrIpv6"] for r in rule.get("Ipv6Ranges", [])
            }
            ports = range(rule.get("FromPort", 0), rule.get("ToPort", 65535) + 1)
            if peers & WORLD and (rule["IpProtocol"] == "-1" or not set(ports) <= PUBLIC):
                yield f"{name} is open to the world on {rule.get('FromPort')}-{rule.get('ToPort')}"
        for rule in group["IpPermissionsEgress"]:
            if rule["IpProtocol"] == "-1":
                yield f"{name} lets everything out"


def _servers(ec2: Any) -> Iterator[str]:
    for reservation in ec2.describe_instances()["Reservations"]:
        for server in reservation["Instances"]:
            if server["State"]["Name"] != "running":
                continue
            name = server["InstanceId"]
            if server["MetadataOptions"].get("HttpTokens") != "required":
                yield f"{name} tells its metadata without a token"
            for device in server["BlockDeviceMappings"]:
                volume = ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"][0]
                if not volume["Encrypted"]:
                    yield f"{name} has a disk that is not encrypted"
                if volume["VolumeType"] != "gp3":
                    yield f"{name} has a disk of type {volume['VolumeType']}"


def _untagged(ec2: Any) -> Iterator[str]:
    own = [{"Name": "is-default", "Values": ["false"]}]
    vpcs = [vpc["VpcId"] for vpc in ec2.describe_vpcs(Filters=own)["Vpcs"]]
    inside = [{"Name": "vpc-id", "Values": vpcs or ["none"]}]
    attached = [{"Name": "attachment.vpc-id", "Values": vpcs or ["none"]}]
    running = [{"Name": "instance-state-name", "Values": ["running"]}]
    things = {
        "VpcId": ec2.describe_vpcs(Filters=own)["Vpcs"],
        "SubnetId": ec2.describe_subnets(Filters=inside)["Subnets"],
        "GroupId": ec2.describe_security_groups(Filters=inside)["SecurityGroups"],
        "InternetGatewayId": ec2.describe_internet_gateways(Filters=attached)["InternetGateways"],
        "AllocationId": ec2.describe_addresses()["Addresses"],
        "KeyPairId": ec2.describe_key_pairs()["KeyPairs"],
        "VolumeId": ec2.describe_volumes()["Volumes"],
        "InstanceId": [
            i for r in ec2.describe_instances(Filters=running)["Reservations"] for i in r["Instances"]
        ],
    }
    wanted = {"pulumi-stack", "gitlab-geo-site", "gitlab-geo-role"}
    for key, found in things.items():
        for thing in found:
            if missing := wanted - {tag["Key"] for tag in thing.get("Tags", [])}:
                yield f"{thing[key]} has no tag {', '.join(sorted(missing))}"


def _policies(lab: Lab, bucket: str) -> Iterator[str]:
    iam = lab.iam()
    documents = {
        f"role {role['RoleName']}": iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)[
            "PolicyDocument"
        ]
        for role in iam.list_roles()["Roles"]
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    }
    documents |= {
        f"user {user['UserName']}": iam.get_user_policy(UserName=user["UserName"], PolicyName=policy)[
            "PolicyDocument"
        ]
        for user in iam.list_users()["Users"]
        if user["UserName"] != ADMINISTRATOR
        for policy in iam.list_user_policies(UserName=user["UserName"])["PolicyNames"]
    }
    for holder, provided in documents.items():
        document: Any = json.loads(provided) if isinstance(provided, str) else provided
        for statement in document["Statement"]:
            actions, places = (
                [value] if isinstance(value, str) else value
                for value in (statement["Action"], statement["Resource"])
            )
            if any("*" in action for action in actions):
                yield f"{holder} may do {actions}"
            if actions == ["kms:Decrypt"]:
                # Under whichever key, of this bucket alone.
                reported = statement.get("Condition", {}).get("StringLike", {})
                places = reported.get("kms:EncryptionContext:aws:s3:arn", places)
            if statement["Effect"] == "Allow" and not all(
                p.startswith(f"arn:aws:s3:::{bucket}") for p in places
            ):
                yield f"{holder} may reach {places}"


def _buckets(lab: Lab) -> Iterator[str]:
    s3 = lab.s3()
    for name in (b["Name"] for b in s3.list_buckets()["Buckets"]):
        for what, ask in (
            ("encryption", lambda: s3.get_bucket_encryption(Bucket=name)),  # noqa: B023 (asked at once)
            ("a public access block", lambda: s3.get_public_access_block(Bucket=name)),  # noqa: B023
            ("an owner for all objects", lambda: s3.get_bucket_ownership_controls(Bucket=name)),  # noqa: B023
            ("a lifecycle", lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)),  # noqa: B023
            ("a policy", lambda: s3.get_bucket_policy(Bucket=name)),  # noqa: B023
        ):
            try:
                answer: Any = ask()
            except s3.exceptions.ClientError:
                yield f"{name} has not got {what}"
                continue
            block = answer.get("PublicAccessBlockConfiguration", {})
            if not all(block.values()):
                yield f"{name} can be made public: {block}"
        if s3.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
            yield f"{name} is not versioned"
