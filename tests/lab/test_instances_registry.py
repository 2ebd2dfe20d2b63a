"""A registry on a created host has its rights to S3 from the instance's role, and no key of its own."""

from __future__ import annotations

import pytest

from lab import registry
from lab.cloud.instance import Instance
from tests.lab.account import EVERYBODY, Account, Network, allow, policy
from tests.lab.test_instances_tls import record

BUCKET = "images"
ALL = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
READ = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"],
    "Resource": ALL,
}
WRITE = {
    "Effect": "Allow",
    "Action": [
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:ListMultipartUploadParts",
        "s3:AbortMultipartUpload",
        "s3:ListBucketMultipartUploads",
    ],
    "Resource": ALL,
}


@pytest.fixture(scope="module")
def sites(account: Account) -> dict[str, Instance]:
    """london may write to the bucket, tokyo only read; the same storage, signed for with the same key."""
    account.lab.s3().create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    network: Network = account.network()
    group = account.group(network, "site", *(allow("tcp", port, EVERYBODY) for port in (80, 443)))
    for name, statements in (("london", [READ, WRITE]), ("tokyo", [READ])):
        profile = account.profile(name, *statements)
        account.launch(
            network,
            name,
            group,
            IamInstanceProfile={"Name": profile},
            MetadataOptions={"HttpTokens": "required"},
        )
    made = account.lab.instances()
    for name, host in made.items():
        for part in ("gitlab", "registry"):
            record(account, "UPSERT", f"{part}.{name}.example.com", host.address)
    for host in made.values():
        host.wait_ready()
    for name, host in made.items():
        settings = f"""
external_url 'https://gitlab.{name}.example.com'
registry_external_url 'https://registry.{name}.example.com'
registry['database'] = {{ 'enabled' => false }}
registry['storage'] = {{ 's3_v2' => {{ 'bucket' => '{BUCKET}', 'region' => 'eu-west-1' }} }}
"""
        image = host.read("/etc/gitlab/gitlab.rb").decode()
        # The placeholder's own line goes; what the image says of the metadata service stays.
        kept = [line for line in image.splitlines() if not line.startswith("external_url")]
        host.write("/etc/gitlab/gitlab.rb", "\n".join(kept) + settings)
        host.run("gitlab-ctl reconfigure")
        host.wait_ready()
    return made


def test_no_key_is_in_the_configuration(sites: dict[str, Instance]) -> None:
    """What the image says of the metadata service is where omnibus puts the registry's environment."""
    for host in sites.values():
        config = host.read("/var/opt/gitlab/registry/config.yml").decode()
        assert "accesskey" not in config
        endpoint = host.read("/opt/gitlab/etc/registry/env/AWS_EC2_METADATA_SERVICE_ENDPOINT")
        assert endpoint == b"http://127.0.0.169"


def test_the_roles_decide(account: Account, sites: dict[str, Instance]) -> None:
    """london's pushes arrive in S3, tokyo serves them, and its own are refused by S3."""
    digest = account.lab.push("london", "group/app:1", seed=b"role")
    assert account.lab.pull("tokyo", "group/app:1") == digest
    with pytest.raises(registry.SkopeoError, match=r"500|internal|unknown|denied"):
        account.lab.push("tokyo", "group/app:2", seed=b"other")
    assert account.lab.tags("tokyo", "group/app") == {"1": digest}
    log = sites["tokyo"].run("cat /var/log/gitlab/registry/current").stdout
    assert "AccessDenied" in log
    account.lab.iam().put_role_policy(RoleName="tokyo", PolicyName="more", PolicyDocument=policy(WRITE))
    other = account.lab.push("tokyo", "group/app:2", seed=b"other")
    assert account.lab.tags("london", "group/app") == {"1": digest, "2": other}
