"""Buckets and their settings: made, changed, found drifted, taken over and deleted as S3 allows it."""

from __future__ import annotations

import json
from typing import Any

import boto3
import grpc
import pytest

from lab.providers.protocol import UNKNOWN
from tests.lab.providers.harness import Provider, error

pytestmark = pytest.mark.lab
BUCKET = "aws:s3/bucket:Bucket"
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::images", "arn:aws:s3:::images/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ],
}
_OPEN = {"blockPublicAcls": True, "blockPublicPolicy": True, "ignorePublicAcls": True}

SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "aws:s3/bucketVersioning:BucketVersioning": (
        {"versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        {
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {
                        "sseAlgorithm": "aws:kms",
                        "kmsMasterKeyId": "key",
                    },
                    "bucketKeyEnabled": True,
                }
            ]
        },
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        {**_OPEN, "restrictPublicBuckets": True},
        {**_OPEN, "restrictPublicBuckets": False},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (
        {"policy": json.dumps(_POLICY, indent=2)},
        {"policy": json.dumps({**_POLICY, "Id": "other"})},
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        {
            "rules": [
                {
                    "id": "uploads",
                    "status": "Enabled",
                    "filter": {},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 3},
                }
            ]
        },
        {
            "rules": [
                {
                    "id": "uploads",
                    "status": "Enabled",
                    "filter": {"and": {"prefix": "docker/", "tags": {"a": "b"}}},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                },
                {
                    "id": "old",
                    "status": "Disabled",
                    "filter": {"prefix": "docker/"},
                    "noncurrentVersionExpiration": {"noncurrentDays": 30},
                },
            ]
        },
    ),
}


@pytest.fixture
def bucket(cloud: Provider) -> str:
    cloud.made(BUCKET, {"bucket": "images"})
    return "images"


class TestBucket:
    def test_it_is_made_with_its_addresses(self, cloud: Provider, s3: Any) -> None:
        made, state, stored = cloud.made(BUCKET, {"bucket": "images"})
        assert made == "images"
        assert state == {
            "arn": "arn:aws:s3:::images",
            "bucket": "images",
            "bucketDomainName": "images.s3.amazonaws.com",
            "bucketRegion": "eu-west-1",
            "bucketRegionalDomainName": "images.s3.eu-west-1.amazonaws.com",
            "hostedZoneId": "Z1BKCTXD74EZPE",
            "region": "eu-west-1",
            "tagsAll": {},
        }
        assert stored == {"bucket": "images", "region": "eu-west-1"}

    def test_a_preview_knows_the_name_and_not_the_addresses(self, cloud: Provider, s3: Any) -> None:
        _, outputs = cloud.create(BUCKET, cloud.check(BUCKET, {"bucket": "images"}), preview=True)
        assert (outputs["bucket"], outputs["arn"]) == ("images", UNKNOWN)
        assert not s3.list_buckets()["Buckets"]

    def test_the_preview_of_an_update_keeps_its_addresses(self, cloud: Provider) -> None:
        made, state, stored = cloud.made(BUCKET, {"bucket": "images"})
        outputs = cloud.update(BUCKET, made, state, {**stored, "tags": {"a": "b"}}, preview=True)
        assert outputs["arn"] == "arn:aws:s3:::images"
        assert outputs["tags"] == {"a": "b"}

    @pytest.mark.parametrize("name", ["bucket", "bucketPrefix", "region", "objectLockEnabled"])
    def test_what_replaces_it(self, cloud: Provider, name: str) -> None:
        assert cloud.diff(BUCKET, {name: "old"}, {name: "new"}).replaces == [name]

    @pytest.mark.parametrize("name", ["tags", "forceDestroy"])
    def test_what_does_not(self, cloud: Provider, name: str) -> None:
        found = cloud.diff(BUCKET, {name: "old"}, {name: "new"})
        assert found.paths
        assert not found.replaces

    @pytest.mark.parametrize(
        ("region", "code"), [("eu-west-1", "BucketAlreadyOwnedByYou"), ("us-east-1", "bucket already exists")]
    )
    def test_one_that_exists_is_not_taken_over_by_accident(
        self, cloud: Provider, region: str, code: str
    ) -> None:
        cloud.made(BUCKET, {"bucket": "images", "region": region})
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(BUCKET, {"bucket": "images", "region": region})
        assert error(refused.value).startswith("creating S3 Bucket (images): ")
        assert code in error(refused.value)

    def test_one_with_objects_stays(self, cloud: Provider, s3: Any) -> None:
        made, state, _ = cloud.made(BUCKET, {"bucket": "images"})
        s3.put_object(Bucket="images", Key="layer", Body=b"x")
        with pytest.raises(grpc.RpcError) as refused:
            cloud.delete(BUCKET, made, state)
        assert "deleting S3 Bucket (images): " in error(refused.value)
        assert "BucketNotEmpty" in error(refused.value)
        s3.delete_object(Bucket="images", Key="layer")
        cloud.delete(BUCKET, made, state)
        assert not s3.list_buckets()["Buckets"]

    def test_force_destroy_empties_it_first_of_all_versions(self, cloud: Provider, s3: Any) -> None:
        made, state, _ = cloud.made(BUCKET, {"bucket": "images", "forceDestroy": True})
        s3.put_bucket_versioning(Bucket="images", VersioningConfiguration={"Status": "Enabled"})
        for body in (b"one", b"two"):
            s3.put_object(Bucket="images", Key="layer", Body=body)
        s3.delete_object(Bucket="images", Key="layer")
        cloud.delete(BUCKET, made, state)
        assert not s3.list_buckets()["Buckets"]

    def test_one_that_is_gone_is_no_error(self, cloud: Provider, s3: Any) -> None:
        made, state, stored = cloud.made(BUCKET, {"bucket": "images"})
        s3.delete_bucket(Bucket="images")
        assert cloud.read(BUCKET, made, state, stored)[0] == ""
        cloud.delete(BUCKET, made, state)

    @pytest.mark.parametrize(
        ("id", "region"), [("theirs", "eu-west-1"), ("theirs@ap-northeast-1", "ap-northeast-1")]
    )
    def test_an_existing_one_can_be_imported(self, cloud: Provider, id: str, region: str) -> None:
        s3 = boto3.client("s3", region_name=region)
        where: Any = {"LocationConstraint": region}
        s3.create_bucket(Bucket="theirs", CreateBucketConfiguration=where)
        s3.put_bucket_tagging(Bucket="theirs", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        made, state, inputs = cloud.read(BUCKET, id)
        assert made == "theirs"
        assert state["arn"] == "arn:aws:s3:::theirs"
        tags = {"a": "b"}
        assert inputs == {"bucket": "theirs", "region": region, "tags": tags, "tagsAll": tags}
        stated = cloud.check(BUCKET, {"bucket": "theirs", "region": region, "tags": {"a": "b"}}, inputs)
        assert not cloud.diff(BUCKET, inputs, stated).paths

    def test_what_does_not_exist_cannot_be_imported(self, cloud: Provider) -> None:
        assert cloud.read(BUCKET, "nobodys")[0] == ""


@pytest.mark.parametrize("token", SETTINGS)
class TestSetting:
    def test_it_is_made_changed_and_deleted(self, cloud: Provider, bucket: str, token: str) -> None:
        """After each step the real setting, refreshed, equals what was stated: no false drift."""
        first, second = ({"bucket": bucket, **inputs} for inputs in SETTINGS[token])
        made, state, stored = cloud.made(token, first)
        assert made == bucket
        assert cloud.read(token, made, state, stored)[2] == stored
        changed = cloud.check(token, second, stored)
        assert cloud.diff(token, stored, changed).paths
        assert not cloud.diff(token, stored, changed).replaces
        state = cloud.update(token, made, state, changed)
        assert cloud.read(token, made, state, changed)[2] == changed
        cloud.delete(token, made, state)
        cloud.delete(token, made, state)

    def test_drift_shows_in_a_refresh(self, cloud: Provider, bucket: str, token: str) -> None:
        """What somebody else set is what the inputs say afterwards, so that the next `up` sets it back."""
        first, second = ({"bucket": bucket, **inputs} for inputs in SETTINGS[token])
        made, state, stored = cloud.made(token, first)
        cloud.update(token, made, state, cloud.check(token, second))  # behind the back of the state
        _, outputs, inputs = cloud.read(token, made, state, stored)
        assert cloud.diff(token, inputs, stored).paths
        assert outputs != state

    def test_another_bucket_or_region_replaces(self, cloud: Provider, token: str) -> None:
        old = {"bucket": "images", "region": "eu-west-1"}
        assert cloud.diff(token, old, {**old, "bucket": "others"}).replaces == ["bucket"]
        assert cloud.diff(token, old, {**old, "region": "us-east-1"}).replaces == ["region"]

    def test_it_ends_with_its_bucket(self, cloud: Provider, bucket: str, token: str, s3: Any) -> None:
        made, state, stored = cloud.made(token, {"bucket": bucket, **SETTINGS[token][0]})
        s3.delete_bucket(Bucket=bucket)
        assert cloud.read(token, made, state, stored)[0] == ""
        cloud.delete(token, made, state)

    def test_it_cannot_be_on_a_bucket_that_is_not_there(self, cloud: Provider, token: str) -> None:
        with pytest.raises(grpc.RpcError, match="NoSuchBucket"):
            cloud.made(token, {"bucket": "nobodys", **SETTINGS[token][0]})

    def test_an_existing_one_can_be_imported(self, cloud: Provider, bucket: str, token: str) -> None:
        _, state, stored = cloud.made(token, {"bucket": bucket, **SETTINGS[token][0]})
        made, found, inputs = cloud.read(token, bucket)
        assert made == bucket
        assert inputs["bucket"] == bucket
        assert found["region"] == stored["region"]
        assert cloud.read(token, bucket, state, stored)[0] == bucket


def test_a_policy_written_differently_is_no_change(cloud: Provider) -> None:
    token = "aws:s3/bucketPolicy:BucketPolicy"
    old = {"bucket": "b", "policy": '{"Version": "2012-10-17", "Statement": []}'}
    assert not cloud.diff(token, old, {**old, "policy": '{\n"Statement":[],"Version":"2012-10-17"}'}).paths
    assert cloud.diff(token, old, {**old, "policy": '{"Version": "2008-10-17"}'}).paths == {
        "policy": "UPDATE"
    }


def test_versioning_once_on_is_never_off_again(cloud: Provider, bucket: str) -> None:
    token = "aws:s3/bucketVersioning:BucketVersioning"
    made, state, stored = cloud.made(
        token, {"bucket": bucket, "versioningConfiguration": {"status": "Enabled"}}
    )
    with pytest.raises(grpc.RpcError, match="cannot be updated from 'Enabled' to 'Disabled'"):
        cloud.update(token, made, state, {**stored, "versioningConfiguration": {"status": "Disabled"}})


def test_deleting_versioning_suspends_it(cloud: Provider, bucket: str, s3: Any) -> None:
    token = "aws:s3/bucketVersioning:BucketVersioning"
    made, state, _ = cloud.made(token, {"bucket": bucket, "versioningConfiguration": {"status": "Enabled"}})
    cloud.delete(token, made, state)
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
