"""docs/state.md: one stack's state in S3, two people at it, one of them killed; each step as the page has it."""

from __future__ import annotations

import json
import os
import re

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.api import Lab
from lab.host import Host
from tests.e2e.faults import refused
from tests.e2e.team import (
    BUCKET,
    LIST_VERSIONS,
    LOCKED,
    LOGIN,
    RESTORE_VERSION,
    STACK,
    Colleague,
    begun,
    checkpoint,
    held,
    locks,
    make_bucket,
    pending,
)

REGISTRY_BUCKET = "acme-gitlab-registry"
S3_HOST = "s3.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def anna(fresh: Lab) -> Colleague:
    """Makes the bucket, and has a stack on her own disk, with a passphrase, applied."""
    anna = Colleague(fresh, "anna", "the first passphrase")
    make_bucket(anna)
    anna.types("pulumi login --local")
    anna.types("pulumi stack init prod --secrets-provider=passphrase")
    anna.types("pulumi up")
    return anna


@pytest.fixture(scope="module")
def moved(anna: Colleague) -> dict[str, str]:
    """Anna's stack in the bucket; what was said on the way."""
    before = anna.exported()
    anna.types(LOGIN)
    said = {"migrate": anna.types("pulumi stack migrate file://~ prod", "yes\n")}
    anna.types("pulumi stack select prod")
    said["preview"] = anna.types("pulumi preview")
    assert anna.exported() == before
    return said


@pytest.fixture(scope="module")
def ben(anna: Colleague, moved: dict[str, str], fresh: Lab) -> Colleague:
    """Has a checkout of their own of what Anna has committed, and is logged in."""
    ben = Colleague(fresh, "ben", "the first passphrase")
    ben.pulls(anna)
    ben.types(LOGIN)
    ben.types("pulumi stack select prod")
    return ben


def nothing_to_do(colleague: Colleague) -> None:
    """The preview shows no change, and each node has been proven."""
    assert "43 unchanged" in (preview := colleague.types("pulumi preview")), preview
    assert "to create" not in preview and "to update" not in preview and "to delete" not in preview
    proof = json.loads(colleague.types("pulumi stack output proof"))
    assert set(proof["london"]) == {"london-1"} and set(proof["tokyo"]) == {"tokyo-1"}
    assert proof["tokyo"]["tokyo-1"]["own registry refuses a push (read-only)"] == "405"


def test_the_bucket_keeps_versions_and_is_closed(anna: Colleague, fresh: Lab) -> None:
    """Versioned, never public, and by TLS only, which the lab's S3 enforces."""
    s3 = fresh.s3()
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 90
    s3.put_object(Bucket=BUCKET, Key="x", Body=b"x")
    session = boto3.Session(fresh.aws.access_key_id, fresh.aws.secret_access_key, region_name="eu-west-1")
    by_tls = session.client("s3", endpoint_url=f"https://{S3_HOST}", verify=os.environ["SSL_CERT_FILE"])
    assert by_tls.get_object(Bucket=BUCKET, Key="x")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="403"):
        session.client("s3", endpoint_url=f"http://{S3_HOST}").get_object(Bucket=BUCKET, Key="x")


def test_a_local_stack_moves_without_a_change(anna: Colleague, moved: dict[str, str], fresh: Lab) -> None:
    """Nothing would change afterwards, and the local state can go; without a login there is no stack."""
    assert "43 unchanged" in moved["preview"]
    anna.types("pulumi login --local")
    anna.types("pulumi stack remove prod --force --preserve-config")
    assert anna.stack_file.exists()
    assert "no stack named 'prod' found" in anna.is_refused("pulumi stack select prod")
    anna.types(LOGIN)
    anna.types("pulumi stack select prod")
    nothing_to_do(anna)
    text = fresh.s3().get_object(Bucket=BUCKET, Key=STACK)["Body"].read().decode()
    assert "https://registry.london.example.com" in text and "10.10.0.11" in text, "these are in clear"
    assert "PRIVATE KEY" not in text and "BEGIN CERTIFICATE" not in text
    assert "the first passphrase" not in text


def test_a_bucket_that_is_not_there_is_told(fresh: Lab, moved: dict[str, str]) -> None:
    """By its name mistyped; and S3 at an address of its own is found by the login alone."""
    carl = Colleague(fresh, "carl", None, AWS_ENDPOINT_URL_S3="http://nowhere.example.com")
    carl.values |= {"STATE-BUCKET": "acme-pulumi-stat", "S3-HOST": S3_HOST}
    login = "pulumi login 's3://STATE-BUCKET?region=REGION&endpoint=https://S3-HOST&s3ForcePathStyle=true'"
    assert "NoSuchBucket: The specified bucket does not exist" in carl.is_refused(login)
    carl.values["STATE-BUCKET"] = BUCKET
    carl.types(login)
    carl.types("pulumi stack select prod")


def test_two_ups_at_once(anna: Colleague, ben: Colleague, fresh: Lab, london: Host, tokyo: Host) -> None:
    """The second learns who holds the lock and touches nothing; afterwards it goes through, with nothing to do."""
    for colleague in (anna, ben):
        colleague.sets("rotate", {"http_secret": 1})
    committed = ben.stack_file.read_text()
    with held(fresh, london, tokyo) as release, anna.starts("pulumi up") as first:
        begun(fresh, london, tokyo)
        sessions = london.ssh_sessions(), tokyo.ssh_sessions()
        said = ben.is_refused("pulumi up")
        refused = ben.is_refused("pulumi stack change-secrets-provider passphrase", "another\n")
        assert (london.ssh_sessions(), tokyo.ssh_sessions()) == sessions
        assert locks(fresh) == 1
        release()
        first.end()
    assert LOCKED in said and "`pulumi cancel`" in said
    place = (
        rf"s3://{BUCKET}/\.pulumi/locks/organization/gitlab-geo-registry/prod/[\w-]+\.json\?region=eu-west-1"
    )
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.search(rf"{place}: created by root@\S+ \(pid {first.pid}\) at {when}", said), said
    # The engine writes this file before it asks for the lock: the page says to take it back.
    assert LOCKED in refused and ben.stack_file.read_text() != committed
    ben.stack_file.write_text(committed)
    done = london.reconfigures(), tokyo.reconfigures()
    assert "43 unchanged" in ben.types("pulumi up")
    assert (london.reconfigures(), tokyo.reconfigures()) == done
    assert locks(fresh) == 0
    nothing_to_do(ben)


def test_an_up_killed_while_it_changes_nodes(
    anna: Colleague, ben: Colleague, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Its lock stays; after a colleague's `cancel` and `up` all is whole, and no node is reconfigured once more."""
    for colleague in (anna, ben):
        colleague.sets("rotate", {"http_secret": 2})
    done = london.reconfigures(), tokyo.reconfigures()
    with held(fresh, london, tokyo), anna.starts("pulumi up") as running:
        begun(fresh, london, tokyo)
        running.kill()
        said = ben.is_refused("pulumi up")
    assert LOCKED in said and f"(pid {running.pid})" in said
    ben.types("pulumi cancel prod")
    assert pending(fresh) == ["updating registry-london-1-settings", "updating registry-tokyo-1-settings"]
    said = ben.types("pulumi up")
    assert "london-1-settings, interrupted while updating" in said
    assert "london-1: settings unchanged" in said and "tokyo-1: settings unchanged" in said
    assert (london.reconfigures(), tokyo.reconfigures()) == (done[0] + 1, done[1] + 1)
    assert pending(fresh) == [] and locks(fresh) == 0
    nothing_to_do(ben)
    assert "warning" not in anna.types("pulumi up")


def test_an_earlier_state_comes_back(anna: Colleague, moved: dict[str, str], fresh: Lab) -> None:
    """One of the history, which is then brought up to the configuration; and one that was deleted, from the versions."""
    anna.types("pulumi up")
    anna.sets("rotate", {"http_secret": 3})
    anna.types("pulumi up")
    listed = anna.types(
        "aws s3api list-objects-v2 --bucket STATE-BUCKET --prefix .pulumi/history/gitlab-geo-registry/prod/ --query 'Contents[].[LastModified, Key]' --output text"
    )
    ends = [line.split("\t") for line in listed.splitlines() if line.endswith(".checkpoint.json")]
    whole = checkpoint(fresh)
    anna.values["CHECKPOINT"] = min(ends)[1]
    anna.types(
        "aws s3api copy-object --bucket STATE-BUCKET --key .pulumi/stacks/gitlab-geo-registry/prod.json --copy-source STATE-BUCKET/CHECKPOINT"
    )
    assert checkpoint(fresh) != whole
    assert "tokyo-1-settings" in anna.types("pulumi preview --diff")
    anna.types("pulumi up")
    nothing_to_do(anna)

    fresh.s3().delete_object(Bucket=BUCKET, Key=STACK)
    assert "no stack named 'prod' found" in anna.is_refused("pulumi stack select prod")
    listed = anna.types(LIST_VERSIONS)
    anna.values["VERSION-ID"] = listed.splitlines()[0].split("\t")[1]
    anna.types(RESTORE_VERSION)
    nothing_to_do(anna)


def cut_off_creating(lab: Lab, colleague: Colleague) -> None:
    """A first `up` is killed while S3 does not answer for the registry's bucket, which is then created anyway."""
    busy = refused(f"PUT /{REGISTRY_BUCKET}", "SlowDown", 503)
    with busy, colleague.starts("pulumi up") as running:
        lab.wait(
            lambda: pending(lab) == ["creating registry-acme-gitlab-registry-bucket"], 60, "the bucket's turn"
        )
        running.kill()
    where = {"LocationConstraint": "eu-west-1"}
    lab.s3().create_bucket(Bucket=REGISTRY_BUCKET, CreateBucketConfiguration=where)  # type: ignore[arg-type]


def test_a_first_up_killed_while_it_creates(fresh: Lab, london: Host, tokyo: Host) -> None:
    """Twice: AWS has a bucket that the state does not know; then the nodes were being configured for the first time."""
    fresh.reset()
    dora = Colleague(fresh, "dora", "the first passphrase")
    make_bucket(dora)
    dora.types(LOGIN)
    dora.types("pulumi stack init prod --secrets-provider=passphrase")
    dora.types("pulumi stack select prod")

    cut_off_creating(fresh, dora)
    dora.types("pulumi cancel prod")
    said = dora.is_refused("pulumi up")
    assert (
        "acme-gitlab-registry-bucket, interrupted while creating" in said
        and "BucketAlreadyOwnedByYou" in said
    )
    fresh.s3().delete_bucket(Bucket=REGISTRY_BUCKET)
    dora.types("pulumi refresh --clear-pending-creates")
    assert pending(fresh) == []

    with held(fresh, london, tokyo), dora.starts("pulumi up") as running:
        begun(fresh, london, tokyo)
        running.kill()
        assert LOCKED in dora.is_refused("pulumi up")
    dora.types("pulumi cancel prod")
    said = dora.types("pulumi up")
    assert "tokyo-1-settings, interrupted while creating" in said and "tokyo-1: settings unchanged" in said
    assert pending(fresh) == ["creating registry-london-1-settings", "creating registry-tokyo-1-settings"]
    dora.types("pulumi refresh --clear-pending-creates")
    assert pending(fresh) == []
    assert (london.reconfigures(), tokyo.reconfigures()) == (2, 2), "once by the lab itself, once by us"
    nothing_to_do(dora)
    assert "warning" not in dora.types("pulumi up")
