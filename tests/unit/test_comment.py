"""The preview as a comment. Inputs are what the engine said in the lab (tests/unit/golden/capture.py)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tools.comment import __main__ as comment
from tools.comment import sanitize as text
from tools.comment.changes import UNKNOWN, Change, parse
from tools.comment.markdown import LIMIT, marker, render
from tools.comment.resource_index import ResourceIndex

GOLDEN = Path(__file__).parent / "golden"
COMPONENTS = Path(__file__).resolve().parents[2] / "components"

STATUS = {
    "first": 2,
    "no-change": 0,
    "new-setting": 2,
    "one-node": 2,
    "new-secondary": 2,
    "removed-site": 3,
    "replaced-instance": 3,
    "larger-instance": 2,
    "protected-instance": 1,
    "bucket-retained": 3,
    "bucket-changed": 3,
    "bucket-replaced": 3,
    "moved-node": 3,
    "promoted": 2,
    "rotated": 3,
    "wrong-configuration": 1,
    "drift": 2,
    "external-first": 2,
    "external-issuer": 2,
    "external-manual": 3,
}


def said(name: str) -> str:
    """The engine's JSON for a kind of change."""
    return (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


def compare(name: str, made: str) -> None:
    """With the golden file; GOLDEN=write creates it again."""
    file = GOLDEN / f"{name}.md"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8")


def copies(name: str, count: int, op: str) -> str:
    """The JSON of a kind of change with every step of that operation in it so many times, under other names."""
    document = json.loads(said(name))
    steps = [step for step in document["steps"] if step["op"] == op]
    more = [json.loads(json.dumps(s).replace("tokyo", f"tokyo{n}")) for n in range(count) for s in steps]
    return json.dumps({**document, "steps": [*document["steps"], *more]})


@pytest.mark.parametrize("name", STATUS)
def test_each_kind_of_change_as_a_comment(name: str) -> None:
    """As in its golden file; the exit status tells the kind."""
    preview = parse(said(name), "prod")
    compare(name, render(preview))
    assert comment.status(preview) == STATUS[name]


def test_a_comment_that_would_be_too_long_keeps_what_is_dangerous() -> None:
    """The rest is left out by sections, and the comment says which."""
    made = render(parse(copies("removed-site", 9, "delete"), "prod"), limit=10_000)
    compare("too-long", made)
    assert len(made) <= 9_000
    for n in range(9):
        assert f"`registry-tokyo{n}-storage-user`" in made
    assert "omitted here" in made


@pytest.mark.parametrize("count", [40, 150, 1500])
def test_no_number_of_deletions_is_too_long_for_github(count: int) -> None:
    """Each is named while names fit; then every kind keeps its number and what is lost."""
    made = render(parse(copies("removed-site", count, "delete"), "prod"))
    assert len(made) <= LIMIT == 65_536
    if count <= 150:
        assert made.count("-storage-key`") == count + 1
    else:
        assert f"**DELETED** {count + 1} × access key (listed in the log of the job): requests that" in made


def test_neither_warnings_nor_kinds_are_too_long_for_github() -> None:
    """What is deleted is there whatever else the engine says, and counted where it is of too many kinds."""
    warned = [{"severity": "warning", "message": "w " * 50_000}] * 5
    document = json.loads(said("replaced-instance")) | {"diagnostics": warned}
    made = render(parse(json.dumps(document), "prod"))
    assert len(made) <= LIMIT
    assert "**REPLACED**" in made
    kinds = [
        {"op": "delete", "urn": f"urn:pulumi:prod::x::aws:svc{n}/t:Type{n}{'x' * 40}::r{n}"}
        for n in range(3000)
    ]
    made = render(parse(json.dumps({"steps": kinds}), "prod"))
    assert len(made) <= LIMIT
    assert "**DELETED** 3000 resources" in made


def test_a_plugin_that_does_not_end_in_time_is_no_failure() -> None:
    """The engine calls it an error when its work is done, and ends with 0 (seen in tests/e2e/test_comment.py)."""
    ended = (
        "error: Detected that /home/x/resource-{0}-v1/pulumi-resource-{0} exited prematurely. \n"
        "       This is *always* a bug in the provider. Please report the issue to the provider author.\n"
        "       To assist with debugging we have dumped the STDOUT and STDERR streams of the plugin:{1}\n\n"
    )
    said_of = [("aws", ""), ("command", ""), ("aws", "")]
    diagnostics = [{"severity": "error", "message": ended.format(*one)} for one in said_of]
    document = json.loads(said("no-change"))
    preview = parse(json.dumps(document | {"diagnostics": diagnostics}), "prod")
    assert comment.status(preview) == 0
    shown = render(preview)
    assert "nothing would change" in shown
    assert "not stop cleanly: pulumi-resource-aws, pulumi-resource-command\n" in shown
    token = "glpat-" + "x" * 20
    crashed = [
        {"severity": "error", "message": "error: rpc error: code = Unavailable desc = error reading"},
        {"severity": "error", "message": ended.format("aws", f"panic: {token}")},
    ]
    preview = parse(json.dumps(document | {"diagnostics": crashed}), "prod")
    assert comment.status(preview) == 1
    assert preview.errors == ("rpc error: code = Unavailable desc = error reading",)
    assert "pulumi-resource-aws: panic: (secret)" in render(preview)


def test_the_first_line_is_hidden_and_the_same_for_every_kind() -> None:
    """By it the comment is found again; another stack's has another."""
    lines = {render(parse(said(name), "prod")).splitlines()[0] for name in STATUS}
    assert lines == {marker("prod")}
    assert marker("prod").startswith("<!--") and marker("prod") != marker("dev")
    assert "-->" not in marker("x --> y")[:-3]


def planted(value: str) -> str:
    """Settings of a node that change, and a value everywhere where an engine might put a secret."""
    document: dict[str, Any] = json.loads(said("one-node"))
    for step in document["steps"]:
        for side in ("oldState", "newState"):
            if "Command" in step["urn"]:
                step[side]["inputs"] |= {
                    "stdin": value + side,
                    "create": value + side,
                    "connection": {"privateKey": value + side},
                }
                step[side]["outputs"] = {"stdout": value}
    update = next(s for s in json.loads(said("larger-instance"))["steps"] if "Instance" in s["urn"])
    for side in ("oldState", "newState"):
        update[side]["inputs"] |= {
            "userData": value + side,
            "passwordData": value + side,
            "tags": {"a": value + side},
        }
    return json.dumps({**document, "steps": [*document["steps"], update]})


def test_a_step_that_was_taken_is_no_danger_when_it_goes() -> None:
    """The end of a rotation takes nothing back on a node."""
    names = ("registry-tokyo-1-trust-12", "registry-tokyo-1-verification", "registry-tokyo-1-settings")
    dangers = [Change("delete", "command:remote:Command", name).dangerous for name in names]
    assert dangers == [False, False, True]


def test_what_a_command_is_sent_is_never_shown() -> None:
    """Not even if the engine had not marked it: its inputs are not read. Names of AWS' inputs are."""
    preview = parse(planted("hunter2"), "prod")
    assert not any("hunter2" in str(change.values) for change in preview.changes)
    made = render(preview)
    assert "hunter2" not in made
    assert "instanceType `c6i.2xlarge` → `c6i.4xlarge`" in made
    assert "userData" in made


def test_what_the_engine_marks_as_secret_stays_so() -> None:
    """Also a value that becomes one, or is one no longer; and what is not known yet is said to be."""
    document = json.loads(said("larger-instance"))
    for step in document["steps"]:
        if "Instance" in step["urn"]:
            step["oldState"]["inputs"] |= {"keyName": text.SECRET, "availabilityZone": "eu-west-2a"}
            step["newState"]["inputs"] |= {"keyName": "plain", "availabilityZone": UNKNOWN}
    made = render(parse(json.dumps(document), "prod"))
    assert "keyName `(secret)` → `plain`" in made
    assert "`eu-west-2a` → `(known after apply)`" in made
    assert text.SECRET not in made and UNKNOWN not in made


def test_keys_and_tokens_in_a_message_are_masked() -> None:
    """A message of an API may quote what it was sent."""
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"
    words = f"refused: {key} with glpat-{'a' * 20} and ghp_{'b' * 36}"
    document = {"steps": [], "diagnostics": [{"severity": "error", "message": words}]}
    made = render(parse(json.dumps(document), "prod"))
    assert "refused: (secret) with (secret) and (secret)" in made


def test_a_key_without_its_end_takes_nothing_else_with_it() -> None:
    """A value in a message is cut; what stands behind it is what the reader needs."""
    words = f"host_key: '-----BEGIN OPENSSH PRIVATE KEY-----\\n{'b' * 30}…'\n{'c' * 70}\n    why: the key is wrong"
    said = [
        {"severity": "error", "message": text} for text in (words, "second: https://u:hunter2@x.example.com")
    ]
    made = render(parse(json.dumps({"steps": [], "diagnostics": said}), "prod"))
    assert "host_key: '(secret)\n    why: the key is wrong" in made
    assert "second: https://(secret)@x.example.com" in made
    assert "bbb" not in made and "ccc" not in made and "hunter2" not in made
    assert made.count("```") == 4
    assert made.rstrip().endswith("</sub>")


def test_foreign_text_stays_text() -> None:
    """Neither a fence nor a table is left, nobody is called, nothing is hidden."""
    assert text.code("a`|b\n@all") == "`a’\\|b @all`"
    assert text.inline("<!-- @all **x** [y](z)") == "!-- all x y(z)"
    assert text.fenced(["```", "x"], "diff") == ["````diff", "```", "x", "````"]
    document = json.loads(said("one-node"))
    for step in document["steps"]:
        if "Node::" in step["urn"]:
            step["newState"]["inputs"]["settings"]["x"] = "'\n```\n# @all'"
    made = render(parse(json.dumps(document), "prod"))
    assert "+x = ' ⏎ ``` ⏎ # @all'" in made and "````diff" in made


def test_an_engine_that_says_nothing_useful_is_a_failed_preview() -> None:
    """Its other output is the reason, for example a stack file that is not a YAML."""
    preview = parse("", "prod", "error: getting stack configuration: invalid YAML file")
    assert "invalid YAML file" in render(preview)
    assert comment.status(preview) == comment.ERROR
    assert comment.status(parse("[]", "prod")) == comment.ERROR
    for odd in ('{"steps": [{}]}', '{"steps": [{"op": "create"}]}', '{"diagnostics": [3]}'):
        assert comment.status(parse(odd, "prod")) == comment.ERROR
    nothing = {"steps": [], "diagnostics": [{"severity": "error", "message": None}]}
    assert comment.status(parse(json.dumps(nothing), "prod")) == comment.SAME
    with pytest.raises(SystemExit) as ended:
        comment.main(["--stack", "prod", "--json", "/nowhere"])
    assert ended.value.code == comment.ERROR


def test_what_is_not_known_yet_is_said_so() -> None:
    """Settings as a whole, or one of them."""
    for settings in (UNKNOWN, {"x": UNKNOWN}):
        document = json.loads(said("one-node"))
        for step in document["steps"]:
            if "Node::" in step["urn"]:
                step["newState"]["inputs"]["settings"] = settings
        made = render(parse(json.dumps(document), "prod"))
        assert UNKNOWN not in made
        assert settings == UNKNOWN or "+x = (known after apply)" in made


def database(op: str) -> str:
    """The JSON of a preview that deletes or replaces a site's created database and an unimportant resource."""
    of_site = "gitlabgeo:index:GeoContainerRegistry$gitlabgeo:index:AwsDatabase"
    urn = f"urn:pulumi:dev::gitlab-geo-registry::{of_site}"
    state = {"inputs": {}, "parent": f"{urn}::registry-tokyo"}
    steps = [
        {"op": op, "urn": f"{urn}${kind}::registry-tokyo-database-{name}", "oldState": state}
        for kind, name in (
            ("aws:ec2/routeTable:RouteTable", "routes"),
            ("pulumi-python:dynamic/gitlabgeo:Notice", "snapshot"),
            ("aws:rds/instance:Instance", "server"),
        )
    ]
    config = json.loads(said("one-node"))["config"]
    return json.dumps({"config": config, "steps": steps})


@pytest.mark.parametrize(
    ("op", "impact"),
    [
        ("delete", "**and with it the metadata of the site's images**; its final snapshot remains in AWS"),
        ("replace", "a new, empty database replaces it, and **no image metadata is copied**"),
    ],
)
def test_what_is_lost_with_a_database_comes_first(op: str, impact: str) -> None:
    """The registry cannot serve an image without its metadata."""
    made = render(parse(database(op), "prod"))
    (first, *others) = [line for line in made.splitlines() if line.startswith("- **")]
    assert "metadata database `registry-tokyo-database-server` (`tokyo`): " in first and impact in first
    assert all("(`tokyo`)" in other for other in others)


def test_every_component_has_its_site() -> None:
    """Except those of all sites."""
    tokens = {
        token
        for file in COMPONENTS.glob("*.py")
        for token in re.findall(r'"gitlabgeo:index:(\w+)"', file.read_text(encoding="utf-8"))
    }
    of_all = {"GeoContainerRegistry", "RegistrySecrets", "RegistryStorage"}
    of_all |= {"RegistryBucket", "RegistryTrust", "ExistingStorage", "LockFile"}
    assert tokens - of_all == {*ResourceIndex.NODE, *ResourceIndex.SITE}


def test_sites_that_are_one_secret_are_found_by_the_changed_nodes() -> None:
    """The configuration tells nothing then; a node that changes tells its site itself."""
    document = json.loads(said("one-node"))
    document["config"] = dict.fromkeys(document["config"], text.SECRET)
    assert "| **`tokyo`** | `tokyo-1` | settings: 1 changed |" in render(parse(json.dumps(document), "prod"))


def test_the_commit_is_named() -> None:
    """The reader sees whether the comment is about the last push."""
    assert "Commit 0123456789. Created by" in render(
        parse(said("one-node"), "prod"), commit="0123456789abcdef"
    )


def test_the_program_prints_and_its_status_is_the_kind_of_change(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is an error too, not argparse's 2, which would say that something changes."""
    assert comment.main(["--stack", "prod", "--json", str(GOLDEN / "one-node.json")]) == 2
    assert capsys.readouterr().out == (GOLDEN / "one-node.md").read_text()
    for wrong, reported in ((["--stack", ""], "STACK is empty: name the stack"), ([], "--stack")):
        with pytest.raises(SystemExit) as ended:
            comment.main(wrong)
        assert ended.value.code == comment.ERROR
        assert reported in capsys.readouterr().err


def test_the_engine_is_not_given_the_tokens_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program gets what a preview needs: the stack's passphrase and the read-only role."""
    engine = tmp_path / "pulumi"
    engine.write_text('#!/bin/sh\nenv >&2; echo "$*" >&2; exit 1\n')
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("PREVIEW_COMMENT_TOKEN", "GITHUB_TOKEN", "AWS_ID_TOKEN", "AWS_ROLE_ARN"):
        monkeypatch.setenv(name, "provided")
    (seen,) = comment.run("prod", tmp_path, refresh=True).errors
    assert [line for line in seen.splitlines() if line.endswith("=provided")] == ["AWS_ROLE_ARN=provided"]
    assert "preview --json --non-interactive --stack prod --refresh" in seen


def test_an_engine_that_is_not_there_or_dies_without_a_word_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert comment.run("prod", tmp_path).errors == ("no pulumi on PATH: run this through make",)
    engine = tmp_path / "pulumi"
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o755)
    assert comment.run("prod", tmp_path).errors == ("pulumi printed nothing",)
    engine.write_text("#!/bin/sh\necho '{}'; exit 7\n")
    assert comment.run("prod", tmp_path).errors == ("pulumi preview ended with status 7",)
