"""docs/state.md: a new passphrase, a KMS key instead, and what people without the permissions see."""

from __future__ import annotations

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.api import Lab
from lab.host import Host
from lab.services import AWS_ENDPOINT
from tests.docs import filled
from tests.e2e.team import (
    BUCKET,
    LIST_VERSIONS,
    LOGIN,
    RESTORE_VERSION,
    ROOT,
    STACK,
    Colleague,
    checkpoint,
    locks,
    make_bucket,
)

TO_KMS = "pulumi stack change-secrets-provider 'awskms://alias/pulumi-state?region=REGION'"
HISTORY = ".pulumi/history/"


@pytest.fixture(scope="module")
def anna(fresh: Lab) -> Colleague:
    """Has made the bucket with a KMS key for it, and a stack in it with a passphrase and a secret setting, applied."""
    anna = Colleague(fresh, "anna", "former")
    make_bucket(anna)
    key = json.loads(anna.types("aws kms create-key --region REGION --description 'Pulumi state'"))
    anna.values["STATE-KEY"] = key["KeyMetadata"]["KeyId"]
    anna.types("aws kms enable-key-rotation --region REGION --key-id STATE-KEY")
    anna.types(
        "aws kms create-alias --region REGION --alias-name alias/pulumi-state --target-key-id STATE-KEY"
    )
    anna.types(
        """aws s3api put-bucket-encryption --bucket STATE-BUCKET --server-side-encryption-configuration '{"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "STATE-KEY"}, "BucketKeyEnabled": true}]}'"""
    )
    anna.types(LOGIN)
    anna.types("pulumi stack init prod --secrets-provider=passphrase")
    anna.types("pulumi stack select prod")
    anna.hides("ssh.private_key", fresh.dir / "home/.ssh/id_ed25519")
    anna.types("pulumi up")
    return anna


@pytest.fixture(scope="module")
def ben(anna: Colleague, fresh: Lab) -> Colleague:
    """Has a checkout of their own and the passphrase."""
    ben = Colleague(fresh, "ben", "former")
    ben.pulls(anna)
    ben.types(LOGIN)
    ben.types("pulumi stack select prod")
    return ben


@pytest.fixture(scope="module")
def by_key(anna: Colleague) -> Colleague:
    """Anna, with the stack's secrets encrypted by the key."""
    if "PULUMI_CONFIG_PASSPHRASE" in anna.env:
        anna.types(TO_KMS)
        anna.knows(None)
    return anna


def person(lab: Lab, like: Colleague, name: str, policy: str, *without: str, **env: str) -> Colleague:
    """A colleague whose key has the permissions of a file of this project and no others, `without` some statements or actions."""
    document = json.loads(filled((ROOT / policy).read_text(), {**like.values, "STATE-REGION": "eu-west-1"}))
    document["Statement"] = [one for one in document["Statement"] if one["Sid"] not in without]
    for statement in document["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action not in without]
        # moto holds IAM's own actions against no resource.
        if statement["Sid"] == "RefreshRights":
            statement["Resource"] = "*"
    iam = lab.iam()
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="state", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    env |= {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    colleague = Colleague(lab, name, None, **env)
    colleague.values = dict(like.values)
    colleague.pulls(like)
    return colleague


def unchanged(colleague: Colleague) -> None:
    """Nothing would change; the preview decrypts and needs no host."""
    assert "43 unchanged" in (said := colleague.types("pulumi preview")), said
    assert not any(word in said for word in ("to create", "to update", "to delete", "to replace"))


def test_the_bucket_is_encrypted_with_the_key(anna: Colleague, fresh: Lab) -> None:
    """What the engine writes is, without a word about it in the login."""
    found = fresh.s3().head_object(Bucket=BUCKET, Key=STACK)
    assert found["ServerSideEncryption"] == "aws:kms"
    assert anna.values["STATE-KEY"] in found["SSEKMSKeyId"]


def test_a_new_passphrase(anna: Colleague, ben: Colleague, fresh: Lab, london: Host, tokyo: Host) -> None:
    """It opens all secrets, unchanged; the former opens nothing; a colleague needs it and the new file, and no host is asked."""
    before = anna.exported()
    former = anna.stack_file.read_text()
    sessions = london.ssh_sessions(), tokyo.ssh_sessions()
    unchanged(ben)
    anna.types("pulumi stack change-secrets-provider passphrase", "newer\n")
    assert anna.stack_file.read_text() != former
    written = checkpoint(fresh)

    assert "incorrect passphrase" in anna.is_refused("pulumi preview")
    anna.knows("newer")
    unchanged(anna)
    assert anna.exported() == before

    for passphrase in ("former", "newer"):  # he has not pulled yet
        ben.knows(passphrase)
        assert "incorrect passphrase" in ben.is_refused("pulumi up")
    ben.pulls(anna)
    unchanged(ben)
    assert ben.exported() == before
    ben.knows("former")
    assert "incorrect passphrase" in ben.is_refused("pulumi up")
    assert locks(fresh) == 0
    assert checkpoint(fresh) == written, "anyone who was refused has changed nothing"
    ben.knows("newer")
    assert "43 unchanged" in ben.types("pulumi up")
    assert (london.ssh_sessions(), tokyo.ssh_sessions()) == sessions


def test_a_new_passphrase_with_a_wrong_former_one(anna: Colleague, fresh: Lab) -> None:
    """It is refused; with the committed file all is as before."""
    committed, state = anna.stack_file.read_text(), checkpoint(fresh)
    right = anna.env["PULUMI_CONFIG_PASSPHRASE"]
    anna.knows("wrong")
    assert "incorrect passphrase" in anna.is_refused("pulumi stack change-secrets-provider passphrase", "x\n")
    anna.knows(right)
    anna.stack_file.write_text(committed)
    assert checkpoint(fresh) == state
    unchanged(anna)


def test_from_a_passphrase_to_kms(anna: Colleague, ben: Colleague, fresh: Lab) -> None:
    """Nobody needs a passphrase any more, secrets are as before; and once more for another data key."""
    before = anna.exported()
    assert anna.types(TO_KMS)
    anna.knows(None)
    unchanged(anna)
    assert anna.exported() == before
    ben.knows(None)
    assert "passphrase must be set with PULUMI_CONFIG_PASSPHRASE" in ben.is_refused("pulumi preview")
    ben.pulls(anna)
    unchanged(ben)
    first = anna.stack_file.read_text()
    anna.types(TO_KMS)
    assert anna.stack_file.read_text() != first
    unchanged(anna)
    assert anna.exported() == before


def test_the_rights_of_the_page_are_enough(by_key: Colleague, fresh: Lab) -> None:
    """With nothing else an `up` goes through, with its lock and its history; no former version can be deleted."""
    carl = person(fresh, by_key, "carl", "docs/state-permissions.json")
    carl.types(LOGIN)
    carl.types("pulumi stack select prod")
    s3 = fresh.s3()
    done = s3.list_objects_v2(Bucket=BUCKET, Prefix=HISTORY)["KeyCount"]
    assert "43 unchanged" in carl.types("pulumi up")
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=HISTORY)["KeyCount"] == done + 2
    assert locks(fresh) == 0
    version = s3.list_object_versions(Bucket=BUCKET, Prefix=STACK)["Versions"][-1]
    their = boto3.Session(
        carl.env["AWS_ACCESS_KEY_ID"], carl.env["AWS_SECRET_ACCESS_KEY"], region_name="eu-west-1"
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        their.client("s3", endpoint_url=AWS_ENDPOINT).delete_object(
            Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"]
        )
    assert "AccessDenied" in carl.is_refused(LIST_VERSIONS)


def test_the_preview_role_can_look_and_not_apply(by_key: Colleague, fresh: Lab) -> None:
    """ci/preview-role.json reads the state with its key; `up` is refused before it does anything."""
    url = filled("s3://STATE-BUCKET?region=REGION", by_key.values)
    job = person(fresh, by_key, "job", "ci/preview-role.json", PULUMI_BACKEND_URL=url)
    job.types("pulumi stack select prod")
    unchanged(job)
    said = job.is_refused("pulumi up")
    assert "operation error S3: PutObject" in said and "AccessDenied" in said
    assert locks(fresh) == 0


def test_who_has_no_rights_on_the_bucket_is_told(by_key: Colleague, fresh: Lab) -> None:
    """At the login already."""
    dora = person(fresh, by_key, "dora", "docs/state-permissions.json", "FindState", "ReadWriteAndLockState")
    said = dora.is_refused(LOGIN)
    assert 'read ".pulumi/meta.yaml"' in said and "AccessDenied" in said


def test_who_has_no_rights_on_the_key_is_told(by_key: Colleague, fresh: Lab) -> None:
    """When the secrets are to be read, and before the lock."""
    emil = person(fresh, by_key, "emil", "docs/state-permissions.json", "UseKey")
    emil.types(LOGIN)
    emil.types("pulumi stack select prod")
    for command in ("pulumi preview", "pulumi up"):
        said = emil.is_refused(command)
        assert "operation error KMS: Decrypt" in said
        assert "AccessDeniedException" in said and "not authorized to perform: kms:Decrypt" in said
    assert locks(fresh) == 0


def test_who_cannot_delete_leaves_a_lock_and_is_told(by_key: Colleague, fresh: Lab) -> None:
    """Somebody who has the permissions takes it away."""
    frida = person(fresh, by_key, "frida", "docs/state-permissions.json", "s3:DeleteObject")
    frida.types(LOGIN)
    frida.types("pulumi stack select prod")
    said = frida.types("pulumi up")
    assert "there was a problem deleting the lock" in said and "manual clean up may be required" in said
    assert locks(fresh) == 1
    by_key.types("pulumi cancel prod")
    assert "43 unchanged" in by_key.types("pulumi up")


def test_who_restores_needs_the_versions(by_key: Colleague, fresh: Lab) -> None:
    """With the two permissions that the page names besides, a former version is found and put back."""
    gina = person(fresh, by_key, "gina", "docs/state-permissions.json")
    versions = {
        "Effect": "Allow",
        "Action": ["s3:ListBucketVersions", "s3:GetObjectVersion"],
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/.pulumi/*"],
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [versions]})
    fresh.iam().put_user_policy(UserName="gina", PolicyName="restore", PolicyDocument=document)
    listed = gina.types(LIST_VERSIONS)
    gina.values["VERSION-ID"] = listed.splitlines()[0].split("\t")[1]
    gina.types(RESTORE_VERSION)
    unchanged(by_key)


def test_a_new_stack_with_kms(anna: Colleague, fresh: Lab) -> None:
    """It never knows a passphrase: made, and previewed by its maker."""
    hanna = person(fresh, anna, "hanna", "docs/state-permissions.json")
    hanna.stack_file.write_text((ROOT / "Pulumi.existing.yaml").read_text())
    fresh.s3().delete_object(Bucket=BUCKET, Key=STACK)
    hanna.types(LOGIN)
    hanna.types("pulumi stack init prod --secrets-provider='awskms://alias/pulumi-state?region=REGION'")
    assert "secretsprovider: awskms://alias/pulumi-state?region=eu-west-1" in hanna.stack_file.read_text()
    hanna.types("pulumi stack select prod")
    assert "to create" in hanna.types("pulumi preview")
