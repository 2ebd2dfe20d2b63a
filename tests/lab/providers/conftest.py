"""Fixtures of the provider tests: no lab is needed, they start what they need on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3

from lab.providers import command
from lab.providers.aws import __main__ as aws
from tests.lab.providers.harness import SSHD, Provider, Sshd, serving


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("no sshd on this machine (Debian package openssh-server)")
    server = Sshd(tmp_path_factory.mktemp("sshd"), "AcceptEnv LAB_*")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """The command provider, without the agent that the developer may have."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with serving(command.servicer()) as provider:
        yield provider


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    from lab import aws_patches
    from lab.cloud import account

    aws_patches.prepare()
    account._agree_on_groups()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty AWS account at this URL, and an environment that leads there."""
    return _emptied(moto_url, monkeypatch)


@pytest.fixture(scope="module")
def shared_moto(moto_url: str) -> Iterator[str]:
    """The same once for a whole module, whose tests do not get into each other's way."""
    with pytest.MonkeyPatch.context() as patch:
        yield _emptied(moto_url, patch)


def _emptied(url: str, patch: pytest.MonkeyPatch) -> str:
    urllib3.request("POST", f"{url}/moto-api/reset")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_REGION", "eu-west-1")
    return url


@pytest.fixture
def s3(moto: str) -> Any:
    return boto3.client("s3", region_name="eu-west-1")


@pytest.fixture
def iam(moto: str) -> Any:
    return boto3.client("iam", region_name="eu-west-1")


@pytest.fixture
def cloud(moto: str) -> Iterator[Provider]:
    """The aws provider, configured from the environment."""
    with serving(aws.servicer()) as provider:
        provider.configure()
        yield provider


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder that commands over SSH may write to (sshd runs as the same user)."""
    return tmp_path
