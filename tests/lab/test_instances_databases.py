"""RDS: a real PostgreSQL at the endpoint's name, with the master password, for those whom security groups admit."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from lab.cloud.instance import Instance
from lab.services import settle
from tests.lab.account import SSH, Account, Network, allow, shut

PASSWORD = "generated-by-the-program"
PSQL = "/opt/gitlab/embedded/bin/psql -XwAtc"
ASK = "SELECT current_user, current_database(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def network(account: Account) -> Network:
    return account.network()


@pytest.fixture(scope="module")
def groups(account: Account, network: Network) -> dict[str, str]:
    """`client`; `database`, which admits it; `other`, which may connect to anything and is admitted by nothing."""
    client = account.group(network, "client", SSH, outward=False)
    database = account.group(network, "database", allow("tcp", 5432, client), outward=False)
    account.ec2.authorize_security_group_egress(GroupId=client, IpPermissions=[allow("tcp", 5432, database)])
    return {"client": client, "database": database, "other": account.group(network, "other", SSH)}


@pytest.fixture(scope="module")
def rds(account: Account) -> Any:
    return account.lab.rds(account.region)


@pytest.fixture(scope="module")
def database(account: Account, network: Network, groups: dict[str, str], rds: Any) -> dict[str, Any]:
    """What AWS says of it, once it is available."""
    subnets = [
        account.ec2.create_subnet(VpcId=network.vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"][
            "SubnetId"
        ]
        for cidr, zone in (("10.40.2.0/27", "eu-west-1a"), ("10.40.2.32/27", "eu-west-1b"))
    ]
    rds.create_db_subnet_group(DBSubnetGroupName="private", DBSubnetGroupDescription="x", SubnetIds=subnets)
    rds.create_db_parameter_group(
        DBParameterGroupName="tls", DBParameterGroupFamily="postgres17", Description="x"
    )
    forced = {"ParameterName": "rds.force_ssl", "ParameterValue": "1", "ApplyMethod": "pending-reboot"}
    rds.modify_db_parameter_group(DBParameterGroupName="tls", Parameters=[forced])
    rds.create_db_instance(
        DBInstanceIdentifier="registry", DBInstanceClass="db.t4g.medium", Engine="postgres", EngineVersion="17",
        AllocatedStorage=20, DBName="registry", MasterUsername="registry", MasterUserPassword=PASSWORD,
        DBSubnetGroupName="private", DBParameterGroupName="tls", VpcSecurityGroupIds=[groups["database"]],
        PubliclyAccessible=False,
    )  # fmt: skip
    account.lab.wait(lambda: described(rds)["DBInstanceStatus"] == "available", 30, "the database")
    return described(rds)


def described(rds: Any) -> dict[str, Any]:
    (one,) = rds.describe_db_instances()["DBInstances"]
    found: dict[str, Any] = one
    return found


@pytest.fixture(scope="module")
def client(account: Account, network: Network, groups: dict[str, str], database: dict[str, Any]) -> Instance:
    account.launch(network, "client", groups["client"])
    return account.lab.instances()["client"]


@pytest.fixture(scope="module")
def other(account: Account, network: Network, groups: dict[str, str], database: dict[str, Any]) -> Instance:
    account.launch(network, "other", groups["other"])
    return account.lab.instances()["other"]


def asked(
    host: Instance, database: dict[str, Any], password: str = PASSWORD, sslmode: str = "require"
) -> subprocess.CompletedProcess[str]:
    """What the database answers to psql on a host."""
    where = f"host={database['Endpoint']['Address']} user=registry dbname=registry sslmode={sslmode} connect_timeout=3"
    return host.run(f"PGPASSWORD={password} {PSQL} \"{ASK}\" '{where}'", check=False)


def test_it_answers_at_its_name_with_its_password(client: Instance, database: dict[str, Any]) -> None:
    """By TLS alone, with a certificate that nobody trusts."""
    assert asked(client, database).stdout == "registry|registry|t\n"
    assert "password authentication failed" in asked(client, database, "another").stderr
    assert "no encryption" in asked(client, database, sslmode="disable").stderr
    assert "certificate" in asked(client, database, sslmode="verify-full").stderr


def test_only_members_of_the_group_reach_it(
    client: Instance,
    other: Instance,
    database: dict[str, Any],
    rds: Any,
    groups: dict[str, str],
    account: Account,
) -> None:
    """Not a neighbor in the network, and not the Internet; a group that is added admits at once."""
    address = database["Endpoint"]["Address"]
    assert shut(other, address, 5432) and "timeout" in asked(other, database).stderr
    assert shut(None, address, 5432)
    rule = {"GroupId": groups["database"], "IpPermissions": [allow("tcp", 5432, groups["other"])]}
    account.ec2.authorize_security_group_ingress(**rule)
    account.lab.wait(lambda: not asked(other, database).returncode, 10, "the rule")
    account.ec2.revoke_security_group_ingress(**rule)
    account.lab.wait(lambda: asked(other, database).returncode, 10, "its end")
    assert asked(client, database).stdout


def test_another_password_is_in_effect_at_once(client: Instance, database: dict[str, Any], rds: Any) -> None:
    """And the former one no longer."""
    rds.modify_db_instance(DBInstanceIdentifier="registry", MasterUserPassword="other", ApplyImmediately=True)
    settle()
    assert asked(client, database, "other").stdout
    assert asked(client, database).returncode
    rds.modify_db_instance(
        DBInstanceIdentifier="registry", MasterUserPassword=PASSWORD, ApplyImmediately=True
    )
    settle()


def test_its_groups_stay_while_it_uses_them(
    database: dict[str, Any], account: Account, groups: dict[str, str]
) -> None:
    """As on AWS."""
    with pytest.raises(account.ec2.exceptions.ClientError, match="DependencyViolation"):
        account.ec2.delete_security_group(GroupId=groups["database"])


def test_a_deleted_one_is_gone_and_its_snapshot_remains(
    client: Instance, database: dict[str, Any], rds: Any, account: Account
) -> None:
    """Neither the server nor its name is there."""
    rds.delete_db_instance(DBInstanceIdentifier="registry", FinalDBSnapshotIdentifier="kept")
    account.lab.instances()
    assert asked(client, database).returncode
    assert [one["DBSnapshotIdentifier"] for one in rds.describe_db_snapshots()["DBSnapshots"]] == ["kept"]
    assert rds.describe_db_instances()["DBInstances"] == []
