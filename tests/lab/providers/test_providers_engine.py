"""A small stack through its life with the real engine and the stand-ins as plugins: where its secrets appear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.providers.harness import Sshd
from tests.lab.providers.stacks import PASSPHRASE, Stack

PROGRAM = """
import json, os
import pulumi
import pulumi_aws as aws
from pulumi_command import remote

connection = remote.ConnectionArgs(**json.loads(os.environ["CONNECTION"]))
key = aws.iam.AccessKey("registry", user=aws.iam.User("registry").name)
command = remote.Command(
    "settings",
    connection=connection,
    create=f"cat >{os.environ['WORK']}/settings",
    stdin=pulumi.Output.secret(os.environ["SETTING"]),
    logging=remote.Logging.NONE,
)
reading = remote.Command(
    "reading",
    connection=connection,
    create="printf 'read-%s' secret",
    logging=remote.Logging.NONE,
    opts=pulumi.ResourceOptions(additional_secret_outputs=["stdout"]),
)
pulumi.export("read", reading.stdout)
pulumi.export("key", key.secret)
"""


def test_secrets_of_a_stack_appear_nowhere_but_at_log_level_9(
    tmp_path: Path, sshd: Sshd, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preview, up, a changed secret, and the log levels that the pages on security and troubles name."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keys = {
        "host": "host",
        "port": "port",
        "user": "user",
        "privateKey": "private_key",
        "hostKey": "host_key",
    }
    connection = {python: sshd.connection()[name] for name, python in keys.items()}
    settings = tmp_path / "settings"
    stack = Stack(
        tmp_path,
        PROGRAM,
        CONNECTION=json.dumps(connection),
        WORK=str(tmp_path),
        SETTING="first-secret",
    )
    shown = stack.up() + stack.state() + stack.run("stack", "output")
    outputs = stack.outputs()
    assert settings.read_text() == "first-secret"
    assert outputs["read"] == "read-secret"
    for hidden in ("first-secret", "read-secret", outputs["key"], "PRIVATE KEY"):
        assert hidden not in shown

    stack.environment["SETTING"] = "second-secret"
    preview = stack.run("preview", "--diff")
    assert "stdin: [secret] => [secret]" in preview
    assert "second-secret" not in preview + stack.up()
    assert settings.read_text() == "second-secret"

    level_7 = stack.run("preview", "-v=7", "--logtostderr")
    level_9 = stack.run("preview", "-v=9", "--logtostderr")
    assert "settings" in level_7 and "second-secret" not in level_7 and "PRIVATE KEY" not in level_7
    assert "second-secret" in level_9 and "PRIVATE KEY" in level_9
    assert PASSPHRASE not in level_9
