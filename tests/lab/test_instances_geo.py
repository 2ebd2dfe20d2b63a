"""Two created sites: S3 by the instances' roles, and database replication as an administrator does it manually."""

from __future__ import annotations

import subprocess

import pytest

from lab import registry
from lab.cloud.instance import Instance
from lab.services import http_status
from tests.installed import S3_DRIVER
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

PASSWORD = "replicator"
SECRETS = "/etc/gitlab/gitlab-secrets.json"
DATABASE = "/var/opt/gitlab/postgresql/gitlab.json"
REPLICATE = "gitlab-ctl replicate-geo-database --slot-name=tokyo"


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


@pytest.fixture(scope="module")
def group(account: Account, network: Network) -> str:
    return account.group(network, "site", *(allow("tcp", port, EVERYBODY) for port in (80, 443)))


@pytest.fixture(scope="module")
def sites(account: Account, network: Network, group: str) -> dict[str, Instance]:
    """london and tokyo with their roles on one bucket, which tokyo may only read; no replication yet."""
    account.lab.s3().create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    for name, statements in (("london", [READ, WRITE]), ("tokyo", [READ])):
        profile = {"Name": account.profile(name, *statements)}
        account.launch(
            network, name, group, IamInstanceProfile=profile, MetadataOptions={"HttpTokens": "required"}
        )
    made = {name: account.host(name) for name in ("london", "tokyo")}
    for name, host in made.items():
        for part in ("gitlab", "registry"):
            record(account, "UPSERT", f"{part}.{name}.example.com", host.address)
    for host in made.values():
        host.wait_ready()
    for name, role in (("london", "primary"), ("tokyo", "secondary")):
        reconfigure(made[name], settings(name, role))
    return made


def settings(name: str, role: str) -> str:
    """What the image says of the metadata service stays."""
    return f"""
registry['env'] = {{ 'AWS_EC2_METADATA_SERVICE_ENDPOINT' => 'http://127.0.0.169' }}
external_url 'https://gitlab.{name}.example.com'
registry_external_url 'https://registry.{name}.example.com'
roles(['geo_{role}_role'])
gitlab_rails['geo_node_name'] = '{name}'
gitlab_rails['initial_root_password'] = 'not-asked-for-here'
registry['database'] = {{ 'enabled' => false }}
registry['storage'] = {{ '{S3_DRIVER}' => {{ 'bucket' => '{BUCKET}', 'region' => 'eu-west-1' }} }}
"""


def reconfigure(host: Instance, text: str) -> None:
    host.write("/etc/gitlab/gitlab.rb", text)
    host.run("gitlab-ctl reconfigure")
    host.wait_ready()


def replicate(host: Instance, primary: Instance, *options: str, answers: str = "replicate\n") -> str:
    """Run the command with these answers; what it said, or "replicated"."""
    line = f"{REPLICATE} --host={primary.address} {' '.join(options)}"
    done: subprocess.CompletedProcess[str] = host.run(line, input=f"{answers}{PASSWORD}\n", check=False)
    if done.returncode == 0 and "* Starting PostgreSQL and all GitLab services" in done.stdout:
        return "replicated"
    return done.stdout + done.stderr


def test_before_replication(account: Account, sites: dict[str, Instance]) -> None:
    """The secondary's Rails has no database to answer from, its registry runs; the primary's has both."""
    lab = account.lab
    sites["london"].run("gitlab-ctl set-geo-primary-node")
    assert lab.http_status("https://gitlab.tokyo.example.com/jwt/auth?service=container_registry") == 500
    assert lab.http_status("https://registry.tokyo.example.com/v2/") == 401
    digest = lab.push("london", "group/app:1")
    assert lab.pull("london", "group/app:1") == digest
    with pytest.raises(registry.SkopeoError):
        lab.pull("tokyo", "group/app:1")


def test_options_and_questions(sites: dict[str, Instance]) -> None:
    """Host and slot must be provided, "replicate" must be said; on the primary it is refused."""
    london, tokyo = sites["london"], sites["tokyo"]
    assert "missing argument: host" in tokyo.run(REPLICATE, check=False).stdout
    without = f"gitlab-ctl replicate-geo-database --host={london.address}"
    assert "missing argument: --slot-name" in tokyo.run(without, check=False).stdout
    assert "invalid option: --slot" not in replicate(tokyo, london, answers="no\n")
    assert "instead of `replicate` or `no`" in replicate(tokyo, london, answers="yes\n")
    assert "override with --force" in replicate(london, tokyo)


def test_the_primary_must_let_it_in(
    account: Account, sites: dict[str, Instance], group: str, network: Network
) -> None:
    """By its security group, its listen address, its list of addresses, and the password."""
    london, tokyo = sites["london"], sites["tokyo"]
    hashed = london.run("gitlab-ctl pg-password-md5 gitlab_replicator", input=f"{PASSWORD}\n{PASSWORD}\n")
    listening = (
        settings("london", "primary")
        + f"""
postgresql['listen_address'] = '0.0.0.0'
postgresql['sql_replication_password'] = '{hashed.stdout.split()[-1]}'
"""
    )
    opened = [allow("tcp", 5432, f"{tokyo.address}/32")]
    account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=opened)
    account.lab.instances()
    assert "Connection refused" in replicate(tokyo, london, "--no-wait", answers="")
    reconfigure(london, listening + "postgresql['md5_auth_cidr_addresses'] = ['192.0.2.0/24']\n")
    answer = "no pg_hba.conf entry for replication connection"
    account.lab.wait(lambda: answer in replicate(tokyo, london, "--no-wait", answers=""), 10, "PostgreSQL")
    reconfigure(london, listening + f"postgresql['md5_auth_cidr_addresses'] = ['{tokyo.address}/32']\n")
    answer = "password authentication failed"
    account.lab.wait(lambda: answer in replicate(tokyo, london, "--no-wait", answers="wrong\n"), 10, answer)
    account.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=opened)
    account.lab.instances()
    assert "Initial replication failed!" in replicate(tokyo, london, "--no-wait", answers="")
    account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=opened)
    account.lab.instances()
    assert replicate(tokyo, london) == "replicated"


def test_the_primarys_secrets_are_needed(account: Account, sites: dict[str, Instance]) -> None:
    """Rails cannot read what the primary has encrypted, until it has gitlab-secrets.json."""
    london, tokyo = sites["london"], sites["tokyo"]
    tokyo.wait_ready()
    account.lab.push("london", "group/early:1", seed=b"early")
    account.lab.wait(lambda: b"group/early" in tokyo.read(DATABASE), 30, "the replica")
    url = "https://gitlab.tokyo.example.com/jwt/auth?service=container_registry&scope=registry:catalog:*"
    assert http_status(url) == 500
    tokyo.write(SECRETS, london.read(SECRETS))
    tokyo.run("gitlab-ctl reconfigure")
    tokyo.wait_ready()
    account.lab.wait(lambda: http_status(url) == 200, 30, "Rails")


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
