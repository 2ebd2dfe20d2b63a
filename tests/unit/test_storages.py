"""Every driver in every mode for every version: what is right is rendered as meant, what is wrong is reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import storage_drivers
from config.credentials import AzureKeys
from config.errors import report
from config.field_types import StrictModel
from config.parsing import parse
from config.storage_drivers import identity
from config.storage_drivers.s3 import S3Options
from omnibus import versions
from plan import storage
from plan.node import node_settings
from tests.configurations import changed, deployment
from tests.examples import examples
from tests.invalid_configs.storages import RIGHT, at, azure, gcs, others_options, own, s3, swift
from tests.storages import Case, Node, cases, newer


@pytest.fixture(scope="module")
def ruby() -> Iterator[Node]:
    with Node() as node:
        yield node


def reported(raw: dict[str, Any]) -> set[str]:
    """The keys that are refused; the report of them is written without a traceback."""
    errors = parse(raw)[1]
    assert all(e.value and e.expectation and e.consequence and e.example for e in errors)
    report("Pulumi.dev.yaml", errors)
    return {p.key for p in errors}


@examples(400)
@given(case=cases())
def test_ruby_has_exactly_the_storage_meant(ruby: Node, case: Case) -> None:
    """One driver, its keys and no others, each secret's value, read-only where it is shared; no secret in the text."""
    d = deployment(case.raw)
    for site, meant in case.meant.items():
        text = node_settings(d, site, f"{site}-1").text
        keys, s3_keys = d.keys_of(site), d.sites[site].s3_keys
        secrets = keys.secrets() if keys else s3_keys.secrets() if s3_keys else {}
        assert set(secrets) <= set(node_settings(d, site, f"{site}-1").secret_names)
        found = ruby.storage(text, secrets)
        only_read: dict[str, Any] = {
            "maintenance": {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
        }
        only_read |= {"redirect": {"disable": True}} if case.driver[site] == "swift" else {}
        assert found == {case.driver[site]: meant} | (only_read if d.read_only(site) else {})
        assert d.read_only(site) is (case.raw["storage"]["mode"] == "shared" and site == "tokyo")
        shown = text + json.dumps(node_settings(d, site, f"{site}-1").preview) + repr(d)
        for word in (*case.secret, "PRIVATE KEY", "private-key-of"):
            assert word not in shown and json.dumps(word)[1:-1] not in shown


@pytest.mark.parametrize("raw", RIGHT)
def test_what_is_right_is_taken(raw: dict[str, Any]) -> None:
    """The positive control of all that is refused below."""
    assert reported(raw) == set()


def test_the_nearest_known_name_is_told() -> None:
    """`rotdirectory` is no key of gcs: `rootdirectory` is."""
    [error] = parse(gcs(rotdirectory="x"))[1]
    assert "rootdirectory" in error.example


def test_a_driver_that_is_gone_comes_with_the_way_out() -> None:
    """swift and oss before 17.0 only; the services speak S3 too."""
    [error] = parse(swift("17.0"))[1]
    assert "17.0" in error.value + error.consequence
    assert "S3" in error.example


@examples(150)
@given(case=cases(), data=st.data())
def test_no_value_anywhere_gives_a_traceback(case: Case, data: st.DataObject) -> None:
    """Whatever stands where a storage, a key or a value belongs is taken or reported, never a Python error."""
    raw = changed(case.raw, lambda _: None)
    holders: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            holders.extend((value, key) for key in value)
            for inner in value.values():
                collect(inner)

    collect(raw["storage"])
    for site in raw["sites"].values():
        collect({k: v for k, v in site.items() if k == "storage"})
        collect(site.get("credentials", {}))
    holder, key = data.draw(st.sampled_from(range(len(holders))).map(holders.__getitem__))
    holder[key] = data.draw(
        st.sampled_from([None, 0, -1, True, "", "x", [], {}, {"x": 1}, 1.5, "keep", {"s3": {}}])
    )
    reported(raw)


@pytest.mark.parametrize("version", ["16.0", "17.0", "17.10", "19.0"])
def test_versions_say_which_drivers_there_are(version: str) -> None:
    """The table and what README promises are one."""
    gone = {row.driver for row in versions.LIMITS if not row.key and not row.allows(versions.parse(version))}
    assert gone == ({"swift", "oss"} if newer(version, 17) else set())


def test_the_tables_name_keys_that_exist_and_their_sources() -> None:
    """A typo in a row would make it a rule about nothing."""
    for row in versions.LIMITS:
        assert row.source and row.way_out and row.driver in storage_drivers.NAMES
        assert not row.key or row.key in _fields(row.driver)
    for pair in versions.EXCLUSIVES:
        assert pair.source and set(pair.keys) <= _fields(pair.driver).keys()


def _fields(driver: str) -> dict[str, Any]:
    kinds: dict[str, type[storage_drivers.Driver]] = {
        kind.driver: kind for kind in storage_drivers.Driver.__subclasses__()
    }
    keys: dict[str, type[StrictModel]] = {"s3": S3Options, "azure": AzureKeys}
    more = keys.get(driver)
    return dict(kinds[driver].model_fields) | (dict(more.model_fields) if more else {})


def test_distribution_has_azures_older_driver_alone() -> None:
    """Also where the other site, on the same storage, has a role and so the newer one."""
    raw = azure(legacyrootprefix=True)
    raw["sites"]["london"]["nodes"]["london-1"]["roles"] = ["rails", "sidekiq"]
    raw["sites"]["london"]["external_registry"] = {}
    d = deployment(raw)
    names = {site: next(iter(storage.registry_storage(d, site) or {})) for site in d.sites}
    assert names == {"london": "azure", "tokyo": "azure_v2"}


@pytest.mark.parametrize(
    ("region", "version", "endpoint"),
    [
        ("eu-west-1", "16.0", None),
        ("mx-central-1", "19.2", "https://s3.mx-central-1.amazonaws.com"),
        ("ap-southeast-7", "18.5", "https://s3.ap-southeast-7.amazonaws.com"),
        ("ca-west-1", "17.5", "https://s3.ca-west-1.amazonaws.com"),
        ("ca-west-1", "17.6", None),
        ("il-central-1", "16.3", "https://s3.il-central-1.amazonaws.com"),
        ("cn-south-9", "18.5", "https://s3.cn-south-9.amazonaws.com.cn"),
    ],
)
def test_a_region_that_the_registry_does_not_know_is_given_aws_address_there(
    region: str, version: str, endpoint: str | None
) -> None:
    """Without it the registry would not start; the bucket stays in the host's name, as in every other region."""
    raw = at(s3(version), "sites", "tokyo", "storage", "region", to=region)
    assert reported(raw) == set()
    [(_, found)] = (storage.registry_storage(deployment(raw), "tokyo") or {}).items()
    assert isinstance(found, dict)
    assert (found.get("regionendpoint"), found.get("pathstyle")) == (endpoint, False if endpoint else None)


def test_distribution_is_given_the_address_of_every_region_that_its_oldest_release_lacks() -> None:
    """Which one it is nobody knows; with the address each takes the region."""
    raw = at(others_options(), "sites", "london", "storage", "region", to="eu-north-1")
    [(_, found)] = (storage.registry_storage(deployment(raw), "london") or {}).items()
    assert isinstance(found, dict) and found["regionendpoint"] == "https://s3.eu-north-1.amazonaws.com"


SWIFT = {
    "swift": {"container": "c", "authurl": "https://k.example.com/v3", "tenant": "acme", "region": "One"}
}


GOOGLES_S3 = {
    "s3": {"bucket": "abc", "region": "auto", "create": False, "endpoint": "https://storage.googleapis.com/"}
}


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ({"azure": {"container": "reg", "accountname": "acme"}}, {"azure": {"container": "reg", "serviceurl": "https://ACME.blob.core.windows.net/"}}, True),
        ({"azure": {"container": "reg", "accountname": "acme"}}, {"azure": {"container": "reg", "accountname": "other"}}, False),
        ({"azure": {"container": "reg", "accountname": "acme"}}, {"azure": {"container": "reg", "accountname": "acme", "legacyrootprefix": True}}, False),
        ({"gcs": {"bucket": "abc"}}, {"gcs": {"bucket": "abc", "rootdirectory": "x"}}, False),
        ({"swift": {"container": "c", "authurl": "https://K.example.com/v3/"}}, {"swift": {"container": "c", "authurl": "https://k.example.com/v3"}}, True),
        (SWIFT, {"swift": {**SWIFT["swift"], "tenant": "other"}}, False),
        (SWIFT, {"swift": {**SWIFT["swift"], "region": "Two"}}, True),
        (SWIFT, {"swift": {**SWIFT["swift"], "tenantid": "1"}}, True),
        (SWIFT, {"swift": {**SWIFT["swift"], "tenant": "other", "trustid": "1"}}, True),
        (SWIFT, {"swift": {**SWIFT["swift"], "tenant": "other", "authversion": 1}}, True),
        ({"oss": {"bucket": "abc", "region": "oss-a"}}, {"oss": {"bucket": "abc", "region": "oss-a", "internal": True, "endpoint": "oss-a-internal.aliyuncs.com"}}, True),
        ({"gcs": {"bucket": "abc"}}, GOOGLES_S3, True),
        ({"gcs": {"bucket": "abc", "rootdirectory": "x"}}, GOOGLES_S3, False),
        ({"gcs": {"bucket": "abd"}}, GOOGLES_S3, False),
        ({"filesystem": {"rootdirectory": "/srv"}}, {"filesystem": {"rootdirectory": "/srv"}}, False),
    ],
)  # fmt: skip
def test_two_sites_in_one_place_are_refused(first: Any, second: Any, one: bool) -> None:
    """Storage per site that is in truth one, however it is written; a path is each server's own."""
    [name] = first
    keys = {
        "azure": {"azure": {"credentials_type": "default_credentials"}}, "swift": {"swift": {"username": "u", "password": "p"}},
        "gcs": {"gcs": {"application_default": True}}, "oss": {"oss": {"accesskeyid": "a", "accesskeysecret": "b"}},
    }.get(name, {})  # fmt: skip
    raw = own(second, version="16.11" if name in {"swift", "oss"} else "18.5", credentials=keys)
    raw["sites"]["london"] |= {"storage": first, "credentials": keys}
    assert bool([k for k in reported(raw) if k.startswith("sites.tokyo.storage.")]) is one


def test_what_people_read_names_driver_and_place() -> None:
    """In outputs and refusals."""
    kind = deployment(azure()).driver_of("london")
    assert kind and identity.shown(kind) == "azure acme.blob.core.windows.net registry"
