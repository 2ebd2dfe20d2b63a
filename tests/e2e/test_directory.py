"""A stated directory: tokyo's images are copied to it, and it is not changed under them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import Stack, files

STORED = "/srv/registry-images"


def state(directory: str) -> Any:
    """london keeps what it has; tokyo's images are in a directory."""

    def change(config: dict[str, Any]) -> None:
        config["sites"]["london"]["storage"] = "keep"
        config["sites"]["tokyo"]["storage"] = {"filesystem": {"rootdirectory": directory}}

    return change


@pytest.fixture(scope="module")
def up(replicated: Stack, tokyo: Host) -> str:
    tokyo.run(f"install -d -o registry {STORED} || install -d -m 777 {STORED}")
    replicated.configure(state(STORED))
    return replicated.up()


def test_images_are_copied_to_the_directory(up: str, replicated: Stack, fresh: Lab, tokyo: Host) -> None:
    """Pushed to london, in tokyo's directory with an equal digest; another `up` does nothing."""
    digest = fresh.push("london", "group/app:1", seed=b"one")
    fresh.wait(lambda: fresh.tags("tokyo", "group/app").get("1") == digest, 60, "the image at tokyo")
    assert "app" in tokyo.run(f"ls {STORED}/docker/registry/v2/repositories/group").stdout
    checks = replicated.outputs()["proof"]["tokyo"]["tokyo-1"]
    assert checks[f"directory {STORED} is on this node's local disk"] == "yes"
    sessions = tokyo.ssh_sessions()
    replicated.up()
    assert tokyo.ssh_sessions() == sessions


def test_it_is_not_changed_under_images(up: str, replicated: Stack, tokyo: Host) -> None:
    """Another directory is refused before anything is touched: the images would not be found there."""
    before = files(tokyo)
    replicated.configure(state("/srv/elsewhere"))
    output = replicated.fails()
    assert "tokyo-1 (site tokyo): refused: its registry would move from filesystem" in output
    assert "to filesystem srv/elsewhere" in output
    assert files(tokyo) == before
    replicated.configure(state(STORED))
