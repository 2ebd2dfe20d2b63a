"""Each node's settings, by role."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from omnibus import statements, storage_place, versions
from plan import existing_storage, iam
from plan.node import node_settings
from tests.configurations import (
    CREATED,
    HOST_KEY,
    SHARED,
    certificate,
    changed,
    deployment,
    per_site,
    put,
)


def test_a_primary_notifies_with_the_secret_of_the_secrets_file() -> None:
    """geo_event is the name that omnibus derives Rails' secret from; the token is a raw value in an Array."""
    shown = node_settings(deployment(SHARED), "london", "london-1").preview
    at = "registry['notifications']['geo_event']"
    assert shown[f"{at}['name']"] == "'geo_event'"
    assert shown[f"{at}['headers']['Authorization']"] == "[secrets['notification_secret']]"
    assert shown["gitlab_rails['registry_notification_secret']"] == "secrets['notification_secret']"
    assert shown[f"{at}['timeout']"] == "'5s'"
    assert shown["gitlab_rails['geo_registry_replication_enabled']"] == "false"
    assert not any("primary_api_url" in name for name in shown)


@pytest.mark.parametrize(
    ("version", "rails", "registry"),
    [
        ("19.1", "nginx", "registry_nginx"),
        ("19.2", "gitlab_rails['nginx']", "registry['nginx']"),
    ],
)
def test_nginx_settings_have_the_names_of_the_version(version: str, rails: str, registry: str) -> None:
    """Those of the other version would be warned of at each reconfigure, or read by nothing."""
    names = ("gitlab.tokyo.example.com", "registry.tokyo.example.com")
    raw = changed(CREATED, put("sites", "tokyo", "aws", "tls", to=certificate(*names)))
    shown = node_settings(deployment(raw | {"gitlab_version": version}), "tokyo", "tokyo-1").preview
    files = {"ssl_certificate": "'/etc/gitlab/geo-registry/site.crt'"}
    files["ssl_certificate_key"] = "'/etc/gitlab/geo-registry/site.key'"
    meant = {f"{name}['{key}']": path for name in (rails, registry) for key, path in files.items()}
    meant[f"{rails}['redirect_http_to_https']"] = "true"
    assert {key: value for key, value in shown.items() if "nginx" in key} == meant


def test_a_secondary_replicates_and_does_not_notify() -> None:
    """Replication on, from the primary's registry; no geo_event of its own."""
    shown = node_settings(deployment(SHARED), "tokyo", "tokyo-1").preview
    assert shown["gitlab_rails['geo_registry_replication_enabled']"] == "true"
    url = "gitlab_rails['geo_registry_replication_primary_api_url']"
    assert shown[url] == "'https://registry.london.example.com'"
    assert shown["registry['notifications']['geo_event']"] == "none"
    assert not any("notification_secret" in value for value in shown.values())


@pytest.mark.parametrize(
    ("registry_url", "port"),
    [
        ("https://registry.london.example.com", "nil"),
        ("https://registry.london.example.com:443", "nil"),
        ("https://registry.london.example.com:5050", "5050"),
    ],
)
def test_what_an_earlier_set_up_may_have_left_is_stated(registry_url: str, port: str) -> None:
    """That the registry is on, its realm, its port and its address: in gitlab.rb they would win over our URL."""
    raw = changed(SHARED, put("sites", "london", "registry_url", to=registry_url))
    shown = node_settings(deployment(raw), "london", "london-1").preview
    assert shown["registry['enable']"] == "true"
    assert shown["registry['token_realm']"] == "'https://gitlab.london.example.com'"
    assert shown["gitlab_rails['registry_port']"] == port
    assert shown["gitlab_rails['registry_api_url']"] == "\"http://#{registry['registry_http_addr']}\""


@pytest.mark.parametrize(
    ("said", "api_url"),
    [
        ("{}", "http://127.0.0.1:5000"),
        ("{ 'registry_http_addr' => nil }", "http://127.0.0.1:5000"),
        ("{ 'registry_http_addr' => {} }", "http://127.0.0.1:5000"),
        ("{ 'registry_http_addr' => 'localhost:5001' }", "http://localhost:5001"),
        ("{ 'registry_http_addr' => ':5001' }", "http://127.0.0.1:5001"),
        ("{ 'registry_http_addr' => '[::1]:5001' }", "http://[::1]:5001"),
    ],
)
def test_gitlab_asks_the_registry_beside_it_where_it_listens(said: str, api_url: str) -> None:
    """Evaluated by real Ruby; the address that the administrator chose stays."""
    code = f"gitlab_rails = {{ 'registry_api_url' => 'http://gitlab:5050' }}; registry = {said}; {statements.ApiUrl()}"
    code += "; puts gitlab_rails['registry_api_url']"
    out = subprocess.run(["ruby", "-e", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == api_url


def test_replication_can_be_stated_off() -> None:
    """Off is said, not left out: a former `true` would stay."""
    parsed = deployment(changed(SHARED, lambda raw: raw.update(replication=False)))
    shown = node_settings(parsed, "tokyo", "tokyo-1").preview
    assert shown["gitlab_rails['geo_registry_replication_enabled']"] == "false"


def test_only_the_secondary_of_shared_storage_is_read_only() -> None:
    """And it does not purge uploads, which are the primary's."""
    parsed = deployment(SHARED)
    mode = "registry['storage']['maintenance']"
    assert node_settings(parsed, "tokyo", "tokyo-1").preview[f"{mode}['readonly']['enabled']"] == "true"
    assert node_settings(parsed, "tokyo", "tokyo-1").preview[f"{mode}['uploadpurging']['enabled']"] == "false"
    assert not any(name.startswith(mode) for name in node_settings(parsed, "london", "london-1").preview)
    apart = deployment(per_site())
    assert not any(name.startswith(mode) for name in node_settings(apart, "tokyo", "tokyo-1").preview)


def test_every_node_states_both_halves_of_the_pair_and_the_issuer() -> None:
    """One half alone makes a mismatched pair, silently."""
    for site in ("london", "tokyo"):
        shown = node_settings(deployment(SHARED), site, f"{site}-1").preview
        assert shown["registry['internal_key']"] == "secrets['registry_key']"
        assert shown["registry['internal_certificate']"] == "secrets['registry_certificate']"
        assert shown["gitlab_rails['registry_issuer']"] == "'omnibus-gitlab-issuer'"
        assert shown["registry['database']['enabled']"] == "false"


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ("nil", {}),
        ("{ 'filesystem' => { 'rootdirectory' => '/srv' }, 'redirect' => { 'disable' => true } }", {"redirect": {"disable": True}}),
        ("{ s3: { bucket: 'theirs' }, cache: { blobdescriptor: 'redis' }, 'maintenance' => {} }", {"cache": {"blobdescriptor": "redis"}, "maintenance": {}}),
    ],
)  # fmt: skip
def test_how_the_administrators_registry_redirects_caches_and_deletes_stays(
    own: str, kept: dict[str, Any]
) -> None:
    """Evaluated by real Ruby: of their storage all but the driver is kept, and the driver is the program's alone."""
    shown = str(statements.Storage({"s3": {"bucket": "own"}}))
    code = f"require 'json'; registry = {{ 'storage' => {own} }}; {shown}; puts registry['storage'].to_json"
    out = subprocess.run(["ruby", "-e", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == {**kept, "s3": {"bucket": "own"}}


def test_kept_storage_is_not_mentioned() -> None:
    """`keep` leaves storage and http_secret to the administrator."""
    raw = per_site()
    raw["sites"]["tokyo"]["storage"] = "keep"
    text = node_settings(deployment(raw), "tokyo", "tokyo-1").text
    assert "registry['storage']" not in text
    assert "http_secret" not in text
    assert "registry['storage']" in node_settings(deployment(raw), "london", "london-1").text


def test_a_node_without_the_registry_is_told_where_it_is() -> None:
    """Rails and Sidekiq need the key and the registry's address, and run no registry."""
    raw = changed(SHARED, lambda _: None)
    raw["sites"]["tokyo"]["registry_url"] = "https://registry.tokyo.example.com:5050"
    raw["sites"]["tokyo"]["nodes"]["tokyo-2"] = {
        "host": "10.20.0.12",
        "host_key": HOST_KEY,
        "roles": ["sidekiq"],
    }
    shown = node_settings(deployment(raw), "tokyo", "tokyo-2").preview
    assert shown["registry['enable']"] == "false"
    assert shown["gitlab_rails['registry_enabled']"] == "true"
    assert shown["gitlab_rails['registry_host']"] == "'registry.tokyo.example.com'"
    assert shown["gitlab_rails['registry_port']"] == "5050"
    assert shown["registry['internal_key']"] == "secrets['registry_key']"
    assert shown["gitlab_rails['geo_registry_replication_enabled']"] == "true"
    assert shown["registry_external_url"] == "nil"
    assert not any("storage" in name or "notifications" in name for name in shown)


def test_a_registrys_host_is_told_as_it_is_written() -> None:
    """Beside a registry omnibus takes it as it is; else two nodes of a site would name one image differently."""
    raw = changed(
        SHARED, put("sites", "tokyo", "registry_url", to="https://Registry.Tokyo.example.com:5050/")
    )
    raw["sites"]["tokyo"]["nodes"]["tokyo-2"] = {
        "host": "10.20.0.12",
        "host_key": HOST_KEY,
        "roles": ["rails"],
    }
    shown = node_settings(deployment(raw), "tokyo", "tokyo-2").preview
    assert shown["gitlab_rails['registry_host']"] == "'Registry.Tokyo.example.com'"
    assert shown["gitlab_rails['registry_port']"] == "5050"


@pytest.mark.parametrize(
    ("version", "retries", "driver"),
    [("16.11", "threshold", "s3"), ("17.0", "threshold", "s3"), ("17.1", "maxretries", "s3"), ("19.0", "maxretries", "s3_v2")],
)  # fmt: skip
def test_names_follow_the_gitlab_version(version: str, retries: str, driver: str) -> None:
    """Each release gets the names it knows."""
    shown = node_settings(
        deployment(changed(SHARED, lambda raw: raw.update(gitlab_version=version))), "london", "london-1"
    ).preview
    assert f"registry['notifications']['geo_event'][{retries!r}]" in shown
    assert f"registry['storage'][{driver!r}]['bucket']" in shown


def test_versions_are_parsed_and_others_refused() -> None:
    """Patch level and edition do not matter; words are no version."""
    assert versions.parse("18.5.2-ee.0") == (18, 5)
    with pytest.raises(ValueError, match="latest"):
        versions.parse("latest")


def test_the_secrets_file_holds_what_the_settings_read_and_no_more() -> None:
    """A secondary has no notification secret; each name the settings read is in the file."""
    parsed = deployment(SHARED)
    for site in ("london", "tokyo"):
        read = set(re.findall(r"secrets\['(\w+)'\]", node_settings(parsed, site, f"{site}-1").text))
        assert read == set(node_settings(parsed, site, f"{site}-1").secret_names)
    assert "notification_secret" not in node_settings(parsed, "tokyo", "tokyo-1").secret_names
    assert "notification_secret" in node_settings(parsed, "london", "london-1").secret_names


def test_no_acl_is_sent_to_a_bucket_that_refuses_them() -> None:
    """This stack's do (BucketOwnerEnforced), and so does every one of AWS since April 2023: all uploads would fail."""
    at = "registry['storage']['s3']['objectownership']"
    for create in (True, False):
        provided = changed(SHARED, put("storage", "s3", "create", to=create))
        assert node_settings(deployment(provided), "london", "london-1").preview[at] == "true"
    provided = changed(provided, put("storage", "s3", "options", to={"objectacl": "private"}))
    assert at not in node_settings(deployment(provided), "london", "london-1").preview


def test_a_reader_can_change_nothing_in_its_bucket() -> None:
    """Least permissions: a writer's policy has the writes, a reader's has none, both name one bucket only."""
    s3 = deployment(SHARED).storage.s3
    assert s3
    actions = {
        write: {a for s in iam.permissions(s3, write=write)["Statement"] for a in s["Action"]}
        for write in (True, False)
    }
    assert {"s3:PutObject", "s3:DeleteObject"} <= actions[True]
    assert all(re.match(r"s3:(Get|List)|kms:Decrypt", action) for action in actions[False])
    found = [s for s in iam.permissions(s3, write=True)["Statement"] if "Condition" not in s]
    assert {s["Resource"] for s in found} == {"arn:aws:s3:::acme-registry", "arn:aws:s3:::acme-registry/*"}


def test_a_writer_encrypts_with_its_key_and_all_decrypt_what_is_in_the_bucket() -> None:
    """Whichever key that was: objects stay under the key of their time, also where there is none any more."""
    arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    bucket = "arn:aws:s3:::acme-registry"
    for key, write in ((arn, True), (arn, False), (None, True)):
        s3 = deployment(changed(SHARED, put("storage", "s3", "kms_key_id", to=key))).storage.s3
        assert s3
        found = [s for s in iam.permissions(s3, write=write)["Statement"] if "kms:" in str(s["Action"])]
        decrypts, *encrypts = found
        assert (decrypts["Action"], decrypts["Resource"]) == (["kms:Decrypt"], "*")
        context = {"kms:EncryptionContext:aws:s3:arn": [bucket, f"{bucket}/*"]}
        assert decrypts["Condition"] == {"StringLike": context}
        assert [(s["Action"], s["Resource"]) for s in encrypts] == (
            [(["kms:GenerateDataKey"], arn)] if key and write else []
        )


@pytest.mark.parametrize(
    ("region", "arn"),
    [("eu-west-1", "arn:aws:"), ("us-gov-west-1", "arn:aws-us-gov:"), ("cn-north-1", "arn:aws-cn:")],
)
def test_names_are_those_of_the_regions_part_of_aws(region: str, arn: str) -> None:
    """AWS refuses a policy that names another."""
    s3 = deployment(changed(SHARED, put("storage", "s3", "region", to=region))).storage.s3
    assert s3
    text = str([iam.permissions(s3, write=True), iam.tls_only(s3)])
    assert set(re.findall(r"arn:[a-z-]+:", text)) == {arn}


def test_rights_to_another_place_have_another_name() -> None:
    """So that the former ones go last; a site that may only read from now on has its own made narrower."""
    s3 = deployment(SHARED).storage.s3
    assert s3
    others = [{"bucket": "acme-other"}, {"root_directory": "a/b"}, {"root_directory": "a-b"}]
    names = [iam.permissions_name(s3.model_copy(update=other)) for other in ({}, *others)]
    assert names[0] == "acme-registry" and len(set(names)) == 4
    assert iam.permissions_name(s3.model_copy(update={"root_directory": "/a/b/"})) == names[2]


def service(endpoint: str | None) -> str | None:
    """The first part of an S3 storage's place."""
    return storage_place.place("s3", {"regionendpoint": endpoint, "bucket": "acme"})[0]


def test_two_kept_storages_that_are_one_are_named() -> None:
    """Reported with the other site and the storage; storages that differ are fine."""
    nfs = {"driver": "filesystem", "place": ["nfs:/export", "registry"]}
    assert (
        existing_storage.shared_storage({"london": nfs, "tokyo": {**nfs, "place": ["host", "registry"]}})
        is None
    )
    endpoint = "https://bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com"
    aws = {service(e) for e in (None, "https://s3.eu-west-1.amazonaws.com:443/", endpoint)}
    assert aws == {None}
    spelled = ("https://MinIO.example.com/", "http://minio.example.com.:80", "https://minio.example.com:443")
    assert {service(url) for url in spelled} == {"minio.example.com"}
    assert service("https://minio.example.com:9000") == "minio.example.com:9000"
    error = existing_storage.shared_storage({"london": nfs, "tokyo": nfs})
    assert error and error.code == "existing-storage-not-unique" and error.key == "sites.tokyo.storage"
    assert "london" in error.value and "nfs:/export" in error.value
    gcs = {"driver": "gcs", "place": ["acme", ""]}
    by_s3 = {"driver": "s3", "place": ["storage.googleapis.com", "acme", ""]}
    assert existing_storage.shared_storage({"london": gcs, "tokyo": by_s3})
    assert (
        existing_storage.shared_storage({"london": gcs, "tokyo": {**by_s3, "place": [None, "acme", ""]}})
        is None
    )


def test_omnibus_imports_without_pulumi() -> None:
    """The knowledge of GitLab stays apart from the resources."""
    code = (
        "import sys; sys.modules['pulumi'] = sys.modules['pulumi_aws'] = sys.modules['pulumi_command'] = None\n"
        "import omnibus.settings, config.checks, config.errors, plan.storage, omnibus.versions"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
