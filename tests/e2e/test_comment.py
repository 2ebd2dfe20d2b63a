"""`make preview-comment` and `make apply` as the CIs run them: the real engine, the read-only role, no host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.api import Lab
from lab.host import Host
from lab.services import AWS_ENDPOINT
from tests.e2e.roles import permitted
from tests.e2e.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def role(fresh: Lab) -> dict[str, str]:
    """Environment with a key that has the permissions of ci/preview-role.json and no others, and no SSH agent."""
    provided = permitted(fresh, "preview", "preview-role.json")
    return {name: value for name, value in {**os.environ, **provided}.items() if name != "SSH_AUTH_SOCK"}


def make(lab: Lab, target: str, env: Mapping[str, str], *options: str) -> tuple[str, str]:
    """A target on the lab's project; what it prints, and its other output, where the exit status is."""
    project = f"PROJECT={lab.dir / 'project'}"
    done = subprocess.run(
        ["make", "-o", "setup", target, "STACK=existing", project, *options],
        cwd=ROOT,
        env=env,
        text=True,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_the_comment_needs_no_host_and_only_the_read_only_role(
    existing: Stack, fresh: Lab, london: Host, tokyo: Host, role: dict[str, str]
) -> None:
    """Both hosts are off. Every setting is there, no secret is, and the kind of change is reported."""
    for host in (london, tokyo):
        host.stop()
    shown, status = make(fresh, "preview-comment", role)
    for host in (london, tokyo):
        host.start()
    assert "status 2 " in status
    assert shown.startswith("<!-- gitlab-geo-registry: preview of existing -->")
    assert "+registry['storage']['maintenance']['readonly']['enabled'] = true" in shown
    assert "applied for the first time, **reconfigured**, checked" in shown
    assert "PRIVATE KEY" not in shown


def test_what_was_applied_is_no_change_also_when_all_of_it_is_read(
    existing: Stack, fresh: Lab, role: dict[str, str]
) -> None:
    """The role may read all that `--refresh` reads. Then a site that is removed is reported clearly."""
    fresh.wait_ready()
    make(fresh, "apply", os.environ)
    shown, status = make(fresh, "preview-comment", role, "REFRESH=1")
    assert "nothing would change" in shown and "status 0 " in status
    former = existing.file.read_text()
    existing.configure(lambda c: c["sites"].pop("tokyo"))
    shown, status = make(fresh, "preview-comment", role)
    existing.file.write_text(former)
    assert "status 3 " in status
    assert "**DELETED** settings of a node `registry-tokyo-1-settings` (`tokyo`, `tokyo-1`)" in shown


def test_a_plugin_that_is_slow_to_end_is_no_failure(
    existing: Stack, fresh: Lab, role: dict[str, str]
) -> None:
    """The engine then says of the others that they `exited prematurely`: an error, after all its work."""
    (plugin,) = (fresh.dir / "pulumi/plugins").glob("resource-aws-*/pulumi-resource-aws")
    former = plugin.read_text()
    plugin.write_text(former.replace("exec ", "trap '' INT\n") + "\nsleep 30\n")
    shown, status = make(fresh, "preview-comment", role, "REFRESH=1")
    plugin.write_text(former)
    assert "status 0 " in status
    assert "nothing would change" in shown
    assert "plugins that the engine could not stop cleanly: pulumi-resource-" in shown


def test_the_role_can_change_nothing(existing: Stack, role: dict[str, str]) -> None:
    """Neither can it read an image."""
    session = boto3.Session(role["AWS_ACCESS_KEY_ID"], role["AWS_SECRET_ACCESS_KEY"], region_name="eu-west-1")
    s3 = session.client("s3", endpoint_url=AWS_ENDPOINT)
    iam = session.client("iam", endpoint_url=AWS_ENDPOINT)
    ec2 = session.client("ec2", endpoint_url=AWS_ENDPOINT)
    assert s3.get_bucket_versioning(Bucket="acme-gitlab-registry")["Status"] == "Enabled"
    refused: list[Callable[[], object]] = [
        lambda: s3.put_object(Bucket="acme-gitlab-registry", Key="x", Body=b"x"),
        lambda: s3.get_object(Bucket="acme-gitlab-registry", Key="x"),
        lambda: s3.put_bucket_policy(Bucket="acme-gitlab-registry", Policy="{}"),
        lambda: iam.create_access_key(UserName="preview"),
        lambda: ec2.create_vpc(CidrBlock="10.0.0.0/16"),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match=r"AccessDenied|UnauthorizedOperation"):
            attempt()
