"""A primary with images in legacy metadata moves to the PostgreSQL of the Linux package. Tests build on each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.host import Host
from tests import installed
from tests.e2e.importer import command, ends, name_database, run, without_up
from tests.e2e.stack import OURS, Stack, files, settle

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        installed.VERSION < (18, 3),
        reason="the Linux package creates the registry's database from GitLab 18.3 on",
    ),
]
CONFIG = "/var/opt/gitlab/registry/config.yml"


@pytest.fixture(scope="module")
def stack(replicated: Stack, fresh: Lab, london: Host) -> Stack:
    """Both sites up, with an image; London's Linux package has created an empty database for its registry."""
    london.write("/opt/gitlab/etc/lab.json", json.dumps({"registry_postgresql": True}))
    london.run("gitlab-ctl reconfigure")
    settle(london)

    def keep(config: dict[str, Any]) -> None:
        for site in config["sites"].values():
            site["storage"] = "keep"

    replicated.configure(keep)
    digest = fresh.push("london", "group/app:1")
    replicated.up()
    fresh.wait(lambda: fresh.tags("tokyo", "group/app").get("1") == digest, 60, "the backfill of tokyo")
    replicated.configure(lambda config: config["sites"]["london"].update(metadata_database="managed"))
    return replicated


def test_the_primary_is_not_switched_without_an_import(stack: Stack, london: Host) -> None:
    before = files(london), london.reconfigures()
    said = stack.fails()
    assert "[metadata-database-switched-on]" in said and "STACK=replicated SITE=london" in said
    assert (files(london), london.reconfigures()) == before


def test_the_primary_is_imported_into_the_linux_packages_own_postgresql(
    stack: Stack, fresh: Lab, london: Host
) -> None:
    """The images are there before and after; pushes reach the secondary, and the next `up` changes nothing."""
    before = fresh.tags("london", "group/app")
    assert "the import is complete" in run(stack, "london", "--yes")
    found = yaml.safe_load(london.read(CONFIG))["database"]
    assert (found["enabled"], found["host"]) == (True, "/var/opt/gitlab/postgresql")
    assert fresh.tags("london", "group/app") == before
    digest = fresh.push("london", "group/app:2", b"second")
    fresh.wait(lambda: fresh.tags("tokyo", "group/app").get("2") == digest, 60, "the push after the import")
    assert "unchanged" in stack.up()


@pytest.mark.skipif(not installed.ENFORCES_LOCK_FILES, reason="this registry has no lock files")
def test_destroy_in_the_middle_of_an_import_leaves_a_registry_that_starts(
    stack: Stack, fresh: Lab, tokyo: Host, tmp_path: Path
) -> None:
    """Its former settings do not have the database, to which the lock files belong by then."""
    before = fresh.tags("tokyo", "group/app")
    name_database(stack, fresh.database("tokyo"))
    assert "stays read-only" in ends(command(stack, "tokyo", "--yes"), 1, without_up(tmp_path))
    stack.destroy()
    tokyo.run("gitlab-ctl restart registry")
    settle(tokyo)
    assert fresh.tags("tokyo", "group/app") == before
    fresh.push("tokyo", "group/other:1")
    assert not tokyo.exists("/var/opt/gitlab/geo-registry-import") and not tokyo.exists(OURS)
