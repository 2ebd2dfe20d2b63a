"""A small stack through its life with the real engine and the stand-ins as plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.providers.harness import Sshd
from tests.lab.providers.stacks import Stack

pytestmark = pytest.mark.lab

PROGRAM = """
import json, os
import pulumi
import pulumi_aws as aws
from pulumi_command import remote

connection = remote.ConnectionArgs(**json.loads(os.environ["CONNECTION"]))
bucket = aws.s3.Bucket("images", region="ap-northeast-1", tags={"use": "images"})
versioning = aws.s3.BucketVersioning(
    "images", bucket=bucket.id, region="ap-northeast-1", versioning_configuration={"status": "Enabled"}
)
elsewhere = aws.Provider("elsewhere", region="us-east-1")
other = aws.s3.Bucket("other", force_destroy=True, opts=pulumi.ResourceOptions(provider=elsewhere))
user = aws.iam.User("registry")
key = aws.iam.AccessKey("registry", user=user.name)
command = remote.Command(
    "settings",
    connection=connection,
    create=f"cat >{os.environ['WORK']}/settings",
    delete=f"rm {os.environ['WORK']}/settings",
    stdin=pulumi.Output.format("{0} {1}", pulumi.Output.secret(os.environ["SETTING"]), bucket.bucket),
    logging=remote.Logging.NONE,
    add_previous_output_in_env=False,
)
reading = remote.Command(
    "reading",
    connection=connection,
    create="printf 'read-%s' secret",
    logging=remote.Logging.NONE,
    opts=pulumi.ResourceOptions(additional_secret_outputs=["stdout"]),
)
pulumi.export("bucket", bucket.bucket)
pulumi.export("regions", [bucket.region, other.region])
pulumi.export("read", reading.stdout)
pulumi.export("key", key.secret)
pulumi.export("account", aws.get_caller_identity().account_id)
"""


class Remote(Stack):
    """A stack whose commands run on the tests' SSH server."""

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        keys = {
            "host": "host",
            "port": "port",
            "user": "user",
            "privateKey": "private_key",
            "hostKey": "host_key",
        }
        connection = {python: sshd.connection()[name] for name, python in keys.items()}
        super().__init__(
            folder,
            PROGRAM,
            CONNECTION=json.dumps(connection),
            WORK=str(self.work),
            SETTING="first-secret",
        )


@pytest.fixture
def stack(tmp_path: Path, sshd: Sshd, moto: str, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Remote(tmp_path, sshd)


def test_a_stacks_whole_life(stack: Remote, s3: Any) -> None:
    """Preview, up, no-op up, a changed secret, drift and refresh, destroy: as with the real providers."""
    preview = stack.run("preview", "--diff")
    assert "[secret]" in preview
    assert "first-secret" not in preview
    assert not s3.list_buckets()["Buckets"]

    up = stack.up()
    outputs = stack.outputs()
    assert (stack.work / "settings").read_text() == f"first-secret {outputs['bucket']}"
    assert outputs["regions"] == ["ap-northeast-1", "us-east-1"]
    assert outputs["read"] == "read-secret"
    assert outputs["account"] == "123456789012"
    shown = up + stack.state() + stack.run("stack", "output")
    for hidden in ("first-secret", "read-secret", outputs["key"], "PRIVATE KEY"):
        assert hidden not in shown

    before = (stack.work / "settings").stat().st_mtime_ns
    assert "unchanged" in (unchanged := stack.up())
    assert not any(word in unchanged for word in ("updated", "created", "replaced"))
    assert (stack.work / "settings").stat().st_mtime_ns == before

    stack.environment["SETTING"] = "second-secret"
    preview = stack.run("preview", "--diff")
    assert "stdin: [secret] => [secret]" in preview
    assert "second-secret" not in preview + stack.up()
    assert (stack.work / "settings").read_text().startswith("second-secret ")

    s3.put_bucket_versioning(Bucket=outputs["bucket"], VersioningConfiguration={"Status": "Suspended"})
    assert "1 updated" in stack.run("refresh", "--yes", "--skip-preview")
    assert "1 updated" in stack.up()
    assert s3.get_bucket_versioning(Bucket=outputs["bucket"])["Status"] == "Enabled"

    # As the pages on security and troubles say it.
    level_7 = stack.run("preview", "-v=7", "--logtostderr")
    level_9 = stack.run("preview", "-v=9", "--logtostderr")
    assert "settings" in level_7 and "second-secret" not in level_7 and "PRIVATE KEY" not in level_7
    assert "second-secret" in level_9 and "PRIVATE KEY" in level_9

    stack.run("destroy", "--yes", "--skip-preview")
    assert not s3.list_buckets()["Buckets"]
    assert not (stack.work / "settings").exists()
