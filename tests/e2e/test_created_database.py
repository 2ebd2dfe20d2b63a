"""Created sites whose registries keep their metadata in RDS, with the permissions that the pages name.

Tests build on each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.host import Host
from lab.next_steps_runner import follow
from lab.registry import SkopeoError
from tests import installed
from tests.e2e.audit import findings
from tests.e2e.roles import BUCKET, allow, document, permitted
from tests.e2e.stack import Stack, secrets
from tests.e2e.test_created import pulled

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not installed.MAY_HAVE_DATABASE, reason="the metadata database is supported from GitLab 17.3 on"
    ),
]
REGIONS = {"london": "eu-west-2", "tokyo": "ap-northeast-1"}
CONFIG = "/var/opt/gitlab/registry/config.yml"
PSQL = "/opt/gitlab/embedded/bin/psql -XwAt"


@pytest.fixture(scope="module", autouse=True)
def role(fresh: Lab) -> Iterator[None]:
    """Every command of this module has the permissions of ci/ and no others."""
    names = ("preview-role.json", "up-role.json")
    provided = permitted(fresh, "apply", *names)
    both = json.dumps(document(fresh, *names)).replace(BUCKET, f"{BUCKET}-*")
    allow(fresh, "apply", json.loads(both))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in provided.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def stack(dev: Stack) -> Stack:
    """A bucket and a database for each site."""

    def change(config: dict[str, Any]) -> None:
        config["storage"] = {"mode": "per_site"}
        for name, site in config["sites"].items():
            site["storage"] = {"bucket": f"{BUCKET}-{name}", "region": REGIONS[name]}
            site["metadata_database"] = {"create": {}}

    dev.configure(change)
    return dev


@pytest.fixture(scope="module")
def shown(stack: Stack, fresh: Lab) -> str:
    """The first preview, before there is anything."""
    said = stack.preview("--diff")
    assert fresh.instances() == {}
    return said


@pytest.fixture(scope="module")
def said(stack: Stack, shown: str) -> str:
    """The output of the first `up`."""
    return stack.up("--diff")


@pytest.fixture(scope="module")
def created(said: str, fresh: Lab) -> dict[str, Host]:
    return dict(fresh.instances())


def database(lab: Lab, site: str) -> dict[str, Any]:
    """The site's database, as AWS describes it."""
    (one,) = lab.rds(REGIONS[site]).describe_db_instances()["DBInstances"]
    described: dict[str, Any] = one
    return described


def asked(host: Host, statement: str) -> str:
    """What the registry's database answers to the registry's own login, on its node."""
    its = yaml.safe_load(host.read(CONFIG))["database"]
    where = " ".join(f"{key}={its[key]}" for key in ("host", "port", "user", "dbname", "sslmode"))
    login = json.dumps(f"*:*:*:*:{its['password']}")
    script = f"umask 077; echo {login} > /tmp/pass; {PSQL} -c '{statement}' '{where} passfile=/tmp/pass'; rm /tmp/pass"
    return host.run(script).stdout.strip()


def test_the_preview_does_not_know_the_address(shown: str) -> None:
    """It shows the setting all the same, and does not fail."""
    assert "registry-london-database-server" in shown
    line = next(line for line in shown.splitlines() if "['database']['host']" in line)
    assert re.search(r"\[unknown\]|output<string>", line), line


def test_each_registry_uses_its_database(created: dict[str, Host], stack: Stack, fresh: Lab) -> None:
    """The node checked it first; its address is in the settings, and in the outputs."""
    outputs = stack.outputs()
    for site in REGIONS:
        address = database(fresh, site)["Endpoint"]["Address"]
        assert outputs["sites"][site]["metadata"] == f"{address}:5432/registry"
        check = f"metadata database {address}:5432/registry can be used by this site's registry"
        assert outputs["proof"][site][f"{site}-1"][check] == "yes"
        its = yaml.safe_load(created[f"{site}-1"].read(CONFIG))["database"]
        assert (its["enabled"], its["host"], its["sslmode"]) == (True, address, "require")
        assert its["password"] == secrets(created[f"{site}-1"])["database_password"]


def test_the_databases_pass_a_review(created: dict[str, Host], fresh: Lab) -> None:
    """By value, through the AWS API."""
    for site, region in REGIONS.items():
        its, ec2 = database(fresh, site), fresh.ec2(region)
        assert (its["PubliclyAccessible"], its["StorageEncrypted"], its["BackupRetentionPeriod"]) == (
            False,
            True,
            7,
        )
        assert its["CopyTagsToSnapshot"] and its["AutoMinorVersionUpgrade"]
        (access,) = [one["VpcSecurityGroupId"] for one in its["VpcSecurityGroups"]]
        (server,) = (
            one
            for found in ec2.describe_instances()["Reservations"]
            for one in found["Instances"]
            if one["State"]["Name"] == "running"
        )
        (clients,) = (
            one["GroupId"] for one in server["SecurityGroups"] if "database-clients" in one["GroupName"]
        )
        rules = [
            (rule["IsEgress"], rule["FromPort"], rule["ToPort"], rule.get("CidrIpv4"), rule["ReferencedGroupInfo"]["GroupId"])
            for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]
            if rule["GroupId"] == access
        ]  # fmt: skip
        assert rules == [(False, 5432, 5432, None, clients)]
        for subnet in its["DBSubnetGroup"]["Subnets"]:
            by_subnet = [{"Name": "association.subnet-id", "Values": [subnet["SubnetIdentifier"]]}]
            (table,) = ec2.describe_route_tables(Filters=by_subnet)["RouteTables"]
            assert {route.get("GatewayId") for route in table["Routes"]} == {"local"}
    # The review knows one bucket, and here there are two.
    found = findings(fresh, tuple(REGIONS.values()), bucket=BUCKET)
    assert [one for one in found if "may reach" not in one] == []


def test_only_the_registrys_node_reaches_it(created: dict[str, Host], fresh: Lab) -> None:
    """Its address is private, and no other site or machine gets there."""
    address = database(fresh, "tokyo")["Endpoint"]["Address"]
    knock = f"timeout 3 bash -c '</dev/tcp/{address}/5432' && echo open || true"
    assert created["tokyo-1"].run(knock).stdout == "open\n"
    assert created["london-1"].run(knock).stdout == ""


def test_the_password_is_in_no_plain_sight(
    created: dict[str, Host], said: str, shown: str, stack: Stack, fresh: Lab
) -> None:
    """Searched for by value: in previews, output, state, user data, logs and processes of the node."""
    node = created["tokyo-1"]
    password = secrets(node)["database_password"]
    assert len(password) == 32
    assert password in fresh.pulumi("stack", "export", "--show-secrets", stack="dev").stdout
    ask = "curl -s -H \"X-aws-ec2-metadata-token: $(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {0}/latest/api/token)\" {0}/latest/user-data"
    user_data = node.run(ask.format("http://127.0.0.169")).stdout
    assert "ssh_keys" in user_data
    plain = {
        "preview": shown + stack.preview("--diff"),
        "output": said,
        "state": fresh.pulumi("stack", "export", stack="dev").stdout,
        "outputs": fresh.pulumi("stack", "output", "--json", stack="dev").stdout,
        "user data": user_data,
        "processes": "\n".join(node.processes(environ=True)),
    }
    assert [where for where, text in plain.items() if password in text] == []
    readable = node.run(f"grep -rlF {password} /var /etc /tmp 2>/dev/null || true", user="ubuntu")
    assert readable.stdout == ""


def arrived(lab: Lab, digest: str) -> bool:
    """Whether Tokyo has the image; its GitLab may still be starting."""
    try:
        return lab.tags("tokyo", "group/app").get("1") == digest
    except SkopeoError:
        return False


def test_an_image_is_replicated_between_the_databases(
    created: dict[str, Host], stack: Stack, fresh: Lab
) -> None:
    """From nothing: the next steps, a push at London, a pull of the same digest at Tokyo."""
    follow(fresh, stack.name)
    fresh.wait(lambda: pulled(fresh), 30, "tokyo's GitLab")
    digest = fresh.push("london", "group/app:1", seed=b"created")
    fresh.wait(lambda: arrived(fresh, digest), 60, "the image at tokyo")
    assert fresh.pull("tokyo", "group/app:1") == digest
    for host in created.values():
        assert int(asked(host, "SELECT count(*) FROM schema_migrations")) > 0


def test_a_second_up_changes_nothing(created: dict[str, Host], stack: Stack) -> None:
    """Nor does a refresh find a difference."""
    assert "unchanged" in stack.up()
    before = [host.reconfigures() for host in created.values()]
    preview = stack.preview("--refresh")
    assert re.fullmatch(r"\s*\d+ unchanged\s*", preview.rpartition("Resources:")[2]), preview
    assert [host.reconfigures() for host in created.values()] == before


def test_a_replaced_node_finds_its_images(created: dict[str, Host], stack: Stack, fresh: Lab) -> None:
    """They are in the database and in the bucket: its check does not take them for another registry's."""
    stack.configure(lambda c: c["sites"]["tokyo"]["nodes"]["tokyo-1"].update(aws={"replace": 1}))
    stack.up()
    created.update(fresh.instances())
    assert int(asked(created["tokyo-1"], "SELECT count(*) FROM schema_migrations")) > 0


def test_another_password_reaches_database_and_node(created: dict[str, Host], stack: Stack) -> None:
    """By a number in the configuration."""
    before = {name: secrets(host)["database_password"] for name, host in created.items()}
    stack.configure(lambda c: c.update(rotate={"database_password": 1}))
    stack.up()
    for name, host in created.items():
        assert secrets(host)["database_password"] != before[name]
        assert int(asked(host, "SELECT count(*) FROM schema_migrations")) > 0


def test_a_protected_database_is_not_destroyed(created: dict[str, Host], stack: Stack, fresh: Lab) -> None:
    """By Pulumi and by AWS, as the site's nodes."""
    stack.configure(lambda c: c["sites"]["tokyo"]["aws"].update(termination_protection=True))
    stack.up()
    rds, identifier = fresh.rds(REGIONS["tokyo"]), database(fresh, "tokyo")["DBInstanceIdentifier"]
    with pytest.raises(rds.exceptions.ClientError, match="Cannot delete protected DB Instance"):
        rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True)
    refused = fresh.pulumi("destroy", "--yes", stack=stack.name, check=False)
    assert refused.returncode and "protect" in refused.stdout + refused.stderr
    stack.configure(lambda c: c["sites"]["tokyo"]["aws"].update(termination_protection=False))
    stack.up()


def test_destroy_keeps_a_final_snapshot_and_names_it(
    created: dict[str, Host], stack: Stack, fresh: Lab
) -> None:
    """Everything else goes."""
    names = {site: stack.outputs()["sites"][site]["metadata_final_snapshot"] for site in REGIONS}
    output = stack.destroy()
    assert fresh.instances() == {}
    for site, region in REGIONS.items():
        said = f"{site}: the metadata database is deleted; its final snapshot remains: {names[site]}"
        assert said in output
        rds, ec2 = fresh.rds(region), fresh.ec2(region)
        kept = [one["DBSnapshotIdentifier"] for one in rds.describe_db_snapshots()["DBSnapshots"]]
        assert kept == [names[site]]
        assert rds.describe_db_instances()["DBInstances"] == []
        assert rds.describe_db_subnet_groups()["DBSubnetGroups"] == []
        assert rds.describe_db_parameter_groups()["DBParameterGroups"] == []
        assert [v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]] == []
