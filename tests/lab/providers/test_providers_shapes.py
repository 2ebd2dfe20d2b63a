"""Between what a program states and what AWS answers: the same things in other words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.providers.aws import schema, shape
from lab.providers.aws.normalize import settled
from lab.providers.aws.shapes import from_api, to_api


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


class TestKeptShapes:
    """What is read of pulumi_aws is kept in a file, for each engine starts a process for each provider."""

    TOKENS = ("aws:iam/user:User", "aws:s3/bucket:Bucket")

    @pytest.fixture
    def kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        monkeypatch.setattr(schema, "_KEPT", tmp_path / "cache")
        monkeypatch.setattr(schema, "_known", {})
        yield tmp_path / "cache"
        for function in (schema._shape, schema.input_names, schema.output_names):
            function.cache_clear()

    def test_they_are_the_same_from_the_file(self, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        schema.prepare(self.TOKENS)
        (file,) = kept.iterdir()
        assert {token: shape.of(token) for token in self.TOKENS} == schema._known
        monkeypatch.setattr(schema, "_known", {})
        monkeypatch.setattr(shape, "of", None)
        schema.prepare(self.TOKENS)
        assert "forceDestroy" in schema.input_names(self.TOKENS[0])
        assert list(kept.iterdir()) == [file]

    def test_a_broken_file_is_made_anew(self, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        schema.prepare(self.TOKENS)
        (file,) = kept.iterdir()
        whole = file.read_text()
        file.write_text(whole[:100])
        monkeypatch.setattr(schema, "_known", {})
        schema.prepare(self.TOKENS)
        assert file.read_text() == whole

    def test_a_folder_that_cannot_be_written_is_no_error(self, kept: Path) -> None:
        kept.write_text("in the way")
        schema.prepare(self.TOKENS)
        assert schema.output_names(self.TOKENS[0])
