"""A corpus of configurations: what is right is rendered as meant, what is wrong is reported, nothing is a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config import stack
from config.errors import ConfigError, report
from config.parsing import parse
from hosts.external_registry.document import read
from hosts.external_registry.edits import applied
from hosts.external_registry.rewrite import rewrite
from omnibus.ruby import filled, template
from plan import external_registry as external
from plan.node import node_settings
from tests.configurations import deployment
from tests.corpus import meant_external
from tests.corpus.anything import JSON, TOP, wild
from tests.corpus.broken import ANYHOW, SURELY, Broken, broken
from tests.corpus.contradictions import Contradiction, contradictions
from tests.corpus.expected_settings import HOST, Meant, everything
from tests.corpus.meant_external import CONFIGS
from tests.corpus.node import Omnibus
from tests.corpus.secrets import MADE, secrets_of
from tests.corpus.templates import Readers, config_yml, gitlab_yml, meant_config, meant_gitlab
from tests.corpus.valid import configurations
from tests.corpus.values import SECRET, Raw
from tests.examples import examples

# What is damaged may be read still, and be refused by a later version of cryptography.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@pytest.fixture(scope="module")
def ruby() -> Iterator[Omnibus]:
    with Omnibus() as omnibus:
        yield omnibus


# What an administrator's gitlab.rb may say of their registry before this program's settings are read.
THEIRS: list[Raw] = [
    {},
    {"storage": {"filesystem": {"rootdirectory": "/old"}}, "database": {"enabled": True}},
    {
        "issuer": "old",
        "storage": {"s3": {"bucket": "old"}, "gcs": {"bucket": "old"}, "redirect": {"disable": False}, "cache": {"a": 1}},
        "notifications": [{"name": "theirs", "url": "x"}, {"name": "geo_event", "headers": {"Authorization": ["old"]}}],
        "http_secret": "old",
        "token_realm": "old",
        "enable": False,
        "registry_http_addr": ":5001",
    },
    {"enable": None, "registry_http_addr": None},
    {"enable": "false", "registry_http_addr": "localhost:5001"},
]  # fmt: skip
DRIVERS = {"s3", "s3_v2", "gcs", "azure", "azure_v2", "swift", "oss", "filesystem"}


class Corpus:
    """Every node of a configuration, as omnibus would have it."""

    def __init__(self, ruby: Omnibus, raw: Raw, theirs: Raw) -> None:
        self.raw, self.d = raw, deployment(raw)
        self.nodes = [(site, node) for site, its in self.d.sites.items() for node in its.nodes]
        self.text = {name: self._text(*name) for name in self.nodes}
        self.secrets = {name: self._secrets(*name) for name in self.nodes}
        files = [(self.text[name], self.secrets[name], theirs) for name in self.nodes]
        self.found: dict[tuple[str, str], Raw] = dict(zip(self.nodes, ruby.settings(files), strict=True))

    def _text(self, site: str, node: str) -> str:
        """As the node gets it, with the address of a created database."""
        text: str = filled(template(node_settings(self.d, site, node).text), {"database_host": HOST})
        return text

    def _secrets(self, site: str, node: str) -> Raw:
        has = secrets_of(self.raw, site)
        return {name: has[name] for name in node_settings(self.d, site, node).secret_names}


@examples(100)
@given(raw=configurations(), theirs=st.sampled_from(THEIRS))
def test_what_is_right_is_taken_and_rendered_as_meant(ruby: Omnibus, raw: Raw, theirs: Raw) -> None:
    """Real Ruby has exactly the settings meant on each node, whatever gitlab.rb said before."""
    corpus = Corpus(ruby, raw, theirs)
    for (site, node), found in corpus.found.items():
        meant = Meant(raw, site, node, corpus.secrets[site, node], theirs).settings()
        assert found == meant


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with Readers() as found:
        yield found


@examples(60)
@given(raw=configurations(), theirs=st.sampled_from(THEIRS))
def test_the_files_that_omnibus_makes_of_it_are_read_as_meant(
    ruby: Omnibus, readers: Readers, raw: Raw, theirs: Raw
) -> None:
    """config.yml by the registry's, Rails' and the node's readers of YAML, gitlab.yml by Rails': no value changes its kind."""
    corpus = Corpus(ruby, raw, theirs)
    for (site, _), found in corpus.found.items():
        url = raw["sites"][site]["external_url"]
        if found.get("registry_external_url"):
            meant = meant_config(found, url)
            assert readers.read(config_yml(found, url)) == dict.fromkeys(readers.NAMES, meant)
        meant = meant_gitlab(found)
        assert readers.read(gitlab_yml(found)) == dict.fromkeys(readers.NAMES, meant)


@examples(100)
@given(raw=configurations(), theirs=st.sampled_from(THEIRS))
def test_sites_agree_where_they_must_and_nowhere_else(ruby: Omnibus, raw: Raw, theirs: Raw) -> None:
    """Keys, tokens and secrets of the whole; notifications at the primary, replication and reading at the others."""
    corpus = Corpus(ruby, raw, theirs)
    http: dict[str, set[str]] = {}
    for (site, node), found in corpus.found.items():
        registry, rails = found["registry"], found["gitlab_rails"]
        roles = {*corpus.d.sites[site].nodes[node].roles}
        primary, application = site == raw["primary"], roles != {"registry"}
        for key, name in (("internal_key", "registry_key"), ("internal_certificate", "registry_certificate")):
            assert registry[key] == MADE[name]
        token = MADE["notification_secret"]
        assert (rails.get("registry_notification_secret") == token) is (primary and application)
        replicated = {key for key in rails if key.startswith("geo_registry_replication_")}
        assert len(replicated) == (0 if not application else 1 if primary else 2)
        assert not (primary and rails.get("geo_registry_replication_enabled"))
        assert primary or token not in everything(found)
        if "registry" not in roles:
            assert registry["enable"] is False and registry.get("storage") == theirs.get("storage")
            continue
        geo_events = [e["headers"] for e in registry["notifications"] if e["name"] == "geo_event"]
        assert geo_events == ([{"Authorization": [token]}] if primary else [])
        assert registry["database"]["enabled"] is ("metadata_database" in raw["sites"][site])
        shared = raw["storage"]["mode"] == "shared"
        if not shared and raw["sites"][site]["storage"] == "keep":
            assert registry.get("storage") == theirs.get("storage")
            continue
        assert len(DRIVERS & registry["storage"].keys()) == 1
        http.setdefault("all" if shared else site, set()).add(registry["http_secret"])
        reads = registry["storage"].get("maintenance", {}).get("readonly") == {"enabled": True}
        assert reads or primary or not shared
        assert not (reads and primary)
    assert all(len(secrets) == 1 for secrets in http.values())
    assert len(set().union(*http.values())) == len(http)


@examples(100)
@given(raw=configurations())
def test_no_secret_is_in_a_settings_file_or_shown(ruby: Omnibus, raw: Raw) -> None:
    """And the secrets file holds those alone that the settings read."""
    corpus = Corpus(ruby, raw, {})
    shown = repr(corpus.d) + json.dumps(
        [[corpus.text[name], node_settings(corpus.d, *name).preview] for name in corpus.nodes]
    )
    keys = [
        site["aws"]["tls"]["private_key"]
        for site in raw["sites"].values()
        if "private_key" in site.get("aws", {}).get("tls", {})
    ]
    for word in (SECRET, "PRIVATE KEY", *(key.splitlines()[1] for key in keys)):
        assert word not in shown
    for name, secrets in corpus.secrets.items():
        read = everything(corpus.found[name])
        assert all(value in read for value in everything(secrets))


@examples(120)
@given(raw=configurations(), text=st.sampled_from(CONFIGS))
def test_an_external_registry_says_what_is_meant(raw: Raw, text: str) -> None:
    """Its config.yml after the edits, by a YAML reader of others; no secret is shown, and none sent for nothing."""
    d = deployment(raw)
    for site in [name for name, its in raw["sites"].items() if "external_registry" in its]:
        has, at = secrets_of(raw, site), "/etc/registry.crt"
        edits = external.edits(d, site, at)
        secrets = {name: has[name] for name in external.secret_names(edits)}
        after = rewrite(text, applied(read(text), filled(edits, secrets)))
        meant = meant_external.config(raw, site, has, yaml.safe_load(text), at)
        assert sorted_endpoints(yaml.safe_load(after)) == sorted_endpoints(meant)
        assert SECRET not in json.dumps(external.preview(edits))
        said = everything(meant)
        assert all(value in said for value in everything(secrets))
        assert MADE["notification_secret"] not in said or site == raw["primary"]


def sorted_endpoints(config: Raw) -> Raw:
    """Their order says nothing."""
    endpoints = config.get("notifications", {}).get("endpoints", [])
    return {**config, "notifications": sorted(endpoints, key=lambda its: str(its["name"]))}


def reported(raw: Raw) -> list[ConfigError]:
    """What is refused of a configuration: each with all its parts, and with no secret."""
    parsed, errors = parse(raw)
    assert (parsed is None) is bool(errors)
    for error in errors:
        assert error.key and error.value and error.expectation and error.consequence and error.example, error
    assert SECRET not in report("Pulumi.dev.yaml", errors)
    return errors


def related(one: str, other: str) -> bool:
    """The same place, or one within the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


@examples(160)
@given(wrong=broken(*SURELY))
def test_what_is_wrong_in_one_place_is_told_of_that_place_alone(wrong: Broken) -> None:
    """An unknown key, a missing one, a number out of range, a character too many, a misplaced secret."""
    keys = [error.key for error in reported(wrong.raw)]
    assert keys and all(related(key, wrong.key) for key in keys)


@examples(250)
@given(wrong=contradictions())
def test_what_contradicts_is_reported_by_key_and_code(wrong: Contradiction) -> None:
    """Each kind of contradiction, in any configuration in which it is possible."""
    assert wrong.codes & {error.code for error in reported(wrong.raw) if error.key in wrong.keys}, wrong.name


@examples(160)
@given(wrong=broken(*ANYHOW))
def test_whatever_stands_anywhere_is_rendered_as_meant_or_told(ruby: Omnibus, wrong: Broken) -> None:
    """Any JSON in place of any value, what is right elsewhere, a damaged certificate: never a Python error."""
    if not reported(wrong.raw):
        raw = given_only(wrong.raw)
        corpus = Corpus(ruby, raw, {})
        for (site, node), found in corpus.found.items():
            assert found == Meant(raw, site, node, corpus.secrets[site, node], {}).settings()


def given_only(value: Any) -> Any:
    """Without what is null, which is as good as left out."""
    if isinstance(value, dict):
        return {key: given_only(inner) for key, inner in value.items() if inner is not None}
    return [given_only(inner) for inner in value] if isinstance(value, list) else value


@examples(60)
@given(raw=wild())
def test_no_configuration_at_all_is_a_traceback(raw: Raw) -> None:
    """Any JSON as the whole of it or as some of its parts."""
    report("Pulumi.dev.yaml", parse(raw)[1])


def stored(raw: Raw) -> dict[str, str]:
    """A configuration as Pulumi keeps it: mappings as JSON, single values as their text."""
    return {f"x:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in raw.items()}


@examples(50)
@given(raw=configurations(), key=TOP, text=st.text() | JSON.map(json.dumps))
def test_what_pulumi_keeps_as_text_is_read_as_it_was_meant(raw: Raw, key: str, text: str) -> None:
    """And any text in place of any top-level value is taken or reported."""
    config = pulumi.Config("x")
    with patch.dict("os.environ", PULUMI_CONFIG=json.dumps(stored(raw))):
        assert stack._raw(config) == raw
    with patch.dict("os.environ", PULUMI_CONFIG=json.dumps({**stored(raw), f"x:{key}": text})):
        report("Pulumi.dev.yaml", parse(stack._raw(config))[1])
