"""The lock file in shared storage: who puts it in, with whose credentials, and who waits for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hosts.programs import gitlab_node
from tests.components.recording import Registration, record
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, per_site
from tests.storages import service_account

NAME = "lock-file"


def order(command: Registration) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command.plain("stdin").removeprefix(gitlab_node()))
    return found


def on_storage(**place: Any) -> dict[str, Any]:
    """Shared storage of another driver."""
    raw = per_site() | {"storage": {"mode": "shared", **place}}
    for site in raw["sites"].values():
        site.pop("storage")
    return raw


@pytest.fixture(scope="module")
def shared() -> dict[str, Registration]:
    return record(SHARED)


def test_the_primary_puts_it_in_with_its_own_credentials(shared: dict[str, Registration]) -> None:
    """Over stdin as a secret, on the node that has the registry; nothing runs at destroy."""
    command = shared[NAME]
    assert command.type == "command:remote:Command"
    assert command.plain("create") == "exec sudo -n /opt/gitlab/embedded/bin/ruby --disable-gems - lock_file"
    assert "delete" not in command.inputs
    assert command.secret("stdin")
    assert command.plain("connection")["host"] == "10.10.0.11"
    found = order(command)
    keys = {"access_key": "id-of-london-storage-key", "secret_key": "secret-of-london-storage-key"}
    assert found["storage"] | {**keys, "write": True, "bucket": "acme-registry"} == found["storage"]
    assert found["secrets"] == {}


def test_all_nodes_wait_for_it(shared: dict[str, Registration]) -> None:
    """Also the primary's: a storage that is refused is so before anything is touched. It waits for bucket and permissions."""
    assert NAME in shared["tokyo-1-settings"].depends_on
    assert NAME in shared["london-1-settings"].depends_on
    waits = shared[NAME].depends_on
    assert {
        "acme-registry-encryption",
        "acme-registry-tls-only",
        "london-storage-key",
        "key",
    } <= waits
    assert not [name for name in waits if name.endswith("-settings")]


def test_another_version_or_a_new_proof_has_it_looked_at_again(shared: dict[str, Registration]) -> None:
    """And nothing that has to do with the nodes only."""
    same = record(changed(SHARED, lambda c: c.update(replication=False, rotate={"notification_secret": 1})))
    assert order(same[NAME]) == order(shared[NAME])
    for change in ({"gitlab_version": "18.9"}, {"proof": "again"}):
        assert order(record({**SHARED, **change})[NAME]) != order(shared[NAME])


def test_what_the_registry_says_of_each_object_is_said_of_this_one() -> None:
    """Where a bucket's policy asks for encryption with a key, or for an ACL."""
    key = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    encrypted = record(changed(SHARED, lambda c: c["storage"]["s3"].update(kms_key_id=key)))
    assert order(encrypted[NAME])["storage"]["headers"] == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": key,
    }
    options = {"encrypt": True, "objectacl": "bucket-owner-full-control"}
    place = {"create": False, "options": options}
    others = record(changed(SHARED, lambda c: c["storage"]["s3"].update(place)))
    assert order(others[NAME])["storage"]["headers"] == {
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-server-side-encryption": "AES256",
    }


def test_after_a_promotion_the_new_primary_puts_it_in() -> None:
    """With its credentials, which may write now."""
    promoted = record(changed(SHARED, lambda c: c.update(primary="tokyo")))
    assert promoted[NAME].plain("connection")["host"] == "10.20.0.11"
    assert order(promoted[NAME])["storage"]["access_key"] == "id-of-tokyo-storage-key"


def test_a_primary_that_is_made_here_signs_as_its_server() -> None:
    """There is no key: the instance metadata service has the credentials."""
    made = record(CREATED)
    assert order(made[NAME])["storage"]["access_key"] is None
    assert "london-1-address-of-instance" in made[NAME].depends_on


def test_google_and_azure_are_signed_in_to_with_the_primarys_credentials() -> None:
    """The same secrets that the registry has; none of another site's."""
    google = on_storage(gcs={"bucket": "acme"})
    for name, site in google["sites"].items():
        site["credentials"] = {"gcs": {"credentials": service_account(name)}}
    found = order(record(google)[NAME])
    assert found["secrets"]["gcs_credentials"]["client_email"].startswith("london@")
    azure = on_storage(azure={"accountname": "acme", "container": "registry"})
    for name, site in azure["sites"].items():
        keys = {"tenant_id": "t", "client_id": f"app-{name}", "secret": f"s3cr3t-{name}"}
        site["credentials"] = {"azure": {"credentials_type": "client_secret"} | keys}
    found = order(record(azure)[NAME])
    assert found["secrets"] == {"azure_secret": "s3cr3t-london"}
    assert found["storage"].items() >= {
        "url": "https://acme.blob.core.windows.net",
        "account": "acme",
        "container": "registry",
        "credentials_type": "client_secret",
        "client_id": "app-london",
    }.items()  # fmt: skip


def test_with_the_registry_on_its_own_host_a_web_node_puts_it_in() -> None:
    """That host need not have Ruby, and the keys are known."""
    host = {"host": "10.10.0.15", "host_key": HOST_KEY, "config": "/etc/r.yml", "certificate": "/etc/r.crt"}
    hosts = {"london-images": host | {"restart": "true"}}

    def outside(raw: dict[str, Any]) -> None:
        raw["sites"]["london"]["external_registry"] = {"hosts": hosts}
        raw["sites"]["london"]["nodes"]["london-1"]["roles"] = ["rails", "sidekiq"]

    found = record(changed(SHARED, outside))[NAME]
    assert found.plain("connection")["host"] == "10.10.0.11"
    assert order(found)["registry_kind"] == "external"


def test_no_file_where_nobody_is_kept_from_writing_or_the_driver_has_none() -> None:
    """A storage for each site; swift, which GitLab's registry lost before it had lock files."""
    assert NAME not in record(per_site())
    swift = on_storage(swift={"authurl": "https://k.example.com/v3", "container": "r", "tenant": "t"})
    for name, site in swift["sites"].items():
        site["credentials"] = {"swift": {"username": f"r-{name}", "password": "p4ssw0rd-p4ssw0rd"}}
    assert NAME not in record(swift | {"gitlab_version": "16.11"})


def test_a_secondary_that_is_added_later_finds_it_there(shared: dict[str, Registration]) -> None:
    """A site alone has the file already, by the very same order: the primary is not connected to again."""
    alone = record(changed(SHARED, lambda c: c["sites"].pop("tokyo")))
    assert order(alone[NAME]) == order(shared[NAME])
