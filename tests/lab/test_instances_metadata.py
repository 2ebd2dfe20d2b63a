"""The instance metadata service of created hosts: tokens, what it tells, the role's credentials."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import boto3
import botocore.exceptions
import pytest

from lab.cloud.instance import Instance
from lab.services import AWS_ENDPOINT
from tests.lab.account import Account, Network, allow, fetch

METADATA = "http://127.0.0.169/latest"
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"}


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


@pytest.fixture(scope="module")
def host(account: Account, network: Network) -> Instance:
    """A host with a role that may read a bucket, which only talks version 2."""
    account.lab.s3().create_bucket(
        Bucket="images", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    account.lab.s3().put_object(Bucket="images", Key="blob", Body=b"blob")
    profile = account.profile("reader", READ)
    account.launch(
        network,
        "london",
        account.group(network, "closed", allow("tcp", 22, "192.0.2.1/32")),
        IamInstanceProfile={"Name": profile},
        MetadataOptions={"HttpTokens": "required"},
        UserData="#cloud-config\nhostname: london\n",
    )
    return account.lab.instances()["london"]


def token(host: Instance, seconds: int = 60) -> str:
    """A session token; with the status where there is none."""
    header = f"X-aws-ec2-metadata-token-ttl-seconds: {seconds}"
    return fetch(host, f"{METADATA}/api/token", "--request", "PUT", "--header", header).removesuffix("200")


def ask(host: Instance, path: str) -> str:
    """What the service says under a path, status last."""
    return fetch(host, f"{METADATA}/{path}", "--header", f"X-aws-ec2-metadata-token: {token(host)}")


def test_without_a_token_nothing_is_told(host: Instance) -> None:
    """Nor with a wrong one, one that asks for no time or too much, or one that came through a proxy."""
    assert fetch(host, f"{METADATA}/meta-data/instance-id").endswith("401")
    assert fetch(host, f"{METADATA}/meta-data/", "--header", "X-aws-ec2-metadata-token: x").endswith("401")
    assert fetch(host, f"{METADATA}/api/token", "--request", "PUT").endswith("400")
    assert token(host, 21601).endswith("400")
    proxied = ["--header", "X-Forwarded-For: 1.2.3.4", "--header", "X-aws-ec2-metadata-token-ttl-seconds: 9"]
    assert fetch(host, f"{METADATA}/api/token", "--request", "PUT", *proxied).endswith("403")


def test_only_the_host_itself_reaches_it(host: Instance, account: Account, network: Network) -> None:
    """Each has its own, and it is not at the machine's link-local address."""
    account.launch(network, "other", account.group(network, "other"))
    other = account.lab.instances()["other"]
    assert fetch(other, f"{METADATA}/meta-data/instance-id") == f"{other.id}200"
    assert ask(host, "meta-data/instance-id") == f"{host.id}200"
    assert ask(other, "meta-data/iam/info").endswith("404")
    assert ask(other, "meta-data/iam/security-credentials/").endswith("404")


def credentials(host: Instance, role: str = "reader") -> dict[str, str]:
    answer = ask(host, f"meta-data/iam/security-credentials/{role}")
    return dict(json.loads(answer.removesuffix("200")))


def test_the_roles_credentials_are_enforced(host: Instance, account: Account) -> None:
    """They may do what the role may, with their session token and not without it."""
    assert ask(host, "meta-data/iam/security-credentials/") == "reader200"
    assert "instance-profile/reader" in json.loads(ask(host, "meta-data/iam/info")[:-3])["InstanceProfileArn"]
    provided = credentials(host)
    assert provided["Code"] == "Success"
    ends = datetime.strptime(provided["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert 3600 < (ends - datetime.now(UTC)).total_seconds() <= 6 * 3600
    session = boto3.Session(
        provided["AccessKeyId"], provided["SecretAccessKey"], provided["Token"], "eu-west-1"
    )
    s3 = session.client("s3", endpoint_url=AWS_ENDPOINT)
    assert s3.get_object(Bucket="images", Key="blob")["Body"].read() == b"blob"
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        s3.put_object(Bucket="images", Key="new", Body=b"")
    without = boto3.Session(provided["AccessKeyId"], provided["SecretAccessKey"], None, "eu-west-1")
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidAccessKeyId"):
        without.client("s3", endpoint_url=AWS_ENDPOINT).get_object(Bucket="images", Key="blob")


def test_a_role_that_ec2_may_not_assume(account: Account, network: Network) -> None:
    """There are no credentials, and the service says why."""
    account.profile("strange", READ, service="lambda.amazonaws.com")
    group = account.group(network, "strange")
    account.launch(network, "strange", group, IamInstanceProfile={"Name": "strange"}, address=False)
    host = account.lab.instances()["strange"]
    assert credentials(host, "strange")["Code"] == "AssumeRoleUnauthorizedAccess"


def test_it_can_be_switched_off(account: Account, host: Instance) -> None:
    """Or made to answer without tokens, which is the default of the API."""
    change = account.ec2.modify_instance_metadata_options
    change(InstanceId=host.id, HttpTokens="optional")
    assert fetch(host, f"{METADATA}/meta-data/instance-id") == f"{host.id}200"
    change(InstanceId=host.id, HttpEndpoint="disabled")
    assert fetch(host, f"{METADATA}/meta-data/instance-id").endswith("403")
    change(InstanceId=host.id, HttpEndpoint="enabled", HttpTokens="required")
    assert fetch(host, f"{METADATA}/meta-data/instance-id").endswith("401")
