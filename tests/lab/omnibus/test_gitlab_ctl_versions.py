"""What the lab's gitlab-ctl renders of the registry's settings, as omnibus of each version does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.omnibus.gitlab_tree import EVENT, SITE, GitLabTree

SOCKET = "/var/opt/gitlab/postgresql"
DEFAULTS = {"user": "registry", "dbname": "registry", "port": 5432, "sslmode": "prefer", "host": SOCKET}
OVERRIDDEN = "Registry database mode is set to 'prefer', but GitLab-managed PostgreSQL is disabled."


@pytest.mark.parametrize(
    ("version", "lines", "database"),
    [
        ("16.6.1", "", None),
        ("18.2.0", "", None),
        ("18.2.0", "registry['database'] = { 'enabled' => true }", {"enabled": True}),
        ("18.3.0", "", {"enabled": False, **DEFAULTS}),
        ("18.7.0", "", {"enabled": "false", **DEFAULTS}),
        ("18.11.0", "", {"enabled": "false", **DEFAULTS}),
        ("19.0.0", "", {"enabled": "prefer", **DEFAULTS}),
        ("19.0.0", "roles ['geo_secondary_role']", {"enabled": "prefer", **DEFAULTS}),
        ("19.0.0", "registry['database'] = { 'enabled' => false }", {"enabled": False, **DEFAULTS}),
        ("18.11.0", "registry['database']['enabled'] = true", {"enabled": True, **DEFAULTS}),
        (
            "19.0.0",
            "postgresql['enable'] = false",
            {"enabled": "false", "_prefer_mode_overridden": True, **DEFAULTS},
        ),
        (
            "18.6.0",
            "registry['database']['enabled'] = 'prefer'\npostgresql['enable'] = false",
            {"enabled": "prefer", **DEFAULTS},
        ),
        (
            "18.11.0",
            "postgresql['listen_address'] = '10.0.0.1,127.0.0.1'",
            {"enabled": "false", **DEFAULTS, "host": "10.0.0.1"},
        ),
        ("19.0.0", "postgresql['port'] = 5555", {"enabled": "prefer", **DEFAULTS}),
        ("19.1.0", "postgresql['port'] = 5555", {"enabled": "prefer", **DEFAULTS, "port": 5555}),
    ],
)
def test_the_metadata_database(host: GitLabTree, version: str, lines: str, database: Any) -> None:
    """No section before 18.3; off by itself up to 18.11, preferred from 19.0 on where omnibus has a PostgreSQL.

    On a secondary too, where that one is read-only.
    """
    host.install(version)
    output = host.reconfigure(SITE + lines)
    assert host.registry().get("database") == database
    assert (OVERRIDDEN in output) == bool(database and "_prefer_mode_overridden" in database)


@pytest.mark.parametrize(
    ("version", "stated", "rendered"),
    [
        ("16.11.0", {}, {"threshold": 5}),
        ("16.11.0", {"maxretries": 7}, {"threshold": 5, "maxretries": 7}),
        ("17.0.2", {"threshold": 7}, {"threshold": 7}),
        ("17.1.0", {}, {"threshold": 5, "maxretries": 5}),
        ("18.11.0", {"maxretries": 7}, {"threshold": 5, "maxretries": 7}),
        ("18.11.0", {"threshold": 7}, {"threshold": 7, "maxretries": 5}),
        ("19.0.2", {}, {"threshold": 5, "maxretries": 5}),
        ("19.1.0", {}, {"maxretries": 5}),
        ("19.1.0", {"maxretries": 7}, {"maxretries": 7}),
        ("19.1.0", {"threshold": 7}, {"threshold": 7}),
        ("19.1.0", {"threshold": 7, "maxretries": 8}, {"threshold": 7, "maxretries": 8}),
    ],
)
def test_the_retries_of_an_endpoint(
    host: GitLabTree, version: str, stated: dict[str, int], rendered: dict[str, int]
) -> None:
    """`threshold` alone up to 17.0, both up to 19.0, `maxretries` from 19.1 on, which warns of the former."""
    host.install(version)
    given = "".join(f"registry['notifications'][0]['{key}'] = {value}\n" for key, value in stated.items())
    output = host.reconfigure(SITE + EVENT + given)
    endpoint = host.registry()["notifications"]["endpoints"][0]
    assert {key: endpoint[key] for key in ("threshold", "maxretries") if key in endpoint} == rendered
    warned = "notification endpoint 'geo_event': 'threshold' is deprecated"
    assert (warned in output) == (version == "19.1.0" and stated == {"threshold": 7})


@pytest.mark.parametrize(("version", "there"), [("18.9.0", False), ("18.10.0", True)])
def test_the_time_to_drain(host: GitLabTree, version: str, there: bool) -> None:
    host.install(version)
    host.reconfigure(SITE)
    assert ("draintimeout" in host.registry()["http"]) == there


@pytest.mark.parametrize(("version", "there"), [("18.1.0", False), ("18.2.0", True)])
def test_the_registry_s_environment(host: GitLabTree, version: str, there: bool) -> None:
    host.install(version)
    host.reconfigure(SITE)
    assert host.exists("/opt/gitlab/etc/registry/env/GODEBUG") == there
    assert host.exists("/opt/gitlab/etc/registry/env/SSL_CERT_DIR")
