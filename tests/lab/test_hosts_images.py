"""Images through skopeo, GitLab's token service and the real registry, on disk and in S3."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lab import registry
from lab.api import Lab
from lab.host import Host

REPOSITORY = "group/app"
REGISTRY = "registry.london.example.com"


def test_push_pull_tags(fresh: Lab) -> None:
    """What is pushed is pulled with the same digest, and listed with it; sites are separate at first."""
    first = fresh.push("london", f"{REPOSITORY}:1", seed=b"one")
    second = fresh.push("london", f"{REPOSITORY}:2", seed=b"two")
    assert first != second
    assert fresh.pull("london", f"{REPOSITORY}:1") == first
    assert fresh.tags("london", REPOSITORY) == {"1": first, "2": second}
    assert fresh.tags("tokyo", REPOSITORY) == {}


def test_delete_takes_the_digest(fresh: Lab) -> None:
    """Deleting a tag deletes its digest: another tag on it goes too, as in the real registry."""
    digest = fresh.push("london", "group/other:1", seed=b"one")
    assert fresh.push("london", "group/other:same", seed=b"one") == digest
    kept = fresh.push("london", "group/other:2", seed=b"two")
    fresh.delete_tag("london", "group/other:1")
    assert fresh.tags("london", "group/other") == {"2": kept}


@pytest.mark.parametrize("credentials", ["root:wrong", "nobody:lab-password"])
def test_wrong_passwords_are_refused(fresh: Lab, credentials: str) -> None:
    """Nobody pushes or pulls without the right password."""
    fresh.push("london", f"{REPOSITORY}:1", seed=b"one")
    with pytest.raises(registry.SkopeoError, match=r"(?i)unauthorized|denied"):
        registry.push(REGISTRY, f"{REPOSITORY}:3", b"three", credentials)
    with pytest.raises(registry.SkopeoError, match=r"(?i)unauthorized|denied"):
        registry.pull(REGISTRY, f"{REPOSITORY}:1", credentials)


def test_images_follow_from_their_seed(tmp_path: Path) -> None:
    """The same seed makes the same image, byte for byte, on any machine and day."""

    def digest(name: str, seed: bytes) -> str:
        registry.make_image(tmp_path / name, seed)
        return hashlib.sha256((tmp_path / name / "index.json").read_bytes()).hexdigest()

    assert digest("a", b"x") == digest("b", b"x") != digest("c", b"y")


@pytest.mark.parametrize("redirect", [True, False])
def test_a_registry_on_s3(fresh: Lab, london: Host, redirect: bool) -> None:
    """A registry keeps its images in the lab's S3 by AWS's own names, with and without redirects to it."""
    bucket = f"images-{str(redirect).lower()}"
    fresh.s3().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    storage = (
        f"\nregistry['storage'] = {{ 's3_v2' => {{ 'bucket' => '{bucket}', 'region' => 'eu-west-1',"
        f" 'accesskey' => '{fresh.aws.access_key_id}', 'secretkey' => '{fresh.aws.secret_access_key}' }},"
        f" 'redirect' => {{ 'disable' => {str(not redirect).lower()} }} }}\n"
    )
    london.write("/etc/gitlab/gitlab.rb", london.read("/etc/gitlab/gitlab.rb") + storage.encode())
    london.run("gitlab-ctl reconfigure")
    london.wait_ready()
    digest = fresh.push("london", f"{REPOSITORY}:s3", seed=b"s3")
    keys = [entry["Key"] for entry in fresh.s3().list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert any(key.endswith(f"{digest.partition(':')[2]}/data") for key in keys)
    assert fresh.pull("london", f"{REPOSITORY}:s3") == digest
