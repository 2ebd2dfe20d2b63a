"""Buckets and their settings: made, changed, found drifted, taken over and deleted as S3 allows it."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from lab.providers.protocol import UNKNOWN
from tests.lab.providers.harness import Provider, error

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
    def test_a_preview_knows_the_name_and_not_the_addresses(self, cloud: Provider, s3: Any) -> None:
        _, outputs = cloud.create(BUCKET, cloud.check(BUCKET, {"bucket": "images"}), preview=True)
        assert (outputs["bucket"], outputs["arn"]) == ("images", UNKNOWN)
        assert not s3.list_buckets()["Buckets"]

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

    def test_one_that_is_gone_is_no_error(self, cloud: Provider, s3: Any) -> None:
        made, state, stored = cloud.made(BUCKET, {"bucket": "images"})
        s3.delete_bucket(Bucket="images")
        assert cloud.read(BUCKET, made, state, stored)[0] == ""
        cloud.delete(BUCKET, made, state)


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


def test_a_policy_written_differently_is_no_change(cloud: Provider) -> None:
    token = "aws:s3/bucketPolicy:BucketPolicy"
    old = {"bucket": "b", "policy": '{"Version": "2012-10-17", "Statement": []}'}
    assert not cloud.diff(token, old, {**old, "policy": '{\n"Statement":[],"Version":"2012-10-17"}'}).paths
    assert cloud.diff(token, old, {**old, "policy": '{"Version": "2008-10-17"}'}).paths == {
        "policy": "UPDATE"
    }
