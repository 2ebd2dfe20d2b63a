"""From nothing to two GitLab sites on AWS. Tests build on each other."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab.api import Lab
from lab.host import Host
from lab.next_steps_runner import follow
from lab.registry import SkopeoError
from tests.e2e.audit import findings
from tests.e2e.faults import refused
from tests.e2e.stack import Stack, measured

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "acme-gitlab-registry"
LONDON, TOKYO = "eu-west-2", "ap-northeast-1"


@pytest.fixture(scope="module")
def created(dev: Stack, fresh: Lab) -> dict[str, Host]:
    """The hosts of the first `up`, by name."""
    began = time.monotonic()
    shown = dev.preview()
    measured("preview of the dev stack", time.monotonic() - began)
    assert "london-1-instance" in shown
    assert fresh.instances() == {}
    dev.up()
    return dict(fresh.instances())


def seen(hosts: dict[str, Host]) -> dict[str, tuple[int, int]]:
    """Sessions and reconfigures of each host so far."""
    return {name: (host.ssh_sessions(), host.reconfigures()) for name, host in hosts.items()}


def test_both_sites_are_created_configured_and_proven(created: dict[str, Host], dev: Stack) -> None:
    """Hosts that were not there a minute ago have the registry, with permissions of their own."""
    assert set(created) == {"london-1", "tokyo-1"}
    outputs = dev.outputs()
    assert outputs["sites"]["tokyo"]["nodes"]["tokyo-1"].startswith("203.0.113.")
    checks = outputs["proof"]["tokyo"]["tokyo-1"]
    assert checks[f"storage s3://{BUCKET} refuses a write and a delete with it"] == "403"
    assert checks["own registry refuses a push (read-only)"] == "405"
    for host in created.values():
        assert "accesskey" not in host.read("/var/opt/gitlab/registry/config.yml").decode()
    reported = {call["region"] for call in outputs["sites"].values() if "region" in call}
    assert reported <= {LONDON, TOKYO}


def test_the_account_passes_a_review(created: dict[str, Host], fresh: Lab) -> None:
    """By value, through the AWS API."""
    assert findings(fresh, (LONDON, TOKYO), bucket=BUCKET) == []


def test_the_review_finds_what_is_wide(created: dict[str, Host], fresh: Lab) -> None:
    """The same review, of one deliberately wide thing of each kind."""
    ec2, iam, s3 = fresh.ec2(LONDON), fresh.iam(), fresh.s3()
    vpc = next(v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"])
    group = ec2.create_security_group(GroupName="wide", Description="wide", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    iam.create_user(UserName="wide")
    allowed = [{"Effect": "Allow", "Action": what, "Resource": "*"} for what in ("s3:*", "kms:Decrypt")]
    wide = {"Version": "2012-10-17", "Statement": allowed}
    iam.put_user_policy(UserName="wide", PolicyName="wide", PolicyDocument=json.dumps(wide))
    s3.create_bucket(Bucket="wide-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    image = ec2.describe_images(Owners=["782774275127"])["Images"][0]["ImageId"]
    subnet = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"][0]["SubnetId"]
    asked = {"ImageId": image, "SubnetId": subnet, "SecurityGroupIds": [group], "MinCount": 1, "MaxCount": 1}
    server = ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
    try:
        text = "\n".join(findings(fresh, (LONDON, TOKYO), bucket=BUCKET))
    finally:
        ec2.terminate_instances(InstanceIds=[server])
        ec2.delete_security_group(GroupId=group)
        iam.delete_user_policy(UserName="wide", PolicyName="wide")
        iam.delete_user(UserName="wide")
        s3.delete_bucket(Bucket="wide-bucket")
    for said in (
        "wide is open to the world on 22-22", "wide lets everything out", "user wide may do", "user wide may reach",
        "wide-bucket has not got a public access block", "wide-bucket is not versioned",
        f"{server} has no tag gitlab-geo-role", f"{server} tells its metadata without a token", f"{server} has a disk that is not encrypted",
    ):  # fmt: skip
        assert said in text
    assert text.count("user wide may reach") == 2, "also anyone who may decrypt all that there is"
    assert findings(fresh, (LONDON, TOKYO), bucket=BUCKET) == []


def test_no_private_key_is_in_plain_sight(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """Searched for by value: the login key, host keys and the registry key, in preview, state and user data."""
    login = fresh.pulumi("stack", "output", "login_key", "--show-secrets", stack="dev").stdout
    london = created["london-1"]
    host_key = london.read("/etc/ssh/ssh_host_ed25519_key").decode()
    registry_key = london.read("/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key").decode()
    state = fresh.pulumi("stack", "export", stack="dev").stdout
    opened = fresh.pulumi("stack", "export", "--show-secrets", stack="dev").stdout
    ask = "curl -s -H \"X-aws-ec2-metadata-token: $(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {0}/latest/api/token)\" {0}/latest/user-data"
    user_data = london.run(ask.format("http://127.0.0.169")).stdout
    shown = {"preview": dev.preview("--diff"), "state": state}
    for name, key in (("login", login), ("host", host_key), ("registry", registry_key)):
        # The first line of OpenSSH's format is the same in all keys.
        lines = [line for line in key.splitlines()[2:] if len(line) > 30 and "-----" not in line]
        assert lines and any(line in opened for line in lines), name
        assert [where for where, text in shown.items() for line in lines if line in text] == [], name
        assert any(line in user_data for line in lines) == (name == "host")


def test_only_what_the_configuration_says_is_reachable(created: dict[str, Host], fresh: Lab) -> None:
    """The peers reach each other's registry; PostgreSQL of the primary is for the secondary, and not the other way."""
    london, tokyo = created["london-1"], created["tokyo-1"]
    for host, url in (
        (tokyo, "https://registry.london.example.com/v2/"),
        (london, "https://gitlab.tokyo.example.com/"),
    ):
        assert host.run(f"curl -s --max-time 5 -o /dev/null -w '%{{http_code}}' {url}").stdout not in {
            "",
            "000",
        }
    knock = "timeout 3 bash -c '</dev/tcp/{}/5000' 2>&1 || true"
    assert "refused" not in tokyo.run(knock.format(london.address)).stdout


def test_a_second_up_changes_nothing(created: dict[str, Host], dev: Stack) -> None:
    """No session, no reconfigure; and a refresh finds nothing that differs."""
    before = seen(created)
    assert "unchanged" in dev.up()
    refreshed = dev.lab.pulumi("refresh", "--yes", "--skip-preview", stack="dev").stdout
    assert re.search(r"~ \d+ updated", refreshed) is None, refreshed
    assert "unchanged" in dev.up()
    assert seen(created) == before


def test_the_next_steps_lead_to_replicated_images(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """Followed as they stand, with passwords filled in; then an image pushed to london is read at tokyo."""
    assert follow(fresh, "dev") > 10
    fresh.wait(lambda: pulled(fresh), 30, "tokyo's GitLab")
    digest = fresh.push("london", "group/app:1", seed=b"created")
    assert fresh.pull("tokyo", "group/app:1") == digest
    with pytest.raises(SkopeoError):
        fresh.push("tokyo", "group/app:no", seed=b"no")


def pulled(lab: Lab) -> bool:
    """Whether both sites hand out tokens."""
    return all(
        lab.http_status(f"https://gitlab.{site}.example.com/-/readiness") == 200
        for site in ("london", "tokyo")
    )


def test_drift_in_a_security_group_is_seen_and_mended(
    created: dict[str, Host], dev: Stack, fresh: Lab
) -> None:
    """A rule taken away manually and another one widened: refresh names them, `up` puts both right."""
    ec2 = fresh.ec2(LONDON)
    before = rules(ec2)
    ssh = next(r for r in before.values() if r["FromPort"] == 22)
    web = next(r for r in before.values() if r["FromPort"] == 5432)
    ec2.revoke_security_group_ingress(
        GroupId=ssh["GroupId"], SecurityGroupRuleIds=[ssh["SecurityGroupRuleId"]]
    )
    wider = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIpv4": "0.0.0.0/0"}
    change = {"SecurityGroupRuleId": web["SecurityGroupRuleId"], "SecurityGroupRule": wider}
    ec2.modify_security_group_rules(GroupId=web["GroupId"], SecurityGroupRules=[change])
    shown = fresh.pulumi("refresh", "--yes", "--skip-preview", "--diff", stack="dev").stdout
    assert "london-ingress-ssh-22-from-198.51.100.7_32" in shown
    assert "london-ingress-5432-from-tokyo-1" in shown
    dev.up()
    assert {plain(r) for r in rules(ec2).values()} == {plain(r) for r in before.values()}


def rules(ec2: Any) -> dict[str, dict[str, Any]]:
    found = ec2.describe_security_group_rules()["SecurityGroupRules"]
    return {r["SecurityGroupRuleId"]: r for r in found if not r["IsEgress"] and r.get("Description")}


def plain(rule: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        rule.get(key) for key in ("GroupId", "IpProtocol", "FromPort", "ToPort", "CidrIpv4", "Description")
    )


def test_a_server_replaced_on_purpose_comes_back_configured(
    created: dict[str, Host], dev: Stack, fresh: Lab
) -> None:
    """A new server at the old address with the old host key, configured and proven; the others are left alone."""
    address, old = created["tokyo-1"].address, server_id(fresh)
    before = seen({"london-1": created["london-1"]})
    dev.configure(lambda c: c["sites"]["tokyo"]["nodes"]["tokyo-1"].update(aws={"replace": 1}))
    dev.up()
    now = fresh.instances()
    assert server_id(fresh) != old
    assert dev.outputs()["sites"]["tokyo"]["nodes"]["tokyo-1"] == address
    assert now["tokyo-1"].read("/etc/gitlab/geo-registry/settings.rb")
    assert seen({"london-1": now["london-1"]}) == before
    created.update(now)


def test_nothing_else_replaces_a_server(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """Another login key, known to the servers before, another range and another image: the servers stay."""
    before = server_id(fresh)
    key = (fresh.dir / "home/.ssh/id_ed25519").read_text()
    public = (fresh.dir / "home/.ssh/id_ed25519.pub").read_text()
    for host in fresh.instances().values():
        host.run("cat >> /home/ubuntu/.ssh/authorized_keys", input=public)

    def change(config: dict[str, Any]) -> None:
        config["ssh"] = {"private_key": key}
        config["sites"]["tokyo"]["aws"] |= {"cidr": "10.121.0.0/16", "ami": "ami-0123456789abcdef0"}

    dev.configure(change)
    dev.up()
    assert server_id(fresh) == before
    assert len([v for v in fresh.ec2(TOKYO).describe_vpcs()["Vpcs"] if not v["IsDefault"]]) == 1
    dev.configure(lambda c: c["sites"]["tokyo"]["aws"].pop("ami"))


def server_id(lab: Lab) -> str:
    found = lab.ec2(TOKYO).describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["running"]}]
    )
    (server,) = (i for r in found["Reservations"] for i in r["Instances"])
    return str(server["InstanceId"])


DUBLIN: dict[str, Any] = {
    "external_url": "https://gitlab.dublin.example.com",
    "registry_url": "https://registry.dublin.example.com",
    "aws": {
        "region": "eu-west-1",
        "cidr": "10.130.0.0/16",
        "admin_cidrs": ["198.51.100.7/32"],
        "client_cidrs": ["0.0.0.0/0"],
        "hosted_zone": "example.com",
        "termination_protection": False,
    },
    "nodes": {"dublin-1": {}},
}


def test_a_secondary_comes_and_goes_without_touching_the_others(
    created: dict[str, Host], dev: Stack, fresh: Lab
) -> None:
    """AWS refuses it a server at first: `up` says so, the next one finishes with no duplicate."""
    before = seen(created)
    dev.configure(lambda c: c["sites"].update(dublin=DUBLIN))
    with (
        refused("RunInstances", "InsufficientInstanceCapacity", 500, "eu-west-1"),
        refused("CreateSubnet", "RequestLimitExceeded", 503, "eu-west-1", times=1),
    ):
        assert "InsufficientInstanceCapacity" in dev.fails()
    dev.up()
    ec2 = fresh.ec2("eu-west-1")
    assert len([v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]]) == 1
    assert (
        len(ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.130.0.0/24"]}])["Subnets"])
        == 1
    )
    assert len(ec2.describe_addresses()["Addresses"]) == 1
    assert "dublin-1" in fresh.instances()
    assert dev.outputs()["proof"]["dublin"]["dublin-1"]["own registry refuses a push (read-only)"] == "405"
    assert seen(created) == before
    dev.configure(lambda c: c["sites"].pop("dublin"))
    dev.up()
    assert set(fresh.instances()) == {"london-1", "tokyo-1"}
    assert [v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]] == []
    assert seen(created) == before


def test_what_aws_has_not_got_is_refused(
    created: dict[str, Host], dev: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made, without a traceback, with all sites named; so are a zone and wrong credentials."""
    text = dev.file.read_text()
    dev.configure(lambda c: c.update(gitlab_version="17.9.9"))
    dev.configure(lambda c: c["sites"]["tokyo"]["aws"].update(hosted_zone="tokyo.example.com"))
    said = dev.preview(check=False)
    dev.file.write_text(text)
    assert "sites.tokyo.aws.hosted_zone: 'tokyo.example.com' is not a public Route 53 zone" in said
    assert "sites.london.aws.region: 'eu-west-2' has no image of GitLab EE 17.9.9 for x86_64" in said
    assert "sites.tokyo.aws.region" in said
    assert "Traceback" not in said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    said = dev.preview(check=False)
    assert "check the credentials in your environment" in said
    assert "Traceback" not in said


def test_a_protected_server_is_not_destroyed(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """With termination_protection neither a destroy nor the console takes it; without it again, both go on."""
    dev.configure(lambda c: c["sites"]["tokyo"]["aws"].update(termination_protection=True))
    dev.up()
    said = fresh.pulumi("destroy", "--yes", stack="dev", check=False)
    assert said.returncode != 0
    assert "protect" in said.stdout + said.stderr
    ec2 = fresh.ec2(TOKYO)
    with pytest.raises(ec2.exceptions.ClientError, match="OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[server_id(fresh)])
    assert set(fresh.instances()) == {"london-1", "tokyo-1"}
    former, around = dev.file.read_text(), beside(fresh)
    dev.configure(lambda c: c["sites"].pop("tokyo"))
    apply = ["make", "-o", "setup", "apply", "STACK=dev", f"PROJECT={fresh.dir / 'project'}"]
    done = subprocess.run(apply, cwd=ROOT, capture_output=True, text=True, check=False)
    dev.file.write_text(former)
    assert done.returncode != 0
    assert "protect" in done.stdout + done.stderr
    assert beside(fresh) == around, "make apply took what stands beside a protected server"
    dev.configure(lambda c: c["sites"]["tokyo"]["aws"].update(termination_protection=False))
    dev.up()


def records(lab: Lab) -> Any:
    """All that the zone has."""
    route53 = lab.route53()
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    return route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]


def beside(lab: Lab) -> list[Any]:
    """The names and firewall rules of both sites' servers."""
    found: list[Any] = [records(lab)]
    for region in (LONDON, TOKYO):
        rules = lab.ec2(region).describe_security_group_rules()["SecurityGroupRules"]
        found.append(sorted(rule["SecurityGroupRuleId"] for rule in rules))
    return found


def test_destroy_leaves_nothing_but_the_bucket(created: dict[str, Host], dev: Stack, fresh: Lab) -> None:
    """And says so: no host is tidied up before it goes."""
    output = dev.destroy()
    assert "[retain]" in output
    assert fresh.instances() == {}
    for region in (LONDON, TOKYO):
        ec2 = fresh.ec2(region)
        assert [v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]] == []
        assert ec2.describe_addresses()["Addresses"] == []
        assert ec2.describe_key_pairs()["KeyPairs"] == []
        assert ec2.describe_volumes()["Volumes"] == []
    iam = fresh.iam()
    assert (iam.list_roles()["Roles"], iam.list_instance_profiles()["InstanceProfiles"]) == ([], [])
    assert [r for r in records(fresh) if r["Type"] == "A"] == []
    assert [b["Name"] for b in fresh.s3().list_buckets()["Buckets"]] == [BUCKET]
    assert fresh.s3().list_objects_v2(Bucket=BUCKET)["KeyCount"] > 0
