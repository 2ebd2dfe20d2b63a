"""Hosts by their IPv6 addresses, and the registry's metadata database on and off. Tests build on each other.

Debian's registry knows no metadata database: what is shown of it is what omnibus is told and renders, and what
is refused, not a registry that uses one.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.gitlab_registry import VARIABLE
from lab.host import Host
from lab.layouts import LAYOUTS
from tests.e2e.stack import Stack, files, secrets

pytestmark = pytest.mark.e2e
CONFIG = "/var/opt/gitlab/registry/config.yml"
only_rendered = pytest.mark.skipif(
    bool(os.environ.get(VARIABLE)),
    reason="GitLab's own registry would use the database, and the lab has none at db.SITE.example.com",
)


@pytest.fixture(scope="module")
def up(replicated: Stack, fresh: Lab) -> Stack:
    """Both sites by IPv6, a bucket each, an image in both."""

    def addresses(config: dict[str, Any]) -> None:
        for site in LAYOUTS["default"].sites:
            for node in site.nodes:
                config["sites"][site.name]["nodes"][node.name]["host"] = node.address6

    replicated.configure(addresses)
    replicated.up()
    digest = fresh.push("london", "group/app:1")
    fresh.wait(lambda: fresh.tags("tokyo", "group/app").get("1") == digest, 60, "the image at tokyo")
    return replicated


def databases(config: dict[str, Any]) -> None:
    for name, site in config["sites"].items():
        site["metadata_database"] = {"host": f"db.{name}.example.com", "password": f"password-of-{name}"}


def test_hosts_are_reached_by_ipv6(up: Stack, london: Host, tokyo: Host) -> None:
    """The address is pinned to the host key as any other; sshd saw it come."""
    for host in (london, tokyo):
        log = host.read("/var/log/auth.log").decode()
        accepted = [line for line in log.splitlines() if line.startswith("Accepted ")]
        assert accepted and all(" from fd10:" in line for line in accepted), accepted


def test_a_database_is_not_put_over_images_unseen(up: Stack, london: Host, tokyo: Host) -> None:
    """A registry with a database does not find what is not in it: refused before anything is touched."""
    before = {host.name: (files(host), host.reconfigures()) for host in (london, tokyo)}
    up.configure(databases)
    said = up.fails()
    for name in ("london-1", "tokyo-1"):
        assert (
            f"{name} (site {name[:-2]}): refused: its registry's metadata database would be switched on"
            in said
        )
    assert "gitlab-ctl registry-database import" in said
    assert {host.name: (files(host), host.reconfigures()) for host in (london, tokyo)} == before


@only_rendered
def test_imported_metadata_are_used_at_each_site(up: Stack, london: Host, tokyo: Host, fresh: Lab) -> None:
    """`data_moved` says that they are: config.yml has each site's own database, the password from the secrets file."""
    up.configure(lambda config: config["storage"].update(data_moved=True))
    key = "sites.{}.metadata_database.password"
    assert f"{key.format('london')} stands in Pulumi.replicated.yaml as plain text" in up.preview()
    for site in ("london", "tokyo"):
        text = f"password-of-{site}"
        fresh.pulumi("config", "set", "--secret", "--path", key.format(site), text, stack="replicated")
    assert "plain text" not in up.up()
    for host in (london, tokyo):
        site = host.name[:-2]
        found = yaml.safe_load(host.read(CONFIG))["database"]
        assert (found["enabled"], found["host"]) == (True, f"db.{site}.example.com")
        assert found["password"] == secrets(host)["database_password"] == f"password-of-{site}"
    state = json.dumps(json.loads(fresh.pulumi("stack", "export", stack="replicated").stdout))
    at = state.find("password-of-")
    assert at < 0, state[at - 300 : at + 60]
    assert "db.tokyo.example.com" in state


@only_rendered
def test_a_database_is_not_taken_away_from_its_images(up: Stack, tokyo: Host) -> None:
    """Back without it is refused while there are images; with it the next `up` has nothing to do."""
    text = up.file.read_text()

    def off(config: dict[str, Any]) -> None:
        config["storage"].pop("data_moved")
        for site in config["sites"].values():
            site.pop("metadata_database")

    up.configure(off)
    assert "metadata database would be switched off" in up.fails()
    assert yaml.safe_load(tokyo.read(CONFIG))["database"]["enabled"] is True
    up.file.write_text(text)
    reconfigured = tokyo.reconfigures()
    up.up()
    assert tokyo.reconfigures() == reconfigured
