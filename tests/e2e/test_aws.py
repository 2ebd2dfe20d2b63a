"""Created sites under the permissions that the pages name, and what somebody does to them by the console."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.api import Lab
from lab.host import Host
from lab.services import AWS_ENDPOINT
from tests.e2e.faults import slow
from tests.e2e.roles import BUCKET, allow, document, permitted
from tests.e2e.stack import Running, Stack

LONDON, TOKYO = "eu-west-2", "ap-northeast-1"
ROLE = ("preview-role.json", "up-role.json")
"""What `up` needs: to look, and to change."""


@pytest.fixture(scope="module", autouse=True)
def role(fresh: Lab) -> Iterator[dict[str, str]]:
    """Every command of this module has these permissions and no others."""
    provided = permitted(fresh, "apply", *ROLE)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in provided.items():
            patch.setenv(name, value)
        yield provided


@pytest.fixture(scope="module")
def looker(fresh: Lab) -> dict[str, str]:
    return permitted(fresh, "look", "preview-role.json")


@pytest.fixture
def looking(looker: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The permissions of the preview alone."""
    for name, value in looker.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def created(dev: Stack, fresh: Lab, role: dict[str, str]) -> dict[str, Host]:
    """Both sites, while AWS takes its time to confirm the bucket's lifecycle rule."""
    with slow(f"PUT /{BUCKET}?lifecycle", 45):
        up = Running(fresh, "up", "--yes", "--skip-preview", stack="dev")
        fresh.wait(lambda: up.ended or applied(fresh), 90, "the settings of both nodes")
        if up.ended:
            pytest.fail(up.end()[1])
        with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
            fresh.s3(LONDON).get_bucket_lifecycle_configuration(Bucket=BUCKET)
        code, said = up.end(120)
    assert code == 0, said
    assert fresh.s3(LONDON).get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    return dict(fresh.instances())


def applied(lab: Lab) -> bool:
    """Whether both nodes have their settings."""
    hosts = lab.instances()
    return len(hosts) == 2 and all(
        host.run("test -e /etc/gitlab/geo-registry/settings.rb && echo there || true").stdout == "there\n"
        for host in hosts.values()
    )


def unchanged(said: str) -> bool:
    """Whether a preview wants nothing."""
    return re.fullmatch(r"\s*\d+ unchanged\s*", said.rpartition("Resources:")[2]) is not None


def test_nodes_do_not_wait_for_the_lifecycle_rule(created: dict[str, Host], dev: Stack) -> None:
    """AWS confirms it after a minute (here 45 s): both were done before. All of it with no more permissions."""
    assert dev.outputs()["proof"]["tokyo"]["tokyo-1"]["own registry refuses a push (read-only)"] == "405"


def test_the_preview_looks_with_its_own_permissions(
    created: dict[str, Host], dev: Stack, looking: None
) -> None:
    """Without a refresh, and with one; nothing differs."""
    assert unchanged(dev.preview())
    assert unchanged(dev.preview("--refresh"))


def server(lab: Lab, region: str) -> dict[str, Any]:
    """The site's server, as AWS describes it."""
    states = [{"Name": "instance-state-name", "Values": ["running", "stopped"]}]
    found = lab.ec2(region).describe_instances(Filters=states)["Reservations"]
    (one,) = (i for r in found for i in r["Instances"])
    described: dict[str, Any] = one
    return described


def disk_tags(lab: Lab, region: str) -> dict[str, str]:
    disk = server(lab, region)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (volume,) = lab.ec2(region).describe_volumes(VolumeIds=[disk])["Volumes"]
    return {tag["Key"]: tag["Value"] for tag in volume["Tags"]}


def test_what_is_added_by_the_console_is_found_and_taken_away(
    created: dict[str, Host],
    dev: Stack,
    fresh: Lab,
    looking: None,
    role: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rule, a policy, an attached policy and a server that was stopped: a plain refresh of what is here sees none."""
    ec2, iam = fresh.ec2(LONDON), fresh.iam()
    (group,) = ec2.describe_security_groups(
        Filters=[
            {"Name": "tag:Name", "Values": ["gitlab-london"]},
            {"Name": "description", "Values": ["GitLab london: managed by Pulumi"]},
        ]
    )["SecurityGroups"]
    extra = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}
    rule = ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[extra])
    rule_id = rule["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    (servers,) = [
        r["RoleName"]
        for r in iam.list_roles()["Roles"]
        if r["RoleName"].startswith("registry-tokyo-instances")
    ]
    wide = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    )
    iam.put_role_policy(RoleName=servers, PolicyName="by-console", PolicyDocument=wide)
    managed = iam.create_policy(PolicyName="wide", PolicyDocument=wide)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=servers, PolicyArn=managed)
    fresh.ec2(TOKYO).stop_instances(InstanceIds=[server(fresh, TOKYO)["InstanceId"]])
    said = dev.preview("--refresh", "--diff")
    for text in (rule_id, "by-console", managed):
        assert text in said, text
    assert re.search(r'state *: "stopped" => "running"', said), said
    for name, value in role.items():
        monkeypatch.setenv(name, value)
    fresh.pulumi("up", "--yes", "--skip-preview", "--refresh", stack="dev")
    assert rule_id not in [
        r["SecurityGroupRuleId"] for r in ec2.describe_security_group_rules()["SecurityGroupRules"]
    ]
    assert iam.list_role_policies(RoleName=servers)["PolicyNames"] != []
    assert "by-console" not in iam.list_role_policies(RoleName=servers)["PolicyNames"]
    assert iam.list_attached_role_policies(RoleName=servers)["AttachedPolicies"] == []
    assert server(fresh, TOKYO)["State"]["Name"] == "running"
    fresh.instances()["tokyo-1"].wait_ready()
    assert unchanged(dev.preview("--refresh"))


def test_a_change_within_the_permissions_passes_and_disks_keep_their_tags(
    created: dict[str, Host], dev: Stack, fresh: Lab
) -> None:
    """Other tags, a larger disk, another size: in place. What a disk was tagged with at its creation stays (issue 38301)."""
    before, tags = server(fresh, TOKYO)["InstanceId"], disk_tags(fresh, TOKYO)

    def change(config: dict[str, Any]) -> None:
        config["sites"]["tokyo"]["aws"] |= {
            "tags": {"gitlab-geo-role": "second"},
            "volume_gb": 120,
            "instance_type": "c6i.4xlarge",
            "egress_ports": [80, 443, 587],
        }

    dev.configure(change)
    dev.up()
    now = server(fresh, TOKYO)
    assert (now["InstanceId"], now["InstanceType"]) == (before, "c6i.4xlarge")
    assert {"Key": "gitlab-geo-role", "Value": "second"} in now["Tags"]
    fresh.instances()["tokyo-1"].wait_ready()
    assert unchanged(dev.preview("--refresh"))
    fresh.pulumi("up", "--yes", "--skip-preview", "--refresh", stack="dev")
    assert disk_tags(fresh, TOKYO) == tags
    assert tags["gitlab-geo-role"] == "secondary"


def test_another_processor_needs_replace_in_the_same_change(
    created: dict[str, Host], dev: Stack, fresh: Lab
) -> None:
    """Else the provider replaces the server, and its disk goes with it: refused by preview and `up`, nothing protected."""
    before, former = server(fresh, TOKYO)["InstanceId"], dev.file.read_text()
    dev.configure(lambda c: c["sites"]["tokyo"]["aws"].update(instance_type="c7g.2xlarge"))
    for said in (dev.preview(check=False), dev.fails()):
        assert "architecture-mismatch" in said and f"tokyo-1 ({before})" in said
        assert "Traceback" not in said
    assert server(fresh, TOKYO)["InstanceId"] == before
    dev.configure(lambda c: c["sites"]["tokyo"]["nodes"]["tokyo-1"].update(aws={"replace": 1}))
    dev.up()
    now = server(fresh, TOKYO)
    assert (now["InstanceId"] == before, now["Architecture"]) == (False, "arm64")
    assert "unchanged" in dev.up()
    assert former != dev.file.read_text()


def test_a_permission_that_is_missing_is_named(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """The positive control of all the others: without this one action the same `up` fails, with it it passes."""
    whole = document(fresh, *ROLE)
    less = json.loads(json.dumps(whole).replace('"ec2:ModifyVolume"', '"ec2:DescribeVolumes"'))
    dev.configure(lambda c: c["sites"]["tokyo"]["aws"].update(volume_gb=130))
    allow(fresh, "apply", less)
    said = dev.fails()
    assert "ModifyVolume" in said
    assert re.search("UnauthorizedOperation|AccessDenied", said)
    allow(fresh, "apply", whole)
    dev.up()


def test_what_is_none_of_ours_is_refused(created: dict[str, Host], role: dict[str, str], fresh: Lab) -> None:
    """Other roles, users, zones and buckets, and the images in our own; what is this stack's passes."""
    session = boto3.Session(role["AWS_ACCESS_KEY_ID"], role["AWS_SECRET_ACCESS_KEY"], region_name=LONDON)
    client: Any = session.client
    ec2, iam, s3, route53 = (
        client(kind, endpoint_url=AWS_ENDPOINT) for kind in ("ec2", "iam", "s3", "route53")
    )
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    own = next(
        r["RoleName"]
        for r in fresh.iam().list_roles()["Roles"]
        if r["RoleName"].startswith("registry-london-instances")
    )
    other = fresh.route53().create_hosted_zone(Name="example.net", CallerReference="n")["HostedZone"]["Id"]
    record = {"Name": "a.example.net", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    fresh.s3().create_bucket(Bucket="others", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    outside: list[Callable[[], object]] = [
        lambda: iam.create_role(RoleName="admin", AssumeRolePolicyDocument=trust),
        lambda: iam.create_user(UserName="somebody"),
        lambda: iam.create_access_key(UserName="apply"),
        lambda: iam.attach_role_policy(RoleName=own, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
        lambda: iam.create_policy(PolicyName="p", PolicyDocument=trust),
        lambda: ec2.create_key_pair(KeyName="k"),
        lambda: ec2.create_vpc_peering_connection(VpcId="vpc-1", PeerVpcId="vpc-2"),
        lambda: route53.change_resource_record_sets(HostedZoneId=other, ChangeBatch=change),
        lambda: route53.delete_hosted_zone(Id=other),
        lambda: s3.create_bucket(Bucket="another", CreateBucketConfiguration={"LocationConstraint": LONDON}),
        lambda: s3.put_bucket_versioning(Bucket="others", VersioningConfiguration={"Status": "Enabled"}),
        lambda: s3.get_object(Bucket=BUCKET, Key="docker/x"),
        lambda: s3.delete_bucket(Bucket=BUCKET),
    ]
    for attempt in outside:
        # By the status: moto's refusal at Route 53 has no code that boto3 can read.
        with pytest.raises(ClientError) as refused:
            attempt()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, refused.value
    assert iam.get_role(RoleName=own)["Role"]["RoleName"] == own
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


def test_destroy_needs_no_more(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """All goes, the bucket stays."""
    assert "[retain]" in dev.destroy()
    assert fresh.instances() == {}
    for region in (LONDON, TOKYO):
        assert [v for v in fresh.ec2(region).describe_vpcs()["Vpcs"] if not v["IsDefault"]] == []
    assert [r for r in fresh.iam().list_roles()["Roles"] if "-instances" in r["RoleName"]] == []
    assert BUCKET in [b["Name"] for b in fresh.s3().list_buckets()["Buckets"]]
