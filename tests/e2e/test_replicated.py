"""Storage per site: an image pushed to london is copied to tokyo by Geo. Tests build on each other."""

from __future__ import annotations

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import Stack, files, measured

REPOSITORY = "group/app"


UNKNOWN = "mx-central-1"
"""A region that no registry of GitLab's starts with, unless its settings have S3's address there."""


@pytest.fixture(scope="module")
def up(replicated: Stack) -> str:
    replicated.configure(lambda c: c["sites"]["tokyo"]["storage"].update(region=UNKNOWN))
    return replicated.up()


def arrives(lab: Lab, tag: str, digest: str | None) -> float:
    """Seconds until tokyo has this digest under the tag, or no such tag."""
    return lab.wait(lambda: lab.tags("tokyo", REPOSITORY).get(tag) == digest, 60, f"{tag} at tokyo")


def test_an_image_is_copied_by_event_worker_and_registry(up: str, fresh: Lab) -> None:
    """Pushed through GitLab's token service, pulled from tokyo with an equal digest; the time is printed."""
    digest = fresh.push("london", f"{REPOSITORY}:1", seed=b"one")
    measured("from push to copy", arrives(fresh, "1", digest))
    assert fresh.pull("tokyo", f"{REPOSITORY}:1") == digest


def test_each_site_has_a_bucket_of_its_own(up: str, fresh: Lab) -> None:
    """In its region, with the image in both; encrypted, versioned, private."""
    for bucket, region in (("acme-registry-london", "eu-west-1"), ("acme-registry-tokyo", UNKNOWN)):
        s3 = fresh.s3(region)
        assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == region
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] > 0
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        uploads = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]
        assert uploads["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7


def test_a_registry_is_told_the_address_of_a_region_that_it_does_not_know(
    up: str, london: Host, tokyo: Host
) -> None:
    """And asks for the bucket by its host's name there as well; in a region that it knows nothing is said."""
    config = tokyo.read("/var/opt/gitlab/registry/config.yml").decode()
    assert f'"regionendpoint":"https://s3.{UNKNOWN}.amazonaws.com","pathstyle":false' in config
    assert "regionendpoint" not in london.read("/var/opt/gitlab/registry/config.yml").decode()


def test_new_tags_follow_and_deleted_ones_go(up: str, fresh: Lab) -> None:
    """A second tag arrives; a deleted one disappears at tokyo and the other stays."""
    second = fresh.push("london", f"{REPOSITORY}:2", seed=b"two")
    arrives(fresh, "2", second)
    fresh.delete_tag("london", f"{REPOSITORY}:1")
    arrives(fresh, "1", None)
    assert fresh.tags("tokyo", REPOSITORY) == {"2": second}


def test_replication_goes_on_after_two_reconfigures_by_hand(
    up: str, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """The mistake of carrying only the key file would show here."""
    before = {h.name: files(h) for h in (london, tokyo)}
    for _ in range(2):
        for host in (london, tokyo):
            host.run("gitlab-ctl reconfigure")
    assert {h.name: files(h) for h in (london, tokyo)} == before
    arrives(fresh, "3", fresh.push("london", f"{REPOSITORY}:3", seed=b"three"))


def test_moving_the_primary_moves_the_settings(up: str, replicated: Stack, fresh: Lab, tokyo: Host) -> None:
    """`primary: tokyo`: nodes are updated in place, tokyo notifies, london replicates; no key is read again."""
    fingerprint = replicated.outputs()["sites"]["london"]["key_fingerprint"]
    replicated.configure(lambda c: c.update(primary="tokyo"))
    preview = replicated.preview()
    assert "replace" not in preview and "delete" not in preview
    # The lab's GitLab sites keep their own roles, so only the settings are looked at, not the proof.
    replicated.configure(lambda c: c.update(primary="london"))
    assert replicated.outputs()["sites"]["tokyo"]["key_fingerprint"] == fingerprint
