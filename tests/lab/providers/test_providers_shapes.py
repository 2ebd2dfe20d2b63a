"""Between what a program states and what AWS answers: the same things in other words."""

from __future__ import annotations

from typing import Any

import pytest

from lab.providers.aws.compared import settled
from lab.providers.aws.shapes import from_api, to_api

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    ("stated", "real", "settles"),
    [
        ({"a": 1}, {"a": 1, "default": 2}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {}),
        ({"a": None, "b": 1}, {"b": 1}, {"a": None, "b": 1}),
        ([{"a": 1}], [{"a": 1, "b": 2}], [{"a": 1}]),
        ([1], [1, 2], [1, 2]),
        ('{"a": [1], "b": 2}', '{"b":2,"a":[1]}', '{"a": [1], "b": 2}'),
        ('{"a": 1}', '{"a": 2}', '{"a": 2}'),
        (False, None, False),
        (True, False, False),
        ({}, None, {}),
    ],
)
def test_a_refresh_keeps_what_was_stated_unless_it_really_changed(
    stated: Any, real: Any, settles: Any
) -> None:
    assert settled(stated, real) == settles


def test_names_go_to_the_api_and_back() -> None:
    rule = {
        "id": "x",
        "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "k"},
        "bucketKeyEnabled": True,
        "transitions": [{"storageClass": "GLACIER", "days": 1}],
    }
    assert to_api({**rule, "unset": None}) == {
        "ID": "x",
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"},
        "BucketKeyEnabled": True,
        "Transitions": [{"StorageClass": "GLACIER", "Days": 1}],
    }
    assert from_api(to_api(rule)) == rule
