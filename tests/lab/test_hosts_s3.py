"""The lab's S3 checks keys and policies, by AWS's own names, as the registry and its clients use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import boto3
import botocore.config
import botocore.exceptions
import pytest
import urllib3

from lab.api import Lab
from lab.services import Credentials

Style = Literal["virtual", "path"]
BUCKET = "images"
ENDPOINT = "https://s3.eu-west-1.amazonaws.com"
CA = "/etc/ssl/certs/ca-certificates.crt"
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}


@pytest.fixture(scope="module")
def reader(lab: Lab) -> Iterator[Credentials]:
    """A key that may only read, and a bucket with one object."""
    lab.reset()
    lab.s3().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    lab.s3().put_object(Bucket=BUCKET, Key="docker/a b+c", Body=b"blob")
    iam = lab.iam()
    iam.create_user(UserName="tokyo")
    document = json.dumps({"Version": "2012-10-17", "Statement": [READ]})
    iam.put_user_policy(UserName="tokyo", PolicyName="read", PolicyDocument=document)
    key = iam.create_access_key(UserName="tokyo")["AccessKey"]
    yield Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    lab.reset()


def client(key: Credentials, style: Style = "virtual") -> Any:
    """S3 as a registry sees it: by its real name, over TLS, without any endpoint of the lab's."""
    config = botocore.config.Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        retries={"max_attempts": 0},
    )
    return boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=ENDPOINT,
        verify=CA,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        config=config,
    )


def code(error: pytest.ExceptionInfo[botocore.exceptions.ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def get(url: str) -> tuple[int, bytes]:
    answer = urllib3.PoolManager(ca_certs=CA, retries=False).request("GET", url)
    return answer.status, answer.data


@pytest.mark.parametrize("style", ["virtual", "path"])
def test_policies_are_enforced(reader: Credentials, style: Style) -> None:
    """A key may do what its user's policy allows, and nothing else."""
    s3 = client(reader, style)
    assert s3.get_object(Bucket=BUCKET, Key="docker/a b+c")["Body"].read() == b"blob"
    with pytest.raises(botocore.exceptions.ClientError) as error:
        s3.put_object(Bucket=BUCKET, Key="docker/new", Body=b"")
    assert code(error) == "AccessDenied"


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        (lambda key: Credentials(key.access_key_id, "x" * 40), "SignatureDoesNotMatch"),
        (lambda key: Credentials("AKIAX", key.secret_access_key), "InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_refused(reader: Credentials, wrong: Any, answer: str) -> None:
    """An unknown key and a wrong secret are distinguished, as S3 does."""
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client(wrong(reader)).get_object(Bucket=BUCKET, Key="docker/a b+c")
    assert code(error) == answer


@pytest.mark.parametrize("style", ["virtual", "path"])
def test_presigned_urls(lab: Lab, reader: Credentials, style: Style) -> None:
    """A registry's redirect works for anyone who has it, within the permissions of its key and its time."""
    what = {"Params": {"Bucket": BUCKET, "Key": "docker/a b+c"}}
    url = client(reader, style).generate_presigned_url("get_object", **what)
    assert get(url) == (200, b"blob")
    assert get(url.replace("a%20b", "ab"))[0] == 403
    assert get(client(reader, style).generate_presigned_url("get_object", ExpiresIn=-1, **what))[0] == 403
    assert get(client(reader, style).generate_presigned_url("delete_object", **what))[0] == 403
    put = {"Params": {"Bucket": BUCKET, "Key": "docker/new"}}
    refused = urllib3.PoolManager(ca_certs=CA).request(
        "PUT", client(reader, style).generate_presigned_url("put_object", **put), body=b"x"
    )
    allowed = urllib3.PoolManager(ca_certs=CA).request(
        "PUT", client(lab.aws, style).generate_presigned_url("put_object", **put), body=b"x"
    )
    assert (refused.status, allowed.status) == (403, 200)


def test_anonymous_requests_are_refused(reader: Credentials) -> None:
    """Who shows no key is refused, and not by a crash."""
    status, body = get(f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/docker/a%20b%2Bc")
    assert (status, b"AccessDenied" in body) == (403, True)


def test_a_reset_empties_the_account_but_keeps_the_administrators_key(lab: Lab, reader: Credentials) -> None:
    """After a reset nothing is left of buckets and users, and running commands still have the right key."""
    lab.reset()
    assert lab.s3().list_buckets()["Buckets"] == []
    assert [user["UserName"] for user in lab.iam().list_users()["Users"]] == ["admin"]
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client(reader).list_buckets()
    assert code(error) == "InvalidAccessKeyId"
