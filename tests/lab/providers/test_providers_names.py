"""Keys, their names and grants; zones and the names in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import grpc
import pytest

from lab.providers.aws import __main__ as aws
from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider, error, serving

pytestmark = pytest.mark.lab
KEY, ALIAS, GRANT = "aws:kms/key:Key", "aws:kms/alias:Alias", "aws:kms/grant:Grant"
ZONE, RECORD = "aws:route53/zone:Zone", "aws:route53/record:Record"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*", "Sid": "all"}
    ],
}


@pytest.fixture(scope="module")
def cloud(shared_moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


class TestKey:
    @pytest.mark.parametrize(
        ("was", "now"),
        [
            ({"description": "a"}, {"description": "b"}),
            ({"enableKeyRotation": True}, {"enableKeyRotation": False}),
            ({"enableKeyRotation": False}, {"enableKeyRotation": True}),
            ({"isEnabled": True}, {"isEnabled": False}),
            ({"policy": json.dumps(POLICY)}, {"policy": json.dumps({**POLICY, "Id": "other"})}),
            ({"tags": {"a": "b"}}, {"tags": {"c": "d"}}),
        ],
    )
    def test_it_is_changed_in_place(self, cloud: Provider, was: PropertyMap, now: PropertyMap) -> None:
        made, state, stored = cloud.made(KEY, was)
        assert cloud.read(KEY, made, state, stored) == (made, state, stored)
        changed = cloud.restated(KEY, stored, **now)
        assert not cloud.diff(KEY, stored, changed).replaces
        state = cloud.update(KEY, made, state, changed)
        assert cloud.read(KEY, made, state, changed) == (made, state, changed)

    def test_a_deleted_one_waits_for_its_end(self, cloud: Provider) -> None:
        made, state, stored = cloud.made(KEY, {"deletionWindowInDays": 7})
        cloud.delete(KEY, made, state)
        assert cloud.read(KEY, made, state, stored)[0] == ""
        kms: Any = boto3.client("kms", "eu-west-1")
        assert kms.describe_key(KeyId=made)["KeyMetadata"]["KeyState"] == "PendingDeletion"

    def test_a_window_out_of_range_is_refused(self, cloud: Provider) -> None:
        assert "(7 - 30)" in cloud.failures(KEY, {"deletionWindowInDays": 1})[0]["deletionWindowInDays"]

    def test_an_alias_goes_to_another_key(self, cloud: Provider) -> None:
        one, other = (cloud.made(KEY, {})[1] for _ in range(2))
        made, state, stored = cloud.made(ALIAS, {"targetKeyId": one["keyId"]})
        assert made.startswith("alias/thing-")
        assert state["targetKeyArn"] == one["arn"]
        changed = cloud.restated(ALIAS, stored, targetKeyId=other["arn"])
        state = cloud.update(ALIAS, made, state, changed)
        assert cloud.read(ALIAS, made, state, changed) == (made, state, changed)
        assert state["targetKeyArn"] == other["arn"]
        assert (
            'must begin with "alias/"' in cloud.failures(ALIAS, {"name": "x", "targetKeyId": "y"})[0]["name"]
        )

    def test_a_revoked_grant_is_gone(self, cloud: Provider) -> None:
        key = cloud.made(KEY, {})[0]
        principal = "arn:aws:iam::123456789012:role/registry"
        made, state, stored = cloud.made(
            GRANT, {"keyId": key, "granteePrincipal": principal, "operations": ["Decrypt", "GenerateDataKey"]}
        )
        assert made == f"{key}:{state['grantId']}"
        assert cloud.diff(GRANT, stored, {**stored, "operations": ["Decrypt"]}).replaces == ["operations"]
        kms: Any = boto3.client("kms", "eu-west-1")
        kms.revoke_grant(KeyId=key, GrantId=state["grantId"])
        assert cloud.read(GRANT, made, state, stored)[0] == ""


@pytest.fixture(scope="module")
def zone(cloud: Provider) -> str:
    return cloud.made(ZONE, {"name": "example.com"})[0]


class TestRecord:
    @pytest.fixture
    def inputs(self, zone: str) -> PropertyMap:
        return {
            "zoneId": zone,
            "name": "gitlab.example.com",
            "type": "A",
            "ttl": 60,
            "records": ["192.0.2.1"],
        }

    def test_it_is_changed_in_place(self, cloud: Provider, zone: str, inputs: PropertyMap) -> None:
        made, state, stored = cloud.made(RECORD, inputs)
        assert made == f"{zone}_gitlab.example.com_A"
        assert state["fqdn"] == "gitlab.example.com"
        changed = cloud.restated(RECORD, stored, ttl=300, records=["192.0.2.2", "192.0.2.3"])
        assert not cloud.diff(RECORD, stored, changed).replaces
        state = cloud.update(RECORD, made, state, changed)
        assert cloud.read(RECORD, made, state, changed) == (made, state, changed)
        cloud.delete(RECORD, made, state)
        assert cloud.read(RECORD, made, state, changed)[0] == ""

    def test_one_that_is_there_already_is_overwritten_only_when_told(
        self, cloud: Provider, inputs: PropertyMap
    ) -> None:
        made, state, _ = cloud.made(RECORD, inputs)
        with pytest.raises(grpc.RpcError) as refused:
            cloud.made(RECORD, {**inputs, "records": ["192.0.2.9"]})
        assert error(refused.value).startswith(
            "creating Route53 Record: operation error Route 53: ChangeResourceRecordSets, https response error "
            "StatusCode: 400"
        )
        assert "InvalidChangeBatch" in error(refused.value)
        made, state, stored = cloud.made(RECORD, {**inputs, "records": ["192.0.2.9"], "allowOverwrite": True})
        assert cloud.read(RECORD, made, state, stored)[2] == stored
        cloud.delete(RECORD, made, state)

    def test_a_change_by_hand_is_seen(self, cloud: Provider, zone: str, inputs: PropertyMap) -> None:
        made, state, stored = cloud.made(RECORD, inputs)
        route53: Any = boto3.client("route53", "eu-west-1")
        record = {
            "Name": inputs["name"],
            "Type": "A",
            "TTL": 60,
            "ResourceRecords": [{"Value": "192.0.2.66"}],
        }
        change = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=change)
        assert cloud.read(RECORD, made, state, stored)[2]["records"] == ["192.0.2.66"]
        cloud.delete(RECORD, made, state)
        assert cloud.read(RECORD, made, state, stored)[0] == ""

    def test_the_zone_is_found_by_its_name(self, cloud: Provider, zone: str) -> None:
        found = cloud.invoke("aws:route53/getZone:getZone", name="example.com")
        assert (found["zoneId"], found["name"]) == (zone, "example.com")
        assert found["nameServers"]
        assert cloud.invoke("aws:route53/getZone:getZone", zoneId=zone)["name"] == "example.com"
        with pytest.raises(grpc.RpcError, match="no matching Route 53 Hosted Zone found"):
            cloud.invoke("aws:route53/getZone:getZone", name="example.org")
