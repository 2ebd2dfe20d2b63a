"""The lab's AWS under a name, as the real provider plugin needs it: no address can have an account before it."""

from __future__ import annotations

import os
import socket
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.api import Lab
from lab.services import AWS_ENDPOINT, AWS_NAME
from lab.sites import SERVICES_ADDRESS


def test_the_environment_leads_to_a_name_that_an_account_can_stand_before(fresh: Lab) -> None:
    """S3 Control asks ACCOUNT-ID.NAME, and a client that is left to itself asks BUCKET.NAME."""
    assert os.environ["AWS_ENDPOINT_URL"] == AWS_ENDPOINT
    account = fresh.sts().get_caller_identity()["Account"]
    for name in (AWS_NAME, f"{account}.{AWS_NAME}", f"images.{AWS_NAME}"):
        assert socket.gethostbyname(name) == SERVICES_ADDRESS


def test_s3_answers_by_path_by_host_and_by_account(fresh: Lab) -> None:
    """One bucket in all three ways, signatures checked."""
    account = fresh.sts().get_caller_identity()["Account"]

    def client(service: str, style: Any) -> Any:
        session = boto3.Session(fresh.aws.access_key_id, fresh.aws.secret_access_key, region_name="eu-west-1")
        new: Any = session.client
        return new(service, endpoint_url=AWS_ENDPOINT, config=Config(s3={"addressing_style": style}))

    by_path, by_host, control = client("s3", "path"), client("s3", "virtual"), client("s3control", "auto")
    place = {"LocationConstraint": "eu-west-1", "Tags": [{"Key": "a", "Value": "b"}]}
    by_path.create_bucket(Bucket="named", CreateBucketConfiguration=place)
    by_host.put_object(Bucket="named", Key="x", Body=b"1")
    assert by_path.get_object(Bucket="named", Key="x")["Body"].read() == b"1"
    which = {"AccountId": account, "ResourceArn": "arn:aws:s3:::named"}
    control.tag_resource(Tags=[{"Key": "c", "Value": "d"}], **which)
    control.untag_resource(TagKeys=["a"], **which)
    assert control.list_tags_for_resource(**which)["Tags"] == [{"Key": "c", "Value": "d"}]
    assert by_host.get_bucket_tagging(Bucket="named")["TagSet"] == [{"Key": "c", "Value": "d"}]
    wrong = boto3.Session(fresh.aws.access_key_id, "wrong", region_name="eu-west-1")
    refused: Any = wrong.client
    with pytest.raises(ClientError) as denied:
        refused("s3control", endpoint_url=AWS_ENDPOINT).list_tags_for_resource(**which)
    assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
