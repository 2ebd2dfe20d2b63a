"""Storages other than S3: nothing is made for them, and their credentials travel like every other secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hosts.programs import gitlab_node
from tests.components.recording import Registration, record
from tests.configurations import per_site
from tests.storages import SERVICE_ACCOUNT, service_account


def order(node: Registration) -> dict[str, Any]:
    reported: dict[str, Any] = json.loads(node.plain("stdin").removeprefix(gitlab_node()))
    return reported


@pytest.fixture(scope="module")
def recorded() -> dict[str, Registration]:
    """One bucket of Google's under both registries."""
    raw = per_site() | {"storage": {"mode": "shared", "gcs": {"bucket": "acme", "rootdirectory": "r"}}}
    for site in ("london", "tokyo"):
        raw["sites"][site].pop("storage")
        raw["sites"][site]["credentials"] = {"gcs": {"credentials": service_account(site)}}
    return record(raw)


def test_nothing_is_made_for_a_storage_that_is_not_s3(recorded: dict[str, Registration]) -> None:
    """No bucket, user or key; the http secret is one for both registries, as on any shared storage."""
    assert not any(r.type.startswith("aws:") for r in recorded.values())
    reported = [
        order(recorded[f"{site}-1-settings"])["secrets"]["http_secret"] for site in ("london", "tokyo")
    ]
    assert reported == ["generated-shared-http-secret"] * 2


def test_each_site_has_its_own_credentials_and_nobody_elses(recorded: dict[str, Registration]) -> None:
    """Over stdin as a secret; the node gets the place for comparison, whether it writes as well."""
    for site, writes in (("london", True), ("tokyo", False)):
        command = recorded[f"{site}-1-settings"]
        assert command.secret("stdin")
        reported = order(command)
        account = reported["secrets"]["gcs_credentials"]
        assert account["client_email"] == SERVICE_ACCOUNT["client_email"].replace("{}", site)
        where = {"driver": "gcs", "place": ["acme", "r"], "shown": "gcs acme r", "write": writes}
        assert reported["storage"] == where | {
            "bucket": "acme",
            "universe": "googleapis.com",
            "keyfile": None,
        }


def test_no_credential_is_plain(recorded: dict[str, Registration]) -> None:
    """Searched for in every input of every resource; what is not secret is found by the same search."""
    plain = "".join(
        json.dumps({k: v for k, v in r.inputs.items() if not r.secret(k)}) for r in recorded.values()
    )
    assert "private-key-of" not in plain and "iam.gserviceaccount.com" not in plain
    assert "secrets['gcs_credentials']" in plain


def test_each_storage_of_a_site_has_an_http_secret_of_its_own() -> None:
    """Also where the storage is not a bucket of S3; none where it is kept."""
    raw = per_site()
    raw["sites"]["london"]["storage"] = "keep"
    raw["sites"]["tokyo"]["storage"] = {"filesystem": {"rootdirectory": "/srv/registry"}}
    found = record(raw)
    assert order(found["tokyo-1-settings"])["secrets"]["http_secret"] == "generated-tokyo-http-secret"
    assert "http_secret" not in order(found["london-1-settings"])["secrets"]
    assert order(found["tokyo-1-settings"])["storage"]["place"] == ["srv/registry"]
