"""The configuration: what is right is taken, what is wrong is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pulumi
import pytest
import yaml
from pydantic_core import PydanticUndefined

from config import stack
from config.errors import report
from config.model import Deployment, Rotate
from config.parsing import parse
from tests.configurations import CREATED, SHARED, certificate, changed, deployment, drop, per_site, put
from tests.invalid_configs.configurations import AWS, KEYS, LONDON, TOKYO, TOKYO_HOSTS, TOKYO_NODE
from tests.invalid_configs.storages import swift

KEY = certificate("x")["private_key"]


def test_all_wrong_values_are_reported_at_once_and_then_all_contradictions() -> None:
    """What values say together is checked when each is valid: no error is about a value that nobody wrote."""
    right = changed(SHARED, put(*LONDON, "read_only", to=True))
    right = changed(right, drop(*TOKYO_NODE, "host"))
    raw = changed(right, drop("storage", "mode"))
    raw = changed(raw, put("stroage", to=1))
    raw = changed(raw, put(*TOKYO, "external_url", to="gitlab.tokyo.example.com/path"))
    assert {e.key for e in parse(raw)[1]} == {"storage.mode", "stroage", "sites.tokyo.external_url"}
    errors = parse(right)[1]
    assert {e.key for e in errors} == {"sites.london.read_only", "sites.tokyo.nodes.tokyo-1.host"}
    text = report("Pulumi.dev.yaml", errors)
    assert text.startswith("Pulumi.dev.yaml has 2 errors; nothing was touched.\n  sites.")


def test_without_a_primary_no_site_is_refused_as_a_secondary() -> None:
    """The site that is meant may hold a key that a secondary must not; what is wrong with any site is reported."""
    raw = changed(swift(), put(*LONDON, "credentials", "swift", "secretkey", to="x"))
    raw = changed(raw, put(*LONDON, "external_registry", to={}))
    assert {e.key for e in parse(raw)[1]} == {"sites.london.nodes.london-1.roles"}
    raw = changed(raw, put("primary", to="lodnon"))
    assert {e.key for e in parse(raw)[1]} == {"primary", "sites.london.nodes.london-1.roles"}


def test_the_nearest_known_key_is_told_of_the_form_that_is_meant() -> None:
    """A driver in capitals is meant as a driver; a bucket beside a driver is not reported to be a bucket."""
    near = {p.key: p.example for p in parse(changed(per_site(), put(*TOKYO, "storage", to={"S3": {}})))[1]}
    assert near["sites.tokyo.storage.S3"] == "s3 (did you mean this?)"
    known = {
        p.key: p.expectation for p in parse(changed(per_site(), put(*TOKYO, "storage", "gcs", to={})))[1]
    }
    assert known["sites.tokyo.storage.bucket"].startswith("one of azure, ")
    [error] = parse(changed(per_site(), put(*TOKYO, "storage", "optoins", to={})))[1]
    assert error.example == "options (did you mean this?)"


def test_a_key_that_is_needed_and_misspelt_is_one_mistake() -> None:
    """One that is missing beside a word that is meant otherwise is reported anyway."""
    for path, key, typo in (((), "primary", "primry"), (TOKYO, "external_url", "external-url")):
        raw = changed(changed(SHARED, drop(*path, key)), put(*path, typo, to="london"))
        [error] = parse(raw)[1]
        assert (error.key, error.example) == (".".join([*path, typo]), f"{key} (did you mean this?)")
    raw = changed(changed(SHARED, drop(*TOKYO, "external_url")), put(*TOKYO, "color", to="red"))
    assert {p.key for p in parse(raw)[1]} == {"sites.tokyo.external_url", "sites.tokyo.color"}


def test_a_certificate_with_a_wildcard_fits() -> None:
    """And so does one that names both hosts."""
    for hosts in (TOKYO_HOSTS, ("*.tokyo.example.com",)):
        assert parse(changed(CREATED, put(*AWS, "tls", to=certificate(*hosts))))[0]


def test_no_secret_is_repeated_in_a_report() -> None:
    """A wrong value that may be secret is reported as [secret], also inside a mapping that is wrong as a whole."""
    raw = changed(SHARED, put(*TOKYO, "s3_keys", to={**KEYS, "secret_key": ["s3cr3t-value"]}))
    raw = changed(raw, put("ssh", to={"private_key": 5, "user": {"private_key": "s3cr3t-value"}}))
    text = report("Pulumi.dev.yaml", parse(raw)[1])
    assert "s3_keys.secret_key" in text
    assert "s3cr3t-value" not in text


@pytest.mark.parametrize("stack", ["dev", "existing", "replicated"])
def test_the_committed_stacks_are_right(stack: str) -> None:
    """The examples that users start from are taken as they are."""
    provided = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    own = {
        k.removeprefix("gitlab-geo-registry:"): v for k, v in provided.items() if k.startswith("gitlab-geo")
    }
    parsed = deployment(own)
    assert parsed.primary == "london"
    assert set(parsed.sites) == {"london", "tokyo"}


def test_every_top_level_key_is_described_in_the_project_file() -> None:
    """`pulumi config` and editors know the keys of the typed model, and no others."""
    described = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    described.pop("pulumi:tags", None)  # of a project that `pulumi new` made
    assert set(described) == set(Deployment.model_fields)
    assert all(entry["description"] for entry in described.values())
    for key, field in Deployment.model_fields.items():
        default = (
            field.default.model_dump(exclude_defaults=True) if key in ("ssh", "rotate") else field.default
        )
        assert described[key].get("default", PydanticUndefined) == default, key
    for counter in Rotate.model_fields:
        assert counter in described["rotate"]["description"]


def test_scalars_that_pulumi_hands_over_as_text_are_values_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`replication: false` is no text, `gitlab_version: 18.10` is no number, and foreign namespaces are not read."""
    stored = {
        "gitlab-geo-registry:replication": "false",
        "gitlab-geo-registry:gitlab_version": "18.10",
        "gitlab-geo-registry:primary": "london",
        "gitlab-geo-registry:storage": '{"mode": "shared"}',
        "aws:region": "eu-west-1",
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(stored))
    assert stack._raw(pulumi.Config("gitlab-geo-registry")) == {
        "replication": False,
        "gitlab_version": "18.10",
        "primary": "london",
        "storage": {"mode": "shared"},
    }


def test_a_map_deeper_than_python_copies_is_reported_where_it_goes_wrong() -> None:
    """And is not a traceback."""
    deep = json.loads('{"a":' * 900 + "1" + "}" * 900)
    assert [e.key for e in parse({**SHARED, "ssh": deep})[1]] == ["ssh.a"]


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "{", "nul", "", "\u2028", "'"])
def test_text_that_is_no_value_stays_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Also what looks like JSON and is too deep or too long for Python: the model then says what is wrong."""
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({"x:storage": text, "x:proof": text}))
    assert stack._raw(pulumi.Config("x")) == {"storage": text, "proof": text}


def test_ssh_settings_of_a_node_win_over_its_sites_and_those_over_the_stacks() -> None:
    """The nearer setting wins, field by field; a key provided nearer replaces the other kind of key."""
    raw = changed(SHARED, put("ssh", to={"user": "ubuntu", "port": 22, "private_key_file": "~/.ssh/a"}))
    raw = changed(raw, put(*TOKYO, "ssh", to={"port": 2222, "private_key": KEY}))
    raw = changed(raw, put(*TOKYO_NODE, "ssh", to={"user": "root"}))
    ssh = deployment(raw).ssh_of("tokyo", "tokyo-1")
    assert (ssh.user, ssh.port, ssh.private_key_file) == ("root", 2222, None)
    assert ssh.private_key is not None and ssh.private_key.get_secret_value() == KEY
