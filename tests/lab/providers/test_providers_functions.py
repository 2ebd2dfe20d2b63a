"""The images of a region, and the tags that a provider gives to everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from lab.providers.aws import __main__ as aws
from tests.lab.providers.harness import Provider, serving

VPC, ROLE = "aws:ec2/vpc:Vpc", "aws:iam/role:Role"


@pytest.fixture(scope="module")
def cloud(shared_moto: str) -> Iterator[Provider]:
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


def test_all_ids_of_images_that_fit_are_told_the_newest_first(cloud: Provider) -> None:
    token, owners = "aws:ec2/getAmiIds:getAmiIds", ["099720109477"]
    ids = cloud.invoke(token, owners=owners)["ids"]
    ec2: Any = boto3.client("ec2", "eu-west-1")
    images = ec2.describe_images(Owners=owners)["Images"]
    dates = {one["ImageId"]: str(one["CreationDate"]) for one in images}
    assert [dates[one] for one in ids] == sorted(dates.values(), reverse=True)
    assert cloud.invoke(token, owners=owners, sortAscending=True)["ids"] == ids[::-1]
    assert cloud.invoke(token, owners=owners, nameRegex="^no such image$")["ids"] == []


class TestDefaultTags:
    @pytest.fixture
    def tagging(self, shared_moto: str) -> Iterator[Provider]:
        with serving(aws.servicer()) as provider:
            provider.configure(defaultTags='{"tags": {"stack": "dev", "site": "london"}}')
            yield provider

    def test_they_show_in_a_preview_and_can_be_overruled(self, tagging: Provider) -> None:
        stored = tagging.check(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"site": "tokyo", "a": "b"}})
        assert stored["tags"] == {"site": "tokyo", "a": "b"}
        assert stored["tagsAll"] == {"stack": "dev", "site": "tokyo", "a": "b"}

    @pytest.mark.parametrize(
        ("token", "inputs"), [(VPC, {"cidrBlock": "10.0.0.0/16"}), (ROLE, {"assumeRolePolicy": "{}"})]
    )
    def test_other_ones_change_what_there_is(
        self, tagging: Provider, token: str, inputs: dict[str, Any]
    ) -> None:
        made, state, stored = tagging.made(token, inputs)
        assert tagging.read(token, made, state, stored) == (made, state, stored)
        tagging.configure(defaultTags='{"tags": {"stack": "prod"}}')
        changed = tagging.restated(token, stored)
        assert tagging.diff(token, stored, changed).paths == {
            "tagsAll.site": "DELETE",
            "tagsAll.stack": "UPDATE",
        }
        state = tagging.update(token, made, state, changed)
        assert tagging.read(token, made, state, changed) == (made, state, changed)
        assert state["tagsAll"] == {"stack": "prod"}

    def test_one_changed_or_added_by_hand_is_seen(self, tagging: Provider) -> None:
        made, state, stored = tagging.made(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": "b"}})
        ec2: Any = boto3.client("ec2", "eu-west-1")
        ec2.create_tags(Resources=[made], Tags=[{"Key": "stack", "Value": "x"}, {"Key": "c", "Value": "d"}])
        _, state, inputs = tagging.read(VPC, made, state, stored)
        assert inputs["tags"] == {"a": "b", "c": "d", "stack": "x"}
        state = tagging.update(VPC, made, state, stored)
        assert tagging.read(VPC, made, state, stored) == (made, state, stored)
