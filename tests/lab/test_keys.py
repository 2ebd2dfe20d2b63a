"""The lab's KMS judges permissions by key, and its refusals can be read by AWS' SDKs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.api import Lab
from lab.services import AWS_ENDPOINT

ACTIONS = ["kms:Encrypt", "kms:Decrypt"]


@pytest.fixture(scope="module")
def keys(lab: Lab) -> Iterator[tuple[Any, str, str]]:
    """KMS for a user who may use the first of two keys only, and both keys' ids."""
    lab.reset()
    kms = lab.kms()
    mine, other = (kms.create_key()["KeyMetadata"] for _ in range(2))
    kms.create_alias(AliasName="alias/mine", TargetKeyId=mine["KeyId"])
    iam = lab.iam()
    iam.create_user(UserName="one")
    statement = {"Effect": "Allow", "Action": ACTIONS, "Resource": mine["Arn"]}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="one", PolicyName="mine", PolicyDocument=document)
    key = iam.create_access_key(UserName="one")["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="eu-west-1")
    yield session.client("kms", endpoint_url=AWS_ENDPOINT), mine["KeyId"], other["KeyId"]
    lab.reset()


def test_rights_for_one_key_are_for_that_key(lab: Lab, keys: tuple[Any, str, str]) -> None:
    """By id and by alias; what another key has encrypted cannot be read."""
    kms, mine, other = keys
    for name in (mine, "alias/mine"):
        blob = kms.encrypt(KeyId=name, Plaintext=b"x")["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    foreign = lab.kms().encrypt(KeyId=other, Plaintext=b"x")["CiphertextBlob"]
    refused: list[Callable[[], object]] = [
        lambda: kms.encrypt(KeyId=other, Plaintext=b"x"),
        lambda: kms.decrypt(CiphertextBlob=foreign),
        lambda: kms.schedule_key_deletion(KeyId=mine),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match="not authorized to perform: kms:") as error:
            attempt()
        assert error.value.response["Error"]["Code"] == "AccessDeniedException"
