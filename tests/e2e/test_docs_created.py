"""What docs/ says is done and seen on sites created on AWS, command by command. Tests build on each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.api import Lab
from tests.docs import commands
from tests.e2e.docs_reader import Reader
from tests.e2e.faults import refused
from tests.e2e.stack import OURS, Stack

BEGIN = "your-own-sites.md"
OPERATIONS = "operations.md"


@pytest.fixture(scope="module")
def reader(fresh: Lab) -> Iterator[Reader]:
    yield Reader(fresh)
    fresh.pulumi("stack", "select", "dev", stack=None)


@pytest.fixture(scope="module")
def stack(reader: Reader, fresh: Lab) -> Stack:
    """The page's steps, with an account that may not have such servers at first."""
    *first, up, steps = commands(BEGIN, "Sites created on AWS")
    reader.types(first)
    with refused("RunInstances", "VcpuLimitExceeded", 400):
        assert "VcpuLimitExceeded" in reader.types([up], fails=True)
    assert "created" in reader.types([up])
    reader.sees(BEGIN, "Sites created on AWS", reader.types([steps]))
    return Stack(fresh, "prod")


def test_sites_are_created_step_by_step(stack: Stack, fresh: Lab) -> None:
    """Where AWS refused it once, the next `up` goes on where it stopped."""
    assert set(fresh.instances()) == {"london-1", "tokyo-1"}
    assert stack.outputs()["sites"]["tokyo"]["role"] == "secondary"


def test_a_created_primary_makes_a_new_registry_key(stack: Stack, reader: Reader) -> None:
    """As at existing sites; all sites have it, and no server is replaced."""
    before = {site["key_fingerprint"] for site in stack.outputs()["sites"].values()}
    reader.types(commands(OPERATIONS, "Change the registry key")[:2])
    after = {site["key_fingerprint"] for site in stack.outputs()["sites"].values()}
    assert len(before) == len(after) == 1
    assert before != after


def test_a_server_is_replaced_on_purpose(stack: Stack, reader: Reader, fresh: Lab) -> None:
    """At the same address, configured; the other one is left alone."""
    address, sessions = fresh.host("tokyo-1").address, fresh.host("london-1").ssh_sessions()
    assert "replaced" in reader.does(OPERATIONS, "Replace a created node")
    assert fresh.host("tokyo-1").address == address
    assert fresh.host("tokyo-1").exists(OURS)
    assert fresh.host("london-1").ssh_sessions() == sessions


def test_destroy_takes_the_servers_and_leaves_the_bucket(stack: Stack, reader: Reader, fresh: Lab) -> None:
    """The bucket is shown as retained."""
    assert "[retain]" in reader.does(OPERATIONS, "Destroy")
    assert fresh.instances() == {}
    assert fresh.s3().head_bucket(Bucket="acme-gitlab-registry")
