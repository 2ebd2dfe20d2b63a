"""Every driver in every mode for every version: what is right is rendered as meant, what is wrong is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import parse
from omnibus import drivers, storage, versions
from omnibus import settings as node_settings
from omnibus.credentials import AzureKeys
from omnibus.fields import Closed
from omnibus.problems import report
from omnibus.s3 import S3Options
from tests.configurations import changed, deployment, per_site
from tests.storages import Case, Node, cases, newer, service_account

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def ruby() -> Iterator[Node]:
    node = Node()
    yield node
    node.end()


def told(raw: dict[str, Any]) -> set[str]:
    """The keys that are refused; the report of them is written without a traceback."""
    problems = parse(raw)[1]
    assert all(p.value and p.consequence and p.example for p in problems)
    report("Pulumi.dev.yaml", problems)
    return {p.key for p in problems}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_ruby_has_exactly_the_storage_meant(ruby: Node, case: Case) -> None:
    """One driver, its keys and no others, each secret's value, read-only where it is shared; no secret in the text."""
    d = deployment(case.raw)
    for site, meant in case.meant.items():
        text = node_settings.text(d, site, f"{site}-1")
        keys, s3_keys = d.keys_of(site), d.sites[site].s3_keys
        secrets = keys.secrets() if keys else s3_keys.secrets() if s3_keys else {}
        assert set(secrets) <= set(node_settings.secret_names(d, site, f"{site}-1"))
        found = ruby.storage(text, secrets)
        only_read: dict[str, Any] = {
            "maintenance": {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
        }
        only_read |= {"redirect": {"disable": True}} if case.driver == "swift" else {}
        assert found == {case.driver: meant} | (only_read if d.read_only(site) else {})
        assert d.read_only(site) is (case.raw["storage"]["mode"] == "shared" and site == "tokyo")
        shown = text + json.dumps(node_settings.preview(d, site, f"{site}-1")) + repr(d)
        for word in (*case.secret, "PRIVATE KEY", "private-key-of"):
            assert word not in shown and json.dumps(word)[1:-1] not in shown


def gcs(**more: Any) -> dict[str, Any]:
    """Shared storage in a bucket of Google's, with credentials for each site."""
    raw = per_site() | {"storage": {"mode": "shared", "gcs": {"bucket": "acme"} | more}}
    for site in ("london", "tokyo"):
        raw["sites"][site].pop("storage")
        raw["sites"][site]["credentials"] = {"gcs": {"credentials": service_account(site)}}
    return raw


def azure(version: str = "18.5", **place: Any) -> dict[str, Any]:
    """Shared storage in Azure; the primary has the account's key, the secondary a role."""
    raw = gcs()
    raw["gitlab_version"] = version
    raw["storage"] = {"mode": "shared", "azure": {"container": "registry", "accountname": "acme"} | place}
    role = {"credentials_type": "client_secret", "tenant_id": "t", "client_id": "c", "secret": "s3cr3t-value"}
    raw["sites"]["london"]["credentials"] = {"azure": {"accountkey": "s3cr3t-value"}}
    raw["sites"]["tokyo"]["credentials"] = {"azure": role}
    return raw


def swift(version: str = "16.11", **place: Any) -> dict[str, Any]:
    raw = gcs()
    raw["gitlab_version"] = version
    raw["storage"] = {
        "mode": "shared",
        "swift": {"container": "c", "authurl": "https://k.example.com/v3"} | place,
    }
    for site in ("london", "tokyo"):
        raw["sites"][site]["credentials"] = {"swift": {"username": site, "password": "s3cr3t-value"}}
    return raw


def oss(version: str = "16.11") -> dict[str, Any]:
    raw = gcs()
    raw["gitlab_version"] = version
    raw["storage"] = {"mode": "shared", "oss": {"bucket": "acme", "region": "oss-eu-central-1"}}
    for site in ("london", "tokyo"):
        raw["sites"][site]["credentials"] = {
            "oss": {"accesskeyid": f"LTAI{site}", "accesskeysecret": "s3cr3t-value"}
        }
    return raw


def own(place: Any, *, version: Any = "18.5", **site: Any) -> dict[str, Any]:
    """A bucket at london, and `place` at tokyo."""
    raw = per_site() | {"gitlab_version": version}
    raw["sites"]["tokyo"] |= {"storage": place} | site
    return raw


def s3(version: str = "18.5", **options: Any) -> dict[str, Any]:
    raw = per_site() | {"gitlab_version": version}
    raw["sites"]["tokyo"]["storage"]["options"] = options
    return raw


def at(raw: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    raw = changed(raw, lambda _: None)
    place = raw
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = to
    return raw


TOKYO = ("sites", "tokyo", "credentials")
KEYS: dict[str, Any] = {"credentials": {"gcs": {"application_default": True}}}

RIGHT = [
    gcs(), azure(), swift(), oss(), s3(), azure("19.0"), azure(serviceurl="https://acme.blob.core.windows.net"),
    own({"filesystem": {"rootdirectory": "/srv/registry"}}), own({"s3": {"bucket": "abc", "region": "eu-west-1"}}),
    own({"gcs": {"bucket": "abc"}}, **KEYS), own("keep"),
]  # fmt: skip

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("a driver that is none", at(gcs(), "storage", to={"mode": "shared", "gsc": {"bucket": "acme"}}), "storage.gsc"),
    ("a key with a typo", gcs(rotdirectory="x"), "storage.gcs.rotdirectory"),
    ("a number as text", gcs(chunksize="5242880"), "storage.gcs.chunksize"),
    ("a chunk that Google refuses", gcs(chunksize=5_000_000), "storage.gcs.chunksize"),
    ("two drivers for all", at(gcs(), "storage", "s3", to={"bucket": "abc", "region": "eu-west-1"}), "storage.gcs"),
    ("two drivers at a site", own({"gcs": {"bucket": "abc"}, "filesystem": {"rootdirectory": "/srv"}}, **KEYS), "sites.tokyo.storage.filesystem"),
    ("a bucket beside a driver", own({"bucket": "abc", "region": "eu-west-1", "gcs": {"bucket": "abc"}}), "sites.tokyo.storage.bucket"),
    ("a driver with a typo at a site", own({"gsc": {"bucket": "abc"}}), "sites.tokyo.storage.gsc"),
    ("no driver at a site", own({}), "sites.tokyo.storage.bucket"),
    ("a word that is none", own("kept"), "sites.tokyo.storage"),
    ("a driver for all with storage per site", at(per_site(), "storage", "gcs", to={"bucket": "abc"}), "storage.gcs"),
    ("a directory for all", at(gcs(), "storage", to={"mode": "shared", "filesystem": {"rootdirectory": "/srv"}}), "storage.filesystem"),
    ("half a path", own({"filesystem": {"rootdirectory": "srv"}}), "sites.tokyo.storage.filesystem.rootdirectory"),
    ("no credentials", at(gcs(), *TOKYO, to={}), "sites.tokyo.credentials.gcs"),
    ("another driver's credentials", at(gcs(), *TOKYO, "swift", to={"username": "x", "password": "y"}), "sites.tokyo.credentials.swift"),
    ("credentials for a directory", own({"filesystem": {"rootdirectory": "/srv"}}, **KEYS), "sites.tokyo.credentials.gcs"),
    ("credentials for what is kept", own("keep", **KEYS), "sites.tokyo.credentials.gcs"),
    ("S3's keys for another driver", at(gcs(), "sites", "tokyo", "s3_keys", to={"access_key": "a", "secret_key": "b"}), "sites.tokyo.s3_keys"),
    ("a key file that is none", at(gcs(), *TOKYO, "gcs", to={"credentials": "s3cr3t-value"}), "sites.tokyo.credentials.gcs.credentials"),
    ("a key file's text and path", at(gcs(), *TOKYO, "gcs", "keyfile", to="/etc/key.json"), "sites.tokyo.credentials.gcs"),
    ("a secondary with the primary's account", at(gcs(), *TOKYO, "gcs", "credentials", to=service_account("london")), "sites.tokyo.credentials.gcs.credentials"),
    ("a secondary with the primary's user", at(swift(), *TOKYO, "swift", "username", to="london"), "sites.tokyo.credentials.swift.username"),
    ("a secondary that could sign writes", at(swift(), *TOKYO, "swift", "secretkey", to="s3cr3t-value"), "sites.tokyo.credentials.swift.secretkey"),
    ("a secondary with the primary's key", at(oss(), *TOKYO, "oss", "accesskeyid", to="LTAIlondon"), "sites.tokyo.credentials.oss.accesskeyid"),
    ("a secondary with an account key", at(azure(), *TOKYO, "azure", to={"accountkey": "another"}), "sites.tokyo.credentials.azure.credentials_type"),
    ("a secondary that may write", at(gcs(), "sites", "tokyo", "read_only", to=False), "sites.tokyo.read_only"),
    ("half of an Azure role", at(azure(), *TOKYO, "azure", to={"credentials_type": "client_secret", "client_id": "c", "secret": "s3cr3t-value"}), "sites.tokyo.credentials.azure.tenant_id"),
    ("an Azure role and a key", at(azure(), *TOKYO, "azure", "accountkey", to="s3cr3t-value"), "sites.tokyo.credentials.azure.accountkey"),
    ("an Azure role before there were any", azure("17.9"), "sites.tokyo.credentials.azure.credentials_type"),
    ("a kind of credentials that is none", at(azure(), *TOKYO, "azure", "credentials_type", to="sas"), "sites.tokyo.credentials.azure.credentials_type"),
    ("nobody's container", at(azure(), "storage", "azure", to={"container": "registry"}), "storage.azure.accountname"),
    ("an account key without its account", at(azure(), "storage", "azure", to={"container": "registry", "serviceurl": "https://acme.blob.core.windows.net"}), "storage.azure.accountname"),
    ("a realm that the URL has", azure(serviceurl="https://acme.blob.core.windows.net", realm="core.windows.net"), "storage.azure.realm"),
    ("two root prefixes", azure(legacyrootprefix=True, trimlegacyrootprefix=True), "storage.azure.legacyrootprefix"),
    ("swift where it is gone", swift("17.0"), "storage.swift"),
    ("oss where it is gone", oss("18.5"), "storage.oss"),
    ("an unknown key of swift", swift(user="x"), "storage.swift.user"),
    ("an ACL where the bucket's owner owns all", s3(objectacl="private", objectownership=True), "sites.tokyo.storage.options.objectacl"),
    ("an ACL for a bucket of ours", s3(objectacl="private"), "sites.tokyo.storage.options.objectacl"),
    ("checksums before s3_v2", s3(checksum_disabled=True), "sites.tokyo.storage.options.checksum_disabled"),
    ("no checksums, and which", s3("19.0", checksum_disabled=True, checksum_algorithm="SHA256"), "sites.tokyo.storage.options.checksum_algorithm"),
    ("a storage class before it was known", s3("18.0", storageclass="GLACIER_IR"), "sites.tokyo.storage.options.storageclass"),
    ("a part that S3 refuses", s3(chunksize=1024), "sites.tokyo.storage.options.chunksize"),
    ("an option with a typo", s3(chunksiz=26214400), "sites.tokyo.storage.options.chunksiz"),
    ("encryption off, with a key for it", at(s3(encrypt=False), "sites", "tokyo", "storage", "kms_key_id", to="arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab"), "sites.tokyo.storage.options.encrypt"),
]  # fmt: skip


@pytest.mark.parametrize("raw", RIGHT)
def test_what_is_right_is_taken(raw: dict[str, Any]) -> None:
    """The positive control of all that is refused below."""
    assert told(raw) == set()


@pytest.mark.parametrize(("raw", "key"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_wrong_is_told_by_its_key(raw: dict[str, Any], key: str) -> None:
    """With the value, the consequence and an example; no secret is repeated."""
    assert key in told(raw)
    assert "s3cr3t-value" not in report("x", parse(raw)[1])


def test_the_nearest_known_name_is_told() -> None:
    """`rotdirectory` is no key of gcs: `rootdirectory` is."""
    [problem] = parse(gcs(rotdirectory="x"))[1]
    assert "rootdirectory" in problem.example


def test_a_driver_that_is_gone_comes_with_the_way_out() -> None:
    """swift and oss before 17.0 only; the services speak S3 too."""
    [problem] = parse(swift("17.0"))[1]
    assert "17.0" in problem.value + problem.consequence
    assert "S3" in problem.example


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), data=st.data())
def test_no_value_anywhere_gives_a_traceback(case: Case, data: st.DataObject) -> None:
    """Whatever stands where a storage, a key or a value belongs is taken or told, never a Python error."""
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
    told(raw)


@pytest.mark.parametrize("version", ["16.0", "17.0", "17.10", "19.0"])
def test_versions_say_which_drivers_there_are(version: str) -> None:
    """The table and what README promises are one."""
    gone = {row.driver for row in versions.LIMITS if not row.key and not row.allows(versions.parse(version))}
    assert gone == ({"swift", "oss"} if newer(version, 17) else set())


def test_the_tables_name_keys_that_exist_and_their_sources() -> None:
    """A typo in a row would make it a rule about nothing."""
    for row in versions.LIMITS:
        assert row.source and row.way_out and row.driver in drivers.NAMES
        assert not row.key or row.key in _fields(row.driver)
    for pair in versions.EXCLUSIVES:
        assert pair.source and set(pair.keys) <= _fields(pair.driver).keys()


def _fields(driver: str) -> dict[str, Any]:
    kinds: dict[str, type[drivers.Driver]] = {kind.driver: kind for kind in drivers.Driver.__subclasses__()}
    keys: dict[str, type[Closed]] = {"s3": S3Options, "azure": AzureKeys}
    more = keys.get(driver)
    return dict(kinds[driver].model_fields) | (dict(more.model_fields) if more else {})


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ({"azure": {"container": "reg", "accountname": "acme"}}, {"azure": {"container": "reg", "serviceurl": "https://ACME.blob.core.windows.net/"}}, True),
        ({"azure": {"container": "reg", "accountname": "acme"}}, {"azure": {"container": "reg", "accountname": "other"}}, False),
        ({"azure": {"container": "reg", "accountname": "acme"}}, {"azure": {"container": "reg", "accountname": "acme", "legacyrootprefix": True}}, False),
        ({"gcs": {"bucket": "abc"}}, {"gcs": {"bucket": "abc", "rootdirectory": "x"}}, False),
        ({"swift": {"container": "c", "authurl": "https://K.example.com/v3/"}}, {"swift": {"container": "c", "authurl": "https://k.example.com/v3"}}, True),
        ({"oss": {"bucket": "abc", "region": "oss-a"}}, {"oss": {"bucket": "abc", "region": "oss-a", "internal": True, "endpoint": "oss-a-internal.aliyuncs.com"}}, True),
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
    assert bool([k for k in told(raw) if k.startswith("sites.tokyo.storage.")]) is one


def test_what_people_read_names_driver_and_place() -> None:
    """In outputs and refusals."""
    kind = deployment(azure()).driver_of("london")
    assert kind and storage.shown(kind) == "azure acme.blob.core.windows.net registry"
