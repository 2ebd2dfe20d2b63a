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
    provided = "".join(f"registry['notifications'][0]['{key}'] = {value}\n" for key, value in stated.items())
    output = host.reconfigure(SITE + EVENT + provided)
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


FORMER = """
nginx['redirect_http_to_https'] = true
registry_nginx['ssl_certificate'] = '/etc/gitlab/own.crt'
registry_nginx['listen_port'] = 5443
"""
NEWER = """
gitlab_rails['nginx']['redirect_http_to_https'] = true
registry['nginx']['ssl_certificate'] = '/etc/gitlab/own.crt'
registry['nginx']['listen_port'] = 5443
"""
CONF = "/var/opt/gitlab/nginx/conf/service_conf"


@pytest.mark.parametrize(
    ("version", "lines", "read", "warned"),
    [
        ("19.1.0", FORMER, True, False),
        ("19.1.0", NEWER, False, False),
        ("19.2.0", FORMER, True, True),
        ("19.2.0", NEWER, True, False),
        ("19.2.0", FORMER.replace("own.crt", "former.crt").replace("5443", "5444") + NEWER, True, True),
    ],
)
def test_the_names_of_nginx_settings(
    host: GitLabTree, version: str, lines: str, read: bool, warned: bool
) -> None:
    """Below each service from 19.2 on, which warns of the former ones; before it the newer ones say nothing."""
    host.install(version)
    output = host.reconfigure(SITE + lines)
    registry = host.read(f"{CONF}/gitlab-registry.conf")
    assert ("ssl_certificate /etc/gitlab/own.crt;" in registry) is read
    assert ("listen *:5443 ssl;" in registry) is read
    assert ("return 301 https://gitlab.london.example.com" in host.read(f"{CONF}/gitlab-rails.conf")) is read
    for text in (
        "nginx['redirect_http_to_https'] has been deprecated. Please use gitlab_rails['nginx']['redirect",
        "registry_nginx has been deprecated. Please use registry['nginx'] instead.",
    ):
        assert (text in output) is warned


@pytest.mark.parametrize(
    ("version", "line"),
    [("18.11.0", "registry_nginx['enable'] = false"), ("19.2.0", "registry['nginx']['enable'] = false")],
)
def test_a_node_whose_nginx_has_no_server_for_the_registry(host: GitLabTree, version: str, line: str) -> None:
    """As it must be where the registry listens on all addresses: nginx has no upstream without a host."""
    host.install(version)
    host.reconfigure(f"{SITE}registry['registry_http_addr'] = ':5000'\n{line}\n")
    assert not host.exists(f"{CONF}/gitlab-registry.conf")
    assert host.registry()["http"]["addr"] == ":5000"


@pytest.mark.parametrize("name", ["no", "2024", "null"])
def test_the_name_of_a_geo_site_is_written_without_quotes(host: GitLabTree, name: str) -> None:
    """What is not a text to YAML is not the site's name to Rails."""
    host.reconfigure(f"{SITE}gitlab_rails['geo_node_name'] = '{name}'\n")
    assert host.rails()["geo"]["node_name"] != name
    host.reconfigure(f"{SITE}gitlab_rails['geo_node_name'] = '{name}-1'\n")
    assert host.rails()["geo"]["node_name"] == f"{name}-1"


@pytest.mark.parametrize(
    ("version", "lines", "migrates"),
    [
        ("19.0.0", "", True),
        ("18.11.0", "registry['database'] = { 'enabled' => true }", True),
        ("18.11.0", "", False),
        ("19.0.0", "registry['database'] = { 'enabled' => false }", False),
        ("19.0.0", "registry['auto_migrate'] = false", False),
        ("19.0.0", "registry['database']['host'] = 'db.tokyo.example.com'", False),
        ("18.2.0", "registry['database'] = { 'enabled' => true }", False),
    ],
)
def test_the_migrations_of_a_secondary_fail_the_reconfigure(
    host: GitLabTree, version: str, lines: str, migrates: bool
) -> None:
    """Its database is a standby; nothing of it happens at a primary."""
    host.install(version)
    host.write(f"{SOCKET}/.keep", "")
    assert "cannot execute CREATE TABLE" not in host.reconfigure(SITE + lines)
    host.path(SOCKET).chmod(0o555)
    if not migrates:
        host.reconfigure()
        return
    output = host.fails(SITE + lines)
    assert "cannot execute CREATE TABLE in a read-only transaction (SQLSTATE 25006)" in output
    assert "bash_hide_env[migrate registry database: registry]" in output
