"""Each message of the program's own, beside those of a configuration that is wrong by itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pytest

from omnibus.problems import Problem
from tests.components import recording
from tests.components.recording import KEPT, SERVERS, record
from tests.configurations import CREATED, HOST_KEY, SHARED, certificate, changed, per_site, put
from tests.told import ROOT, Told, places
from tests.wrong.every import WRONG

pytestmark = pytest.mark.components

NO_KEY = certificate("x")["private_key"]  # EC2 takes no EC keys
SIDEKIQ = {"host": "10.20.0.12", "host_key": HOST_KEY, "roles": ["sidekiq"]}
KEPT_BOTH = per_site()
for _site in KEPT_BOTH["sites"].values():
    _site["storage"] = "keep"
TOLD: list[tuple[str, dict[str, Any], str]] = [
    ("a configuration that is wrong", WRONG[0].raw, "Pulumi.dev.yaml has 1 problem; nothing was touched"),
    ("a version without an image", changed(CREATED, put("gitlab_version", to="99.9.9")), "has no image of GitLab EE 99.9.9"),
    ("a zone of somebody else's", changed(CREATED, put("sites", "london", "aws", "hosted_zone", to="com")), "'com' is no public Route 53 zone of this account"),
    ("another kind of processor", changed(CREATED, put("sites", "london", "aws", "instance_type", to="c7g.large")), "the server of london-1 (i-london-1-server) has another processor"),
    ("AWS does not answer", changed(CREATED, put("gitlab_version", to="18.5.9")), "check the credentials in your environment"),
    ("AWS answers too many", changed(CREATED, put("gitlab_version", to="18.5.8")), "wait some minutes and run the same command again"),
    ("another service answers too many", changed(CREATED, put("gitlab_version", to="18.5.6")), "The credentials are not the cause"),
    ("AWS denies it", changed(CREATED, put("gitlab_version", to="18.5.7")), "give the role the action that is named: ci/preview-role.json"),
    ("a key that no server takes", changed(CREATED, put("ssh", to={"private_key": NO_KEY})), "[secret] is no key for a server to be created"),
    ("a key file that is not there", changed(SHARED, put("ssh", "private_key_file", to="/nowhere/key")), "/nowhere/key cannot be read (No such file or directory)"),
    ("a key file that holds none", changed(SHARED, put("ssh", "private_key_file", to="/etc/passwd")), "/etc/passwd is no private key"),
    ("a key file that is no text", changed(SHARED, put("ssh", "private_key_file", to="/usr/bin/env")), "/usr/bin/env cannot be read (it is no text)"),
    ("one operation at a time", {**changed(SHARED, put("sites", "tokyo", "nodes", "tokyo-2", to=SIDEKIQ)), "parallel": 1}, "--parallel 1: GitLab's nodes and the registry's prove each other"),
    ("two kept storages that are one", KEPT_BOTH, "london and tokyo keep their images in one place"),
]  # fmt: skip


def _told(raw: dict[str, Any]) -> str:
    """What stops the program; `parallel` beside the configuration is how much the engine does at a time."""
    given = {key: value for key, value in raw.items() if key != "parallel"}
    with pytest.raises(pulumi.RunError) as told:
        record(given, parallel=raw.get("parallel"))
    return str(told.value)


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
    monkeypatch.setitem(SERVERS, "london-1-server", "x86_64")
    for site in ("london", "tokyo"):
        monkeypatch.setitem(KEPT, f"{site}-kept-storage", ["a-machine", "registry"])
    yield
    # What a failed program leaves waiting is reported when it is collected: not after the last test.
    gc.collect()


@pytest.mark.parametrize(("raw", "text"), [t[1:] for t in TOLD], ids=[t[0] for t in TOLD])
def test_what_stops_the_program_says_what_to_do(cloud: None, raw: dict[str, Any], text: str) -> None:
    """Without a traceback, and without the secret that is wrong."""
    told = _told(raw)
    assert text in told
    assert ("credentials in your environment" in told) == ("credentials in your environment" in text)
    assert "s3cr3t-value" not in told


def test_every_message_in_the_source_is_in_the_table(cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one needs a line there."""
    sources = [ROOT / "config.py", ROOT / "__main__.py", *sorted(Path(ROOT / "components").glob("*.py"))]
    refusals, problems = Told(monkeypatch, pulumi.RunError), Told(monkeypatch, Problem)
    for _, raw, _ in TOLD:
        _told(raw)
    known = places(sources, "RunError")
    assert len(known) > 4
    assert refusals.missing(known) == []
    assert problems.missing(places(sources, "Problem")) == []
