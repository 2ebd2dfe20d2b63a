"""Metadata databases that are created: what is declared, who may reach it, and what the nodes get of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.components.recording import Registration, record
from tests.components.test_program import order
from tests.configurations import CREATED, changed, created_databases, put

RAW = created_databases()
HOST = "tokyo-database-server.rds.amazonaws.com"
CREATE = ("sites", "tokyo", "metadata_database", "create")


@pytest.fixture(scope="module")
def created() -> dict[str, Registration]:
    return record(RAW)


def test_the_database_is_private_encrypted_and_kept(created: dict[str, Registration]) -> None:
    """By value, as AWS gets it."""
    database = created["tokyo-database-server"]
    assert (database.parent, database.provider) == ("tokyo", "tokyo-aws")
    expected = {
        "engine": "postgres", "engineVersion": "17", "instanceClass": "db.t4g.medium", "allocatedStorage": 20,
        "storageType": "gp3", "storageEncrypted": True, "multiAz": False, "publiclyAccessible": False,
        "dbName": "registry", "username": "registry", "port": 5432, "backupRetentionPeriod": 7,
        "copyTagsToSnapshot": True, "autoMinorVersionUpgrade": True, "deletionProtection": True,
        "skipFinalSnapshot": False, "dbSubnetGroupName": "tokyo-database-1a2b3c4",
        "parameterGroupName": "tokyo-database-parameters-1a2b3c4",
        "vpcSecurityGroupIds": ["id-of-tokyo-database-access"],
        "identifier": "tokyo-database-1a2b3c4", "finalSnapshotIdentifier": "tokyo-database-1a2b3c4-final",
    }  # fmt: skip
    assert {key: database.plain(key) for key in expected} == expected
    assert database.request.protect and database.request.deleteBeforeReplace
    assert [*database.request.ignoreChanges] == ["kmsKeyId"]
    parameters = created["tokyo-database-parameters"]
    assert parameters.plain("family") == "postgres17"
    assert {"name": "rds.force_ssl", "value": "1", "applyMethod": "pending-reboot"} in parameters.plain(
        "parameters"
    )


def test_its_snapshot_is_named_when_it_is_deleted(created: dict[str, Registration]) -> None:
    """By a resource that goes after the database: a destroy does not run the program."""
    notice = created["tokyo-database-snapshot"]
    assert notice.plain("text").endswith("its final snapshot remains: tokyo-database-1a2b3c4-final")
    assert "tokyo-database-snapshot" in created["tokyo-database-server"].depends_on
    assert not notice.request.retainOnDelete


def test_it_is_protected_exactly_as_the_sites_servers(created: dict[str, Registration]) -> None:
    """With what it could not be reached without; the password can be replaced at any time."""
    raw = changed(RAW, put("sites", "tokyo", "aws", "termination_protection", to=False))
    unprotected = record(raw)
    for name in ("server", "access", "clients", "subnet-1", "subnet-2"):
        assert created[f"tokyo-database-{name}"].request.protect, name
        assert not unprotected[f"tokyo-database-{name}"].request.protect, name
    assert created["tokyo-database"].request.protect
    assert unprotected["london-database-server"].request.protect
    assert unprotected["tokyo-database-server"].plain("deletionProtection") is False
    assert not created["tokyo-database-password"].request.protect


def test_its_subnets_have_no_way_to_the_internet(created: dict[str, Registration]) -> None:
    """Two, in two zones, with a separate route table that has no route."""
    subnets = [created[f"tokyo-database-subnet-{number}"] for number in (1, 2)]
    assert [one.plain("cidrBlock") for one in subnets] == ["10.120.1.0/27", "10.120.1.32/27"]
    assert [one.plain("availabilityZone") for one in subnets] == ["ap-northeast-1a", "ap-northeast-1c"]
    assert created["tokyo-database"].plain("subnetIds") == [
        f"id-of-tokyo-database-subnet-{n}" for n in (1, 2)
    ]
    joined = [created[f"tokyo-database-subnet-{number}-routes"] for number in (1, 2)]
    assert {one.plain("routeTableId") for one in joined} == {"id-of-tokyo-database-routes"}
    routes = [one for one in created.values() if one.type == "aws:ec2/route:Route"]
    assert {one.plain("routeTableId") for one in routes} == {"id-of-london-routes", "id-of-tokyo-routes"}


def test_the_nodes_zone_is_one_of_them() -> None:
    """Where it is configured: AWS charges for traffic between zones."""
    recorded = record(changed(RAW, put("sites", "tokyo", "aws", "availability_zone", to="ap-northeast-1d")))
    zones = [recorded[f"tokyo-database-subnet-{number}"].plain("availabilityZone") for number in (1, 2)]
    assert zones == ["ap-northeast-1d", "ap-northeast-1a"]


def test_only_nodes_with_a_registry_reach_it() -> None:
    """By a group that they alone have; neither group has another rule, and a refresh finds one that is added."""
    recorded = record(changed(RAW, put("sites", "tokyo", "nodes", "tokyo-2", to={"roles": ["sidekiq"]})))
    site, clients, access = (
        f"id-of-tokyo-{group}" for group in ("nodes", "database-clients", "database-access")
    )
    assert recorded["tokyo-1-instance"].plain("vpcSecurityGroupIds") == [site, clients]
    assert recorded["tokyo-2-instance"].plain("vpcSecurityGroupIds") == [site]
    rules = [
        {
            key: one.plain(key)
            for key in ("securityGroupId", "referencedSecurityGroupId", "fromPort", "toPort")
        }
        for one in recorded.values()
        if one.type.endswith("Rule") and one.plain("securityGroupId") in {clients, access}
    ]
    both = {"fromPort": 5432, "toPort": 5432}
    assert sorted(rules, key=str) == sorted(
        [
            {"securityGroupId": access, "referencedSecurityGroupId": clients, **both},
            {"securityGroupId": clients, "referencedSecurityGroupId": access, **both},
        ],
        key=str,
    )
    listed = recorded["tokyo-exclusive-database-rules"]
    assert (listed.plain("ingressRuleIds"), listed.plain("egressRuleIds")) == (
        ["id-of-tokyo-database-ingress"],
        [],
    )
    listed = recorded["tokyo-exclusive-database-clients-rules"]
    assert (listed.plain("ingressRuleIds"), listed.plain("egressRuleIds")) == (
        [],
        ["id-of-tokyo-database-egress"],
    )


def test_its_address_and_password_reach_the_nodes_that_wait_for_it(created: dict[str, Registration]) -> None:
    """The same payload as for a database that exists; the password is in no plain input."""
    command = created["tokyo-1-settings"]
    reported = order(command)
    assert reported["database"]["host"] == HOST
    assert f"'host' => '{HOST}'" in reported["settings"]
    assert "'password' => secrets['database_password']" in reported["settings"]
    assert reported["secrets"]["database_password"] == "generated-tokyo-database-password"
    assert {"tokyo-database-server", "tokyo-database-ingress", "tokyo-database-egress"} <= command.depends_on
    assert (
        created["Node tokyo-1" if "Node tokyo-1" in created else "tokyo-1"].plain("settings")[
            "registry['database']['host']"
        ]
        == f"'{HOST}'"
    )
    assert created["tokyo-database-server"].secret("password")
    for name, one in created.items():
        if not (one.type.startswith("command:") or name == "tokyo-database-server"):
            assert "generated-tokyo-database-password" not in json.dumps(one.inputs), name
    assert "database" not in created["tokyo-1-instance"].plain("userData")


def test_nothing_that_comes_first_waits_for_it(created: dict[str, Registration]) -> None:
    """AWS needs ten minutes: the key pair is read, and the servers are created, meanwhile."""
    for name in ("key", "london-1-instance", "tokyo-1-instance"):
        assert not [one for one in created[name].depends_on if one.endswith("database-server")], name


def test_a_preview_does_not_know_the_address() -> None:
    """And does not fail."""
    assert record(RAW, preview=True)["tokyo-database-server"].plain("publiclyAccessible") is False


def test_an_existing_network_keeps_its_subnets() -> None:
    """No subnet, route table or lookup of zones."""
    raw: dict[str, Any] = changed(RAW, lambda r: r["sites"]["tokyo"]["aws"].pop("cidr"))
    raw["sites"]["tokyo"]["aws"] |= {"vpc_id": "vpc-01234567", "subnet_id": "subnet-01234567"}
    ids = ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"]
    raw = changed(raw, put(*CREATE, to={"subnet_ids": ids}))
    recorded = record(raw)
    assert recorded["tokyo-database"].plain("subnetIds") == ids
    assert not [
        name for name in recorded if name.startswith(("tokyo-database-subnet", "tokyo-database-routes"))
    ]
    assert recorded["tokyo-database-access"].plain("vpcId") == "vpc-01234567"


def test_another_number_makes_another_password(created: dict[str, Registration]) -> None:
    """And nothing else of the database."""
    rotated = record(changed(RAW, put("rotate", to={"database_password": 1})))
    name = "tokyo-database-password"
    assert (created[name].plain("rotation"), rotated[name].plain("rotation")) == (0, 1)
    assert created["tokyo-database-server"].inputs == rotated["tokyo-database-server"].inputs


def test_identifiers_are_valid_for_every_site_name() -> None:
    """RDS refuses two consecutive hyphens, and more than 63 characters."""
    for site in ("l--n", "n" * 31):
        raw = changed(RAW, lambda _: None)
        raw["sites"][site] = raw["sites"].pop("tokyo")
        recorded = record(raw)
        database = recorded[f"{site}-database-server"]
        for key, longest in (("identifier", 63 - len("registry-")), ("finalSnapshotIdentifier", 255)):
            assert "--" not in database.plain(key) and len(database.plain(key)) <= longest


def test_a_site_without_one_has_nothing_of_it() -> None:
    """Not even a lookup."""
    assert not [name for name in record(CREATED) if "database" in name]
