"""Each message of the program's own, beside those of a configuration that is wrong by itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pytest

from config.errors import ConfigError
from plan import key_rotation
from plan.key_rotation import KeyRotation
from tests.components import recording
from tests.components.recording import INSTANCES, PAIRS, record
from tests.configurations import (
    CREATED,
    HOST_KEY,
    SHARED,
    certificate,
    changed,
    created_databases,
    per_site,
    put,
)
from tests.failures import of_components
from tests.invalid_configs.every import WRONG
from tests.message_coverage import ROOT, Reported, places

NO_KEY = certificate("x")["private_key"]  # EC2 takes no EC keys
SIDEKIQ = {"host": "10.20.0.12", "host_key": HOST_KEY, "roles": ["sidekiq"]}
KEPT_BOTH = per_site()
for _site in KEPT_BOTH["sites"].values():
    _site["storage"] = "keep"
REPORTED: list[tuple[str, dict[str, Any], str]] = [
    ("a configuration that is wrong", WRONG[0].raw, WRONG[0].code),
    ("a version without an image", changed(CREATED, put("gitlab_version", to="99.9.9")), "image-not-found"),
    ("a zone of somebody else's", changed(CREATED, put("sites", "london", "aws", "hosted_zone", to="com")), "hosted-zone-not-found"),
    ("one zone for a database", changed(created_databases(), lambda r: r["sites"].update(single=r["sites"].pop("tokyo"))), "database-zones-missing"),
    ("another kind of processor", changed(CREATED, put("sites", "london", "aws", "instance_type", to="c7g.large")), "architecture-mismatch"),
    ("AWS does not answer", changed(CREATED, put("gitlab_version", to="18.5.9")), "aws-request-failed"),
    ("AWS answers too many", changed(CREATED, put("gitlab_version", to="18.5.8")), "aws-request-throttled"),
    ("another service answers too many", changed(CREATED, put("gitlab_version", to="18.5.6")), "aws-request-throttled"),
    ("AWS denies it", changed(CREATED, put("gitlab_version", to="18.5.7")), "aws-request-denied"),
    ("a key that no instance takes", changed(CREATED, put("ssh", to={"private_key": NO_KEY})), "login-key-unusable"),
    ("a key file that is not there", changed(SHARED, put("ssh", "private_key_file", to="/nowhere/key")), "ssh-key-file-unreadable"),
    ("a key file that holds none", changed(SHARED, put("ssh", "private_key_file", to="/etc/passwd")), "ssh-key-file-invalid"),
    ("a key file that is not a text", changed(SHARED, put("ssh", "private_key_file", to="/usr/bin/env")), "ssh-key-file-unreadable"),
    ("two kept storages that are one", KEPT_BOTH, "existing-storage-not-unique"),
    ("a rotation before the last one is finished", changed(SHARED, put("rotate", to={"registry_key": 2, "registry_key_finished": 1})), "rotation-unfinished"),
    ("a rotation that would be finished at once", changed(SHARED, put("rotate", to={"registry_key": 3, "registry_key_finished": 3})), "rotation-without-overlap"),
    ("a rotation that a node has not had", changed(SHARED, put("rotate", to={"registry_key": 1, "registry_key_finished": 1})), "rotation-incomplete"),
]  # fmt: skip


def _told(raw: dict[str, Any]) -> str:
    """What stops the program."""
    with pytest.raises(pulumi.RunError) as reported:
        record(raw)
    return str(reported.value)


class _Answer(grpc.RpcError):
    """A provider's refusal, as it comes over gRPC."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return str(self)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS without one of the zones, whose images of one version cannot be asked for; storages that are one."""
    answer = recording._Mocks.call

    def call(self: recording._Mocks, args: Any) -> Any:
        if args.args.get("name") == "com":
            raise _Answer("no matching Route 53 Hosted Zone found")
        if "GitLab EE 18.5.9" in str(args.args):
            raise _Answer("AuthFailure: AWS was not able to validate the provided access credentials")
        if "GitLab EE 18.5.8" in str(args.args):
            raise _Answer(
                "exceeded maximum number of attempts, 6, api error RequestLimitExceeded: Request limit exceeded."
            )
        if "GitLab EE 18.5.6" in str(args.args):
            raise _Answer("exceeded maximum number of attempts, 6, api error Throttling: Rate exceeded")
        if "GitLab EE 18.5.7" in str(args.args):
            raise _Answer(
                "api error UnauthorizedOperation: You are not authorized to perform: ec2:DescribeImages"
            )
        return answer(self, args)

    monkeypatch.setattr(recording._Mocks, "call", call)
    monkeypatch.setitem(INSTANCES, "london-1-instance", "x86_64")
    begun = key_rotation.first(KeyRotation(0, 0, 0), recording.ADOPTED)
    state = recording.rotated(begun, KeyRotation(1, 0, 0))
    for wanted in (KeyRotation(2, 1, 0), KeyRotation(1, 1, 0)):
        monkeypatch.setitem(PAIRS, wanted, state)
    monkeypatch.setitem(PAIRS, KeyRotation(3, 3, 0), {**state, "former": ""})
    yield
    # What a failed program leaves waiting is reported when it is collected: not after the last test.
    gc.collect()


@pytest.mark.parametrize(("raw", "code"), [t[1:] for t in REPORTED], ids=[t[0] for t in REPORTED])
def test_what_stops_the_program_has_its_code(cloud: None, raw: dict[str, Any], code: str) -> None:
    """Without a traceback, and without the secret that is wrong."""
    reported = _told(raw)
    assert f"[{code}]\n" in reported
    assert "s3cr3t-value" not in reported


def test_every_message_in_the_source_is_in_the_table(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one needs a line there."""
    sources = [
        ROOT / "config/stack.py",
        ROOT / "__main__.py",
        *sorted(Path(ROOT / "components").glob("*.py")),
    ]
    refusals, errors = Reported(monkeypatch, pulumi.RunError), Reported(monkeypatch, ConfigError)
    for _, raw, _ in REPORTED:
        _told(raw)
    known = places(sources, "RunError")
    assert len(known) > 4
    assert refusals.missing(known) == []
    assert errors.missing(places([*sources, ROOT / "plan/existing_storage.py"], "ConfigError")) == []
    assert {written.code for written in of_components()} == {code for _, _, code in REPORTED[1:]}
