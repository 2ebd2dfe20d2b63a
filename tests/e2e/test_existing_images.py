"""Images that are there already are not lost: a storage is not changed under them, and `keep` replicates them."""

from __future__ import annotations

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.docs_reader import Reader
from tests.e2e.stack import OURS, Stack, files


@pytest.fixture(scope="module")
def digest(fresh: Lab) -> str:
    """An image in london's own storage before the first `up`."""
    return fresh.push("london", "old/image:1", seed=b"old")


def test_storage_is_not_changed_under_images(
    digest: str, existing: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Refused with an explanation; the registry goes on with its images."""
    before = (files(london), london.reconfigures())
    output = existing.fails()
    assert "london-1 (site london): refused: its registry would move from filesystem" in output
    assert "the registry holds images" in output
    assert "storage.data_moved true" in output
    assert (files(london), london.reconfigures()) == before
    assert fresh.pull("london", "old/image:1") == digest
    assert not tokyo.exists(OURS), "no other site is touched by what the primary refuses"


def test_kept_storage_replicates_what_is_there(
    digest: str, replicated: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Storage-agnostic: both sites keep their disks, and the old image arrives at tokyo."""

    def keep(config: dict[str, dict[str, dict[str, object]]]) -> None:
        for site in ("london", "tokyo"):
            config["sites"][site]["storage"] = "keep"

    replicated.configure(keep)
    replicated.up()
    fresh.wait(lambda: fresh.tags("tokyo", "old/image").get("1") == digest, 60, "the old image at tokyo")
    assert fresh.pull("tokyo", "old/image:1") == digest
    assert b"acme-registry" not in files(london)["/var/opt/gitlab/registry/config.yml"]
    assert not any("acme-registry" in b["Name"] for b in fresh.s3().list_buckets()["Buckets"])
    sessions = tokyo.ssh_sessions()
    replicated.up()
    assert tokyo.ssh_sessions() == sessions
    replicated.destroy()
    fresh.wait_ready()
    assert fresh.pull("london", "old/image:1") == digest


def test_data_that_has_been_moved_is_found(digest: str, existing: Stack, fresh: Lab, london: Host) -> None:
    """Copied as the page says, and with its commands, the same change goes through and the old image is at both."""
    assert "storage.data_moved true" in existing.fails(), "the bucket is there by now"
    disk = london.dir / "var/opt/gitlab/gitlab-rails/shared/registry"
    for file in (path for path in disk.rglob("*") if path.is_file()):
        key = str(file.relative_to(disk))
        fresh.s3().put_object(Bucket="acme-gitlab-registry", Key=key, Body=file.read_bytes())
    Reader(fresh, stack=existing.name).does("storage.md", "Existing images")
    assert "data_moved" not in existing.file.read_text()
    assert fresh.push("london", "new/image:1", seed=b"new") == fresh.pull("tokyo", "new/image:1")
    assert fresh.pull("london", "old/image:1") == fresh.pull("tokyo", "old/image:1") == digest


def test_a_move_that_is_refused_leaves_every_registry_its_rights(
    digest: str, existing: Stack, fresh: Lab
) -> None:
    """The new bucket's permissions come first and the former ones go last; then the change is simply reverted."""
    former = existing.file.read_text()
    existing.configure(lambda c: c["storage"]["s3"].update(bucket="acme-other-registry"))
    assert (
        "its registry would move from s3 acme-gitlab-registry to s3://acme-other-registry" in existing.fails()
    )
    assert fresh.pull("london", "old/image:1") == fresh.pull("tokyo", "old/image:1") == digest
    assert fresh.push("london", "newer/image:1", seed=b"newer") == fresh.pull("tokyo", "newer/image:1")
    existing.file.write_text(former)
    existing.up()
    assert fresh.pull("tokyo", "newer/image:1") == fresh.pull("london", "newer/image:1")
    (user,) = [u["UserName"] for u in fresh.iam().list_users()["Users"] if "tokyo" in u["UserName"]]
    policies = fresh.iam().list_user_policies(UserName=user)["PolicyNames"]
    assert len(policies) == 1, "the refused bucket's permissions are gone again"
