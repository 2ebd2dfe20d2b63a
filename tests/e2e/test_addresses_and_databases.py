"""Hosts by their IPv6 addresses, and the registry's metadata database on and off. Tests build on each other.

Debian's registry reads images' metadata from storage anyway: what is shown of the database is what omnibus renders,
what the registry's start checks there, and what is refused.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.databases import Database
from lab.gitlab_registry import VARIABLE
from lab.host import Host
from lab.layouts import LAYOUTS
from tests import installed
from tests.e2e.stack import Stack, files, secrets

CONFIG = "/var/opt/gitlab/registry/config.yml"
not_imported = pytest.mark.skipif(
    bool(os.environ.get(VARIABLE)),
    reason="GitLab's own registry would not find images whose metadata nobody has imported",
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


@pytest.fixture(scope="module")
def servers(up: Stack, fresh: Lab) -> dict[str, Database]:
    """A PostgreSQL for each site, in its configuration with the password as plain text."""
    found = {site: fresh.database(site) for site in ("london", "tokyo")}

    def databases(config: dict[str, Any]) -> None:
        for name, site in config["sites"].items():
            site["metadata_database"] = {"host": found[name].host, "password": found[name].password}

    up.configure(databases)
    return found


def test_hosts_are_reached_by_ipv6(up: Stack, london: Host, tokyo: Host) -> None:
    """The address is pinned to the host key as any other; sshd saw it come."""
    for host in (london, tokyo):
        log = host.read("/var/log/auth.log").decode()
        accepted = [line for line in log.splitlines() if line.startswith("Accepted ")]
        assert accepted and all(" from fd10:" in line for line in accepted), accepted


@pytest.mark.skipif(
    not installed.MAY_HAVE_DATABASE, reason="the registry has a metadata database from GitLab 17.3 on"
)
@pytest.mark.usefixtures("servers")
def test_a_database_is_not_put_over_images_unseen(up: Stack, london: Host, tokyo: Host) -> None:
    """A registry with a database does not find what is not in it: refused before anything is touched."""
    before = {host.name: (files(host), host.reconfigures()) for host in (london, tokyo)}
    said = up.fails()
    for name in ("london-1", "tokyo-1"):
        assert (
            f"{name} (site {name[:-2]}): refused: its registry's metadata database would be switched on"
            in said
        )
    assert "make import-registry STACK=" in said
    assert {host.name: (files(host), host.reconfigures()) for host in (london, tokyo)} == before


@not_imported
def test_imported_metadata_are_used_at_each_site(
    up: Stack, london: Host, tokyo: Host, fresh: Lab, servers: dict[str, Database]
) -> None:
    """`data_moved` says that they are: config.yml has each site's own database, the password from the secrets file."""
    up.configure(lambda config: config["storage"].update(data_moved=True))
    key = "sites.{}.metadata_database.password"
    assert f"{key.format('london')} is plain text in Pulumi.replicated.yaml" in up.preview()
    for site, server in servers.items():
        fresh.pulumi(
            "config", "set", "--secret", "--path", key.format(site), server.password, stack="replicated"
        )
    assert "plain text" not in up.up()
    for host in (london, tokyo):
        site = host.name[:-2]
        found = yaml.safe_load(host.read(CONFIG))["database"]
        assert (found["enabled"], found["host"]) == (True, f"db.{site}.example.com")
        assert found["password"] == secrets(host)["database_password"] == servers[site].password
    state = json.dumps(json.loads(fresh.pulumi("stack", "export", stack="replicated").stdout))
    assert [site for site, server in servers.items() if server.password in state] == []
    assert "db.tokyo.example.com" in state


@not_imported
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
