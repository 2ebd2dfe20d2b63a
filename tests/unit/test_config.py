"""The configuration: what is right is taken, what is wrong is told, all of it at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import config
from config import parse
from omnibus.model import Deployment
from omnibus.problems import report
from tests.configurations import CREATED, SHARED, certificate, changed, deployment, drop, per_site, put
from tests.wrong.configurations import AWS, KEYS, LONDON, TOKYO, TOKYO_HOSTS, TOKYO_NODE
from tests.wrong.storages import swift

KEY = certificate("x")["private_key"]

pytestmark = pytest.mark.unit


def test_all_problems_are_told_at_once() -> None:
    """Shape and contradictions come in one report, not one after the other."""
    raw = changed(SHARED, drop(*TOKYO_NODE, "host_key"))
    raw = changed(raw, put("stroage", to=1))
    raw = changed(raw, put(*LONDON, "read_only", to=True))
    raw = changed(raw, put(*TOKYO, "external_url", to="gitlab.tokyo.example.com/path"))
    text = report("Pulumi.dev.yaml", parse(raw)[1])
    wrong = ("nodes.tokyo-1.host_key", "stroage", "tokyo.external_url", "london.read_only")
    for key in wrong:
        assert key in text
    assert "nothing was touched" in text


def test_nothing_is_told_of_a_value_that_nobody_wrote() -> None:
    """What goes by a wrong value is left out: no version that stands for one with a typo, no site that is none."""
    for change, key in (
        (put("gitlab_version", to="16.x"), "gitlab_version"),
        (put("storage", "mode", to="per-site"), "storage.mode"),
        (put("primary", to="lodnon"), "primary"),
        (put("storage", "swift", "authurl", to=""), "storage.swift.authurl"),
        (drop("storage", "swift"), "storage.s3"),
    ):
        raw = changed(swift(), put(*LONDON, "credentials", "swift", "secretkey", to="x"))
        assert [p.key for p in parse(changed(raw, change))[1]] == [key]
    raw = changed(CREATED, put(*AWS, "tls", to=certificate(*TOKYO_HOSTS)))
    assert [p.key for p in parse(changed(raw, drop(*TOKYO, "registry_url")))[1]] == [
        "sites.tokyo.registry_url"
    ]
    raw = changed(SHARED, put("gitlab_version", to="x"))
    told = {p.key for p in parse(changed(raw, drop(*TOKYO_NODE, "host_key")))[1]}
    assert told == {"gitlab_version", "sites.tokyo.nodes.tokyo-1.host_key"}


def test_what_is_wrong_in_a_list_hides_nothing_else() -> None:
    """An address that is no range, and ranges that overlap: both are told."""
    raw = changed(CREATED, put(*AWS, "admin_cidrs", to=["198.51.100.7"]))
    told = {p.key for p in parse(changed(raw, put(*AWS, "cidr", to="10.110.0.0/16")))[1]}
    assert {"sites.tokyo.aws.admin_cidrs.0", "sites.tokyo.aws.cidr"} <= told
    told = {p.key for p in parse(changed(raw, drop(*AWS, "admin_cidrs")))[1]}
    assert "sites.tokyo.aws.admin_cidrs" in told


def test_the_nearest_known_key_is_told_of_the_form_that_is_meant() -> None:
    """A driver in capitals is meant as a driver; a bucket beside a driver is not told to be a bucket."""
    near = {p.key: p.example for p in parse(changed(per_site(), put(*TOKYO, "storage", to={"S3": {}})))[1]}
    assert near["sites.tokyo.storage.S3"] == "s3 (did you mean this?)"
    near = {p.key: p.example for p in parse(changed(per_site(), put(*TOKYO, "storage", "gcs", to={})))[1]}
    assert near["sites.tokyo.storage.bucket"].startswith("known here: azure, ")
    [problem] = parse(changed(per_site(), put(*TOKYO, "storage", "optoins", to={})))[1]
    assert problem.example == "options (did you mean this?)"


def test_a_key_that_is_needed_and_misspelt_is_one_mistake() -> None:
    """One that is missing beside a word that is meant otherwise is told all the same."""
    for path, key, typo in (((), "primary", "primry"), (TOKYO, "external_url", "external-url")):
        raw = changed(changed(SHARED, drop(*path, key)), put(*path, typo, to="london"))
        [problem] = parse(raw)[1]
        assert (problem.key, problem.example) == (".".join([*path, typo]), f"{key} (did you mean this?)")
    raw = changed(changed(SHARED, drop(*TOKYO, "external_url")), put(*TOKYO, "colour", to="red"))
    assert {p.key for p in parse(raw)[1]} == {"sites.tokyo.external_url", "sites.tokyo.colour"}


def test_a_certificate_with_a_wildcard_fits() -> None:
    """And so does one that names both hosts."""
    for hosts in (TOKYO_HOSTS, ("*.tokyo.example.com",)):
        assert parse(changed(CREATED, put(*AWS, "tls", to=certificate(*hosts))))[0]


def test_no_secret_is_repeated_in_a_report() -> None:
    """A wrong value that may be secret is told as [secret], also inside a mapping that is wrong as a whole."""
    raw = changed(SHARED, put(*TOKYO, "s3_keys", to={**KEYS, "secret_key": ["s3cr3t-value"]}))
    raw = changed(raw, put("ssh", to={"private_key": 5, "user": {"private_key": "s3cr3t-value"}}))
    text = report("Pulumi.dev.yaml", parse(raw)[1])
    assert "s3_keys.secret_key" in text
    assert "s3cr3t-value" not in text


@pytest.mark.parametrize("stack", ["dev", "existing", "replicated"])
def test_the_committed_stacks_are_right(stack: str) -> None:
    """The examples that users start from are taken as they are."""
    given = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    own = {k.removeprefix("gitlab-geo-registry:"): v for k, v in given.items() if k.startswith("gitlab-geo")}
    parsed = deployment(own)
    assert parsed.primary == "london"
    assert set(parsed.sites) == {"london", "tokyo"}


def test_every_top_level_key_is_described_in_the_project_file() -> None:
    """`pulumi config` and editors know the keys of the typed model, and no others."""
    described = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    assert set(described) == set(Deployment.model_fields)
    assert all(entry["description"] for entry in described.values())


def test_scalars_that_pulumi_hands_over_as_text_are_values_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`replication: false` is no text, `gitlab_version: 18.10` is no number, and foreign namespaces are not read."""
    stored = {
        "gitlab-geo-registry:replication": "false",
        "gitlab-geo-registry:gitlab_version": "18.10",
        "gitlab-geo-registry:primary": "london",
        "gitlab-geo-registry:storage": '{"mode": "shared"}',
        "aws:region": "eu-west-1",
    }
    monkeypatch.setattr(config, "_all_config", lambda: stored)
    assert config._raw("gitlab-geo-registry") == {
        "replication": False,
        "gitlab_version": "18.10",
        "primary": "london",
        "storage": {"mode": "shared"},
    }


def test_a_mapping_deeper_than_python_copies_is_told_where_it_goes_wrong() -> None:
    """The rest is looked at as well."""
    deep = json.loads('{"a":' * 900 + "1" + "}" * 900)
    raw = {**changed(SHARED, put(*LONDON, "read_only", to=True)), "ssh": deep}
    assert {p.key for p in parse(raw)[1]} == {"ssh.a", "sites.london.read_only"}


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "{", "nul", "", "\u2028", "'"])
def test_text_that_is_no_value_stays_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Also what looks like JSON and is too deep or too long for Python: the model then says what is wrong."""
    monkeypatch.setattr(config, "_all_config", lambda: {"x:storage": text, "x:proof": text})
    assert config._raw("x") == {"storage": text, "proof": text}


def test_ssh_settings_of_a_node_win_over_its_sites_and_those_over_the_stacks() -> None:
    """The nearer setting wins, field by field; a key given nearer replaces the other kind of key."""
    raw = changed(SHARED, put("ssh", to={"user": "ubuntu", "port": 22, "private_key_file": "~/.ssh/a"}))
    raw = changed(raw, put(*TOKYO, "ssh", to={"port": 2222, "private_key": KEY}))
    raw = changed(raw, put(*TOKYO_NODE, "ssh", to={"user": "root"}))
    ssh = deployment(raw).ssh_of("tokyo", "tokyo-1")
    assert (ssh.user, ssh.port, ssh.private_key_file) == ("root", 2222, None)
    assert ssh.private_key is not None and ssh.private_key.get_secret_value() == KEY
