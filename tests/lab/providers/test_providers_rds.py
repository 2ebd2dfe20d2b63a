"""Databases: their life, what replaces them, what is computed, and what remains when they are deleted."""

from __future__ import annotations

from typing import Any

import boto3
import grpc
import pytest

from lab.providers.protocol import UNKNOWN, PropertyMap, secret
from tests.lab.providers.harness import Provider, error

SUBNETS, PARAMETERS = "aws:rds/subnetGroup:SubnetGroup", "aws:rds/parameterGroup:ParameterGroup"
INSTANCE = "aws:rds/instance:Instance"
TLS = {"name": "rds.force_ssl", "value": "1", "applyMethod": "pending-reboot"}
LOCKS = {"name": "max_locks_per_transaction", "value": "512", "applyMethod": "pending-reboot"}


@pytest.fixture
def rds(moto: str) -> Any:
    client: Any = boto3.client("rds", region_name="eu-west-1")
    return client


@pytest.fixture
def zones(moto: str) -> list[str]:
    """A subnet in each availability zone."""
    ec2: Any = boto3.client("ec2", region_name="eu-west-1")
    found = ec2.describe_subnets()["Subnets"]
    return [str(one["SubnetId"]) for one in sorted(found, key=lambda one: str(one["AvailabilityZone"]))]


@pytest.fixture
def inputs(cloud: Provider, zones: list[str]) -> PropertyMap:
    """Of a database, with its groups."""
    group = cloud.made(SUBNETS, {"name": "private", "subnetIds": zones[:2]})[0]
    parameters = cloud.made(PARAMETERS, {"name": "tls", "family": "postgres17", "parameters": [TLS]})[0]
    return {
        "identifier": "registry-1", "engine": "postgres", "engineVersion": "17", "instanceClass": "db.t4g.medium",
        "allocatedStorage": 20, "storageType": "gp3", "storageEncrypted": True, "dbName": "registry",
        "username": "registry", "password": "s3cr3t-value", "dbSubnetGroupName": group,
        "parameterGroupName": parameters, "publiclyAccessible": False, "backupRetentionPeriod": 7,
        "skipFinalSnapshot": False, "finalSnapshotIdentifier": "registry-1-final", "deletionProtection": False,
        "applyImmediately": True, "tags": {"Name": "database"},
    }  # fmt: skip


class TestSubnetGroup:
    def test_its_life(self, cloud: Provider, rds: Any, zones: list[str]) -> None:
        made, state, stored = cloud.made(SUBNETS, {"subnetIds": zones[:2], "tags": {"a": "b"}})
        assert made.startswith("thing-") and state["arn"].endswith(f":subgrp:{made}")
        assert cloud.read(SUBNETS, made, state, stored) == (made, state, stored)
        turned = {**stored, "subnetIds": zones[1::-1]}
        assert not cloud.diff(SUBNETS, stored, turned).paths
        wider = cloud.restated(SUBNETS, stored, subnetIds=zones[:3])
        assert not cloud.diff(SUBNETS, stored, wider).replaces
        state = cloud.update(SUBNETS, made, state, wider)
        assert cloud.read(SUBNETS, made, state, wider) == (made, state, wider)
        cloud.delete(SUBNETS, made, state)
        cloud.delete(SUBNETS, made, state)
        assert rds.describe_db_subnet_groups()["DBSubnetGroups"] == []

    def test_one_zone_is_not_enough(self, cloud: Provider, zones: list[str]) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(SUBNETS, {"name": "one", "subnetIds": zones[:1]})
        assert "DBSubnetGroupDoesNotCoverEnoughAZs" in error(refused.value)


class TestParameterGroup:
    def test_its_life(self, cloud: Provider, rds: Any) -> None:
        made, state, stored = cloud.made(PARAMETERS, {"family": "postgres17", "parameters": [TLS, LOCKS]})
        assert cloud.read(PARAMETERS, made, state, stored) == (made, state, stored)
        assert not cloud.diff(PARAMETERS, stored, {**stored, "parameters": [LOCKS, TLS]}).paths
        weaker = {**stored, "parameters": [{**TLS, "value": "0"}, LOCKS]}
        assert not cloud.diff(PARAMETERS, stored, weaker).replaces
        cloud.update(PARAMETERS, made, state, weaker)
        drifted = cloud.read(PARAMETERS, made, state, stored)[2]
        assert drifted["parameters"][0]["value"] == "0"
        assert cloud.diff(PARAMETERS, stored, {**stored, "family": "postgres18"}).replaces == ["family"]
        cloud.delete(PARAMETERS, made, state)
        assert rds.describe_db_parameter_groups()["DBParameterGroups"] == []


class TestInstance:
    def test_its_life(self, cloud: Provider, rds: Any, inputs: PropertyMap) -> None:
        made, state, stored = cloud.made(INSTANCE, inputs)
        assert made == state["resourceId"] and made.startswith("db-")
        assert state["address"].startswith("registry-1.") and state["address"].endswith(".rds.amazonaws.com")
        assert (state["engineVersion"], state["engineVersionActual"]) == ("17", "17.4")
        assert state["kmsKeyId"] and state["status"] == "available"
        assert cloud.read(INSTANCE, made, state, stored) == (made, state, stored)
        larger: PropertyMap = {"instanceClass": "db.m7g.large", "allocatedStorage": 40, "engineVersion": "18"}
        changed = cloud.restated(INSTANCE, stored, **larger)
        assert not cloud.diff(INSTANCE, stored, changed).replaces
        state = cloud.update(INSTANCE, made, state, changed)
        assert {key: state[key] for key in larger} == larger
        assert cloud.read(INSTANCE, made, state, changed) == (made, state, changed)
        cloud.delete(INSTANCE, made, state)
        cloud.delete(INSTANCE, made, state)
        assert rds.describe_db_instances()["DBInstances"] == []

    def test_its_snapshot_remains(self, cloud: Provider, rds: Any, inputs: PropertyMap) -> None:
        made, state, _ = cloud.made(INSTANCE, {**inputs, "copyTagsToSnapshot": True})
        cloud.delete(INSTANCE, made, state)
        (kept,) = rds.describe_db_snapshots()["DBSnapshots"]
        assert (kept["DBSnapshotIdentifier"], kept["SnapshotType"]) == ("registry-1-final", "manual")
        assert kept["Encrypted"] and kept["TagList"] == [{"Key": "Name", "Value": "database"}]

    def test_without_a_name_for_the_snapshot_it_is_not_deleted(
        self, cloud: Provider, rds: Any, inputs: PropertyMap
    ) -> None:
        made, state, _ = cloud.made(INSTANCE, inputs)
        del state["finalSnapshotIdentifier"]
        with pytest.raises(grpc.RpcError, match="final_snapshot_identifier is required"):
            cloud.delete(INSTANCE, made, state)
        assert len(rds.describe_db_instances()["DBInstances"]) == 1

    def test_a_protected_one_is_not_deleted(self, cloud: Provider, inputs: PropertyMap) -> None:
        made, state, stored = cloud.made(INSTANCE, {**inputs, "deletionProtection": True})
        with pytest.raises(grpc.RpcError, match="Cannot delete protected DB Instance"):
            cloud.delete(INSTANCE, made, state)
        state = cloud.update(
            INSTANCE, made, state, cloud.restated(INSTANCE, stored, deletionProtection=False)
        )
        cloud.delete(INSTANCE, made, state)

    @pytest.mark.parametrize(
        ("key", "value"), [("storageEncrypted", False), ("dbName", "x"), ("username", "x"), ("kmsKeyId", "x")]
    )
    def test_what_replaces_it(self, cloud: Provider, inputs: PropertyMap, key: str, value: Any) -> None:
        diff = cloud.diff(INSTANCE, inputs, {**inputs, key: value})
        assert (diff.replaces, diff.deleted_first) == ([key], True)

    def test_a_preview_does_not_know_its_address(self, cloud: Provider, inputs: PropertyMap) -> None:
        stored = cloud.check(INSTANCE, {**inputs, "password": secret("s3cr3t-value")})
        shown = cloud.create(INSTANCE, stored, preview=True)[1]
        assert shown["address"] == UNKNOWN
        assert shown["password"] == secret("s3cr3t-value")
        made, state = cloud.create(INSTANCE, stored)
        assert state["password"] == secret("s3cr3t-value")
        larger = {**stored, "allocatedStorage": 40}
        assert cloud.update(INSTANCE, made, state, larger, preview=True)["address"] == state["address"]

    def test_what_it_uses_stays(self, cloud: Provider, inputs: PropertyMap) -> None:
        cloud.made(INSTANCE, inputs)
        for token, name in ((SUBNETS, "private"), (PARAMETERS, "tls")):
            with pytest.raises(grpc.RpcError, match=r"InvalidDB(Subnet|Parameter)Group"):
                cloud.delete(token, name, {"name": name})


def test_the_zones_of_a_region(cloud: Provider) -> None:
    """By name, of that kind alone."""
    token = "aws:index/getAvailabilityZones:getAvailabilityZones"
    kind = [{"name": "zone-type", "values": ["availability-zone"]}]
    assert cloud.invoke(token, state="available", filters=kind)["names"] == [
        f"eu-west-1{letter}" for letter in "abc"
    ]
    assert cloud.invoke(token, filters=[{"name": "zone-type", "values": ["local-zone"]}])["names"] == []
