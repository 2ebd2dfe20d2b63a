"""The aws provider as a whole: where it may go, who it is, what it refuses, names, regions, tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import grpc
import pytest
import urllib3

from lab.providers.aws import __main__ as aws
from lab.providers.protocol import UNKNOWN, is_secret, secret
from tests.lab.providers.harness import Provider, error, serving

BUCKET, USER = "aws:s3/bucket:Bucket", "aws:iam/user:User"


@pytest.fixture
def unconfigured(moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        yield provider


class TestConfigure:
    @pytest.mark.parametrize(
        "url", ["", "https://s3.amazonaws.com", "http://10.99.0.10:5000", "http://[::2]:80"]
    )
    def test_it_goes_nowhere_but_to_the_lab(
        self, unconfigured: Provider, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(grpc.RpcError, match="talks only to the lab"):
            unconfigured.configure()

    def test_an_endpoint_of_the_program_does_not_lead_it_elsewhere(self, unconfigured: Provider) -> None:
        with pytest.raises(grpc.RpcError, match="not to https://s3"):
            unconfigured.configure(endpoints='[{"s3": "https://s3.eu-west-1.amazonaws.com"}]')

    def test_without_credentials_it_stops(
        self, unconfigured: Provider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(grpc.RpcError, match="No valid credential sources found"):
            unconfigured.configure()

    def test_without_a_region_it_stops(self, unconfigured: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_REGION")
        with pytest.raises(grpc.RpcError, match="Missing region"):
            unconfigured.configure()

    def test_credentials_are_tried_at_once(self, unconfigured: Provider, moto: str, iam: Any) -> None:
        """With moto checking keys as AWS does: a made-up key is refused, an administrator's is not."""
        iam.create_user(UserName="admin")
        everything = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        )
        iam.put_user_policy(UserName="admin", PolicyName="all", PolicyDocument=everything)
        key = iam.create_access_key(UserName="admin")["AccessKey"]
        _require_keys(moto, True)
        try:
            with pytest.raises(grpc.RpcError) as refused:
                unconfigured.configure(accessKey="AKIAIOSFODNN7EXAMPLE", secretKey="wrong")
            assert "unable to validate AWS credentials" in error(refused.value)
            assert "InvalidClientTokenId" in error(refused.value)
            unconfigured.configure(accessKey=key["AccessKeyId"], secretKey=key["SecretAccessKey"])
            assert unconfigured.made(BUCKET, {"bucket": "allowed"})[0] == "allowed"
        finally:
            _require_keys(moto, False)


def _require_keys(url: str, required: bool) -> None:
    body = "0" if required else "inf"
    urllib3.request("POST", f"{url}/moto-api/reset-auth", body=body, headers={"Content-Type": "text/plain"})


class TestCheck:
    @pytest.mark.parametrize(
        ("token", "inputs", "where", "why"),
        [
            (BUCKET, {"bucketName": "x"}, "bucketName", "no such property"),
            (BUCKET, {"tags": "x"}, "tags", "expected a map"),
            (BUCKET, {"forceDestroy": "yes"}, "forceDestroy", "expected bool, got a string"),
            (BUCKET, {"versioning": {"enabled": True}}, "versioning", "the resource of its own"),
            (
                "aws:s3/bucketVersioning:BucketVersioning",
                {"bucket": "b", "versioningConfiguration": {"status": "On"}},
                "versioningConfiguration.status",
                "one of",
            ),
            (
                "aws:s3/bucketVersioning:BucketVersioning",
                {"bucket": "b", "versioningConfiguration": {}},
                "versioningConfiguration.status",
                "Missing required argument",
            ),
            ("aws:s3/bucketPolicy:BucketPolicy", {"bucket": "b"}, "policy", "Missing required argument"),
            (
                "aws:s3/bucketPolicy:BucketPolicy",
                {"bucket": "b", "policy": "{"},
                "policy",
                "contains an invalid JSON",
            ),
            (
                "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
                {"bucket": "b", "rules": [{"id": "x", "status": "enabled"}]},
                "rules[0].status",
                "one of",
            ),
            (USER, {"region": "eu-west-1"}, "region", "no such property"),
        ],
    )
    def test_wrong_inputs_are_refused_by_name(
        self, cloud: Provider, token: str, inputs: dict[str, Any], where: str, why: str
    ) -> None:
        failures, _ = cloud.failures(token, inputs)
        assert why in failures[where]

    def test_a_complaint_does_not_repeat_the_value(self, cloud: Provider) -> None:
        """It may be a secret."""
        failures, _ = cloud.failures(USER, {"tags": secret("hidden")})
        assert "hidden" not in str(failures)

    def test_unknown_and_secret_values_pass(self, cloud: Provider) -> None:
        policy = {"bucket": UNKNOWN, "policy": secret(UNKNOWN)}
        assert is_secret(cloud.check("aws:s3/bucketPolicy:BucketPolicy", policy)["policy"])


class TestNames:
    def test_a_name_is_made_from_the_resource_and_kept(self, cloud: Provider) -> None:
        first = cloud.check(USER, {})
        assert first["name"].startswith("thing-")
        assert len(first["name"]) == len("thing-") + 7
        assert cloud.check(USER, {}, first)["name"] == first["name"]


class TestRegion:
    def test_it_defaults_to_the_providers(self, cloud: Provider) -> None:
        assert cloud.check(BUCKET, {})["region"] == "eu-west-1"
        cloud.configure(region="us-east-1")
        assert cloud.check(BUCKET, {})["region"] == "us-east-1"

    def test_a_resource_may_have_its_own(self, cloud: Provider, s3: Any) -> None:
        _, state, _ = cloud.made(BUCKET, {"bucket": "far", "region": "ap-northeast-1"})
        assert state["region"] == state["bucketRegion"] == "ap-northeast-1"
        assert state["bucketRegionalDomainName"] == "far.s3.ap-northeast-1.amazonaws.com"
        assert s3.get_bucket_location(Bucket="far")["LocationConstraint"] == "ap-northeast-1"


class TestTags:
    def test_default_tags_of_the_provider_reach_aws_and_only_tags_all(self, cloud: Provider, s3: Any) -> None:
        cloud.configure(defaultTags='{"tags": {"owner": "ops"}}')
        made, state, stored = cloud.made(BUCKET, {"bucket": "tagged", "tags": {"use": "images"}})
        tags = s3.get_bucket_tagging(Bucket="tagged")["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"owner": "ops", "use": "images"}
        assert state["tags"] == {"use": "images"}
        assert state["tagsAll"] == {"owner": "ops", "use": "images"}
        assert cloud.read(BUCKET, made, state, stored)[2] == stored

    @pytest.mark.parametrize("token", [USER, BUCKET])
    def test_they_change_in_place(self, cloud: Provider, token: str) -> None:
        made, state, stored = cloud.made(token, {"tags": {"a": "1", "b": "2"}})
        now = cloud.restated(token, stored, tags={"b": "3"})
        assert not cloud.diff(token, stored, now).replaces
        state = cloud.update(token, made, state, now)
        assert cloud.read(token, made, state, now)[1]["tags"] == {"b": "3"}
        without = cloud.restated(token, now, without="tags")
        state = cloud.update(token, made, state, without)
        assert "tags" not in state
        assert state["tagsAll"] == {}


def test_what_the_stand_in_lacks_is_said(cloud: Provider) -> None:
    with pytest.raises(
        grpc.RpcError, match="stand-in provider has no resource type aws:lambda/function:Function"
    ):
        cloud.check("aws:lambda/function:Function", {})
    with pytest.raises(grpc.RpcError, match="stand-in provider has no function"):
        cloud.invoke("aws:lambda/getFunction:getFunction")


def test_two_providers_do_not_share_a_region(moto: str) -> None:
    """Explicit providers are plugins of their own, but nothing may leak where a test serves two in one process."""
    with serving(aws.servicer()) as one, serving(aws.servicer()) as other:
        one.configure(region="eu-west-1")
        other.configure(region="ap-northeast-1")
        assert one.made(BUCKET, {"bucket": "here"})[1]["region"] == "eu-west-1"
        assert other.made(BUCKET, {"bucket": "there"})[1]["region"] == "ap-northeast-1"
    regions = boto3.client("s3", region_name="eu-west-1")
    assert regions.get_bucket_location(Bucket="there")["LocationConstraint"] == "ap-northeast-1"
