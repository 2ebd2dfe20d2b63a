"""Calls that fail: what is tried again and for how long, how it is reported, what is remembered of half a creation."""

from __future__ import annotations

from typing import Any

import boto3
import grpc
import pytest
import urllib3

from lab.providers.aws import retries
from lab.providers.aws.api import Api
from lab.providers.protocol import load
from tests.lab.providers.harness import Provider, error, remembered

VPC, GROUP, USER = "aws:ec2/vpc:Vpc", "aws:ec2/securityGroup:SecurityGroup", "aws:iam/user:User"
BUCKET = "aws:s3/bucket:Bucket"


@pytest.fixture
def fail(moto: str) -> Any:
    """Orders a failure: fail("CreateVpc", "Throttling", times=2)."""

    def order(action: str, code: str, **more: Any) -> None:
        order = {"action": action, "code": code, **more}
        answer = urllib3.request("POST", f"{moto}/moto-api/lab/faults", json=order)
        assert answer.status == 200

    return order


class TestPause:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("RequestLimitExceeded", 503),
            ("Throttling", 400),
            ("InsufficientInstanceCapacity", 500),
            ("x", 503),
        ],
    )
    def test_throttling_and_server_errors_pass(self, code: str, status: int) -> None:
        assert retries.pause(code, status, 1) is not None

    @pytest.mark.parametrize(("code", "status"), [("InvalidParameterValue", 400), ("AccessDenied", 403)])
    def test_a_refusal_does_not(self, code: str, status: int) -> None:
        assert retries.pause(code, status, 1) is None

    def test_it_doubles_up_to_five_minutes_and_is_longer_after_throttling(self) -> None:
        for attempt in range(1, 25):
            short, long = retries.pause("x", 500, attempt), retries.pause("Throttling", 400, attempt)
            assert short is not None
            assert long is not None
            assert min(0.03 * 2**attempt, 300) <= short <= min(0.06 * 2**attempt, 300)
            assert min(0.5 * 2**attempt, 300) <= long <= min(2**attempt, 300)


class TestAttempts:
    def test_there_are_25_unless_the_provider_or_the_environment_say_otherwise(
        self, moto: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api = Api()
        api.configure({})
        assert api.attempts == 25
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
        api.configure({})
        assert api.attempts == 7
        api.configure({"maxRetries": "3"})
        assert api.attempts == 3

    @pytest.mark.parametrize(
        ("token", "action", "inputs"),
        [
            (VPC, "CreateVpc", {"cidrBlock": "10.0.0.0/16"}),
            (USER, "CreateUser", {}),
            (BUCKET, "PUT /images", {"bucket": "images"}),
        ],
    )
    def test_a_passing_failure_is_not_seen(
        self, cloud: Provider, fail: Any, token: str, action: str, inputs: dict[str, Any]
    ) -> None:
        fail(action, "InternalError", status=500, times=2)
        assert cloud.made(token, inputs)[0]

    def test_one_that_stays_is_told_as_the_real_provider_does(self, cloud: Provider, fail: Any) -> None:
        cloud.configure(maxRetries="2")
        fail("CreateVpc", "InsufficientVpcs", status=500, message="none left", times=2)
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})
        assert error(refused.value) == (
            "creating EC2 VPC: operation error EC2: CreateVpc, exceeded maximum number of attempts, 2, "
            "https response error StatusCode: 500, RequestID: lab, api error InsufficientVpcs: none left"
        )

    def test_a_refusal_is_told_at_once(self, cloud: Provider, fail: Any) -> None:
        fail("CreateVpc", "VpcLimitExceeded", message="The maximum number of VPCs has been reached.")
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})
        assert "CreateVpc, https response error StatusCode: 400" in error(refused.value)
        assert cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})[0]


class TestHalfMade:
    def test_what_exists_is_remembered_with_the_reason(self, cloud: Provider, fail: Any) -> None:
        vpc = cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})[0]
        stored = cloud.check(GROUP, {"vpcId": vpc})
        fail("RevokeSecurityGroupEgress", "Unsupported", message="not now")
        with pytest.raises(grpc.RpcError) as refused:
            cloud.create(GROUP, stored)
        detail = remembered(refused.value)
        ec2: Any = boto3.client("ec2", "eu-west-1")
        only = [{"Name": "group-name", "Values": [stored["name"]]}]
        groups = ec2.describe_security_groups(Filters=only)["SecurityGroups"]
        assert detail.id == groups[0]["GroupId"]
        assert load(detail.properties)["arn"].endswith(detail.id)
        assert "api error Unsupported: not now" in detail.reasons[0]
        assert cloud.update(GROUP, detail.id, load(detail.properties), stored)["name"] == stored["name"]

    def test_nothing_is_remembered_of_what_was_not_made(self, cloud: Provider, fail: Any) -> None:
        fail("CreateVpc", "Unsupported")
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(VPC, {"cidrBlock": "10.0.0.0/16"})
        assert remembered(refused.value).id == ""
