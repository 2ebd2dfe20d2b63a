"""A primary that exists and a secondary that is created, with a Sidekiq server of its own."""

from __future__ import annotations

from typing import Any

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import Stack

KEY = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"


@pytest.fixture(scope="module")
def up(existing: Stack, fresh: Lab) -> Stack:
    keys = {region: fresh.kms(region).create_key()["KeyMetadata"]["Arn"] for region in ("eu-west-1", REGION)}
    tokyo = {**TOKYO, "aws": {**TOKYO["aws"], "kms_key_id": keys[REGION]}}
    existing.configure(lambda c: c["sites"].update(tokyo=tokyo))
    existing.configure(lambda c: c["storage"]["s3"].update(kms_key_id=keys["eu-west-1"]))
    existing.up()
    assert set(fresh.instances()) == {"tokyo-1", "tokyo-2"}
    return existing


REGION = "ap-northeast-1"
TOKYO: dict[str, Any] = {
    "external_url": "https://gitlab.tokyo.example.com",
    "registry_url": "https://registry.tokyo.example.com:5050",
    "aws": {
        "region": REGION,
        "cidr": "10.120.0.0/16",
        "admin_cidrs": ["198.51.100.7/32"],
        "client_cidrs": ["0.0.0.0/0"],
        "hosted_zone": "example.com",
        "instance_type": "m7g.large",
        "termination_protection": False,
    },
    "nodes": {"tokyo-1": {"roles": ["rails", "registry"]}, "tokyo-2": {"roles": ["sidekiq"]}},
}


def test_both_kinds_of_sites_are_proven_with_one_key(up: Stack, fresh: Lab, london: Host) -> None:
    """The existing primary's key reaches both created servers; the secondary reads by its role, the primary by a key."""
    created = fresh.instances()
    assert created["tokyo-1"].read(KEY) == created["tokyo-2"].read(KEY) == london.read(KEY)
    proof = up.outputs()["proof"]
    assert proof["tokyo"]["tokyo-1"]["own registry refuses a push (read-only)"] == "405"
    assert "london's registry accepts a pull-only token signed by this node" in proof["tokyo"]["tokyo-2"]
    assert b"accesskey" in london.read("/var/opt/gitlab/registry/config.yml")
    assert b"accesskey" not in created["tokyo-1"].read("/var/opt/gitlab/registry/config.yml")


def test_disks_and_images_are_encrypted_with_keys_of_ones_own(up: Stack, fresh: Lab) -> None:
    """The servers' disks, the bucket and what the registry writes; who writes may use the key, all may decrypt."""
    (key,) = [k["KeyArn"] for k in fresh.kms(REGION).list_keys()["Keys"]]
    volumes = fresh.ec2(REGION).describe_volumes()["Volumes"]
    assert volumes and {v["KmsKeyId"] for v in volumes} == {key}
    fresh.push("london", "group/app:kms", seed=b"kms")
    (key,) = [k["KeyArn"] for k in fresh.kms("eu-west-1").list_keys()["Keys"]]
    s3, bucket = fresh.s3(), "acme-gitlab-registry"
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    first = s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"]
    assert s3.head_object(Bucket=bucket, Key=first)["SSEKMSKeyId"] == key
    iam = fresh.iam()
    (user,) = [u["UserName"] for u in iam.list_users()["Users"] if u["UserName"] != "admin"]
    (policy,) = iam.list_user_policies(UserName=user)["PolicyNames"]
    writes = str(iam.get_user_policy(UserName=user, PolicyName=policy)["PolicyDocument"])
    (role,) = [r["RoleName"] for r in iam.list_roles()["Roles"]]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    reads = str(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
    assert key in writes and "kms:Decrypt" in writes
    assert key not in reads and "kms:Decrypt" in reads


def test_nothing_is_done_twice_and_a_change_reaches_who_it_is_for(
    up: Stack, fresh: Lab, london: Host
) -> None:
    """A second `up` opens no session; replication explicitly disabled touches the secondary only."""
    hosts = {"london": london, **fresh.instances()}
    before = {name: host.ssh_sessions() for name, host in hosts.items()}
    up.up()
    assert {name: host.ssh_sessions() for name, host in hosts.items()} == before
    up.configure(lambda c: c.update(replication=False))
    up.up()
    after = {name: host.ssh_sessions() for name, host in hosts.items()}
    assert after == {**before, "tokyo-1": before["tokyo-1"] + 2, "tokyo-2": before["tokyo-2"] + 2}


def test_destroy_gives_the_existing_site_back_and_takes_the_created_one_away(
    up: Stack, fresh: Lab, london: Host
) -> None:
    """gitlab.rb of london without our line; tokyo's servers are gone."""
    up.destroy()
    assert b"geo-registry" not in london.read("/etc/gitlab/gitlab.rb")
    assert fresh.instances() == {}
