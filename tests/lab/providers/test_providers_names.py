"""Names in a zone of Route 53."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import grpc
import pytest

from lab.providers.aws import __main__ as aws
from lab.providers.protocol import PropertyMap
from tests.lab.providers.harness import Provider, error, made_zone, serving

RECORD = "aws:route53/record:Record"


@pytest.fixture(scope="module")
def cloud(shared_moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


@pytest.fixture(scope="module")
def zone(shared_moto: str) -> str:
    return made_zone()


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
