"""The stand-in for GitLab's registry and its metadata database, which is a real PostgreSQL of the lab."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.databases import Database
from tests.lab.omnibus.gitlab_site import GitLabSite, http
from tests.lab.omnibus.gitlab_tree import OMNIBUS, wait_for
from tests.lab.omnibus.registry_commands import BODY, FILESYSTEM, IN_DATABASE, fails, lines, run, succeeds
from tests.lab.omnibus.test_registry_stand_in import refuses

MANIFESTS = "/images/docker/registry/v2/repositories/group/app/_manifests/.keep"
PENDING = (
    "there are pending database migrations, use the 'registry database migrate' CLI command to check "
    "and apply them"
)
CONFIGURING = "creating new registry instance: configuring application: "


def headers(site: GitLabSite) -> dict[str, str]:
    return http("GET", f"{site.registry_url}/v2/").headers


# -- the start


def wrong_password(database: Database) -> dict[str, str]:
    database.change_password("another")
    return {}


def stopped(database: Database) -> dict[str, str]:
    database.stop()
    return {}


def without_tls(database: Database) -> dict[str, str]:
    database.tls(False)
    return {"sslmode": "require"}


def by_address(database: Database) -> dict[str, str]:
    """The certificate has the name alone."""
    return {"host": database.address}


def too_old(database: Database) -> dict[str, str]:
    database.pretend_version(140012)
    return {}


def standby(database: Database) -> dict[str, str]:
    database.standby(True)
    return {}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (wrong_password, 'server error: FATAL: password authentication failed for user "registry" (SQLSTATE 28P01)'),
        (stopped, "dial error: dial tcp 10.99.0.21:5432: connect: connection refused"),
        (lambda _: {"host": "db.nowhere.example.com"}, "hostname resolving error: lookup db.nowhere.example.com"),
        (without_tls, "tls error: server refused TLS connection"),
        (by_address, "x509: certificate is valid for db.london.example.com, not 10.99.0.21"),
        (lambda _: {"dbname": "another"}, 'FATAL: database "another" does not exist (SQLSTATE 3D000)'),
        (lambda _: {"user": "somebody"}, 'FATAL: password authentication failed for user "somebody" (SQLSTATE 28P01)'),
    ],
)  # fmt: skip
def test_a_database_that_cannot_be_used_ends_it(
    site: GitLabSite, database: Database, fault: Callable[[Database], dict[str, str]], said: str
) -> None:
    """At its start, with the words of GitLab's registry; likewise the migrations."""
    settings = fault(database)
    site.reconfigure(lines(database, **settings))
    problem = (
        "verification failed: failed to connect to "
        f"`user={settings.get('user', 'registry')} database={settings.get('dbname', 'registry')}`: "
    )
    found = refuses(site)
    assert f"{CONFIGURING}failed to initialize database connections: failed to open primary " in found
    assert f"database connection: {problem}" in found and said in found
    found = fails(site, "migrate", "up")
    assert found.startswith(f"failed to construct database connection: {problem}") and said in found
    assert not site.tree.exists(IN_DATABASE)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (too_old, "the database version is lower than the minimal supported version 15.0"),
        (standby, "the database is in read-only mode (in recovery)"),
        (lambda _: {}, PENDING),
    ],
)
def test_a_database_that_is_not_right_ends_it(
    site: GitLabSite, database: Database, fault: Callable[[Database], dict[str, str]], said: str
) -> None:
    """Too old, a replica, not migrated: all of them answer."""
    fault(database)
    site.reconfigure(lines(database))
    assert CONFIGURING + said in refuses(site)
    assert not site.tree.exists(IN_DATABASE)


def test_a_replica_is_not_migrated(site: GitLabSite, database: Database) -> None:
    database.standby(True)
    site.reconfigure(lines(database))
    assert fails(site, "migrate", "up") == (
        "failed to prepare Up plan: ERROR: cannot execute CREATE TABLE in a read-only transaction (SQLSTATE 25006)"
    )


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_every_mode_of_tls_connects(site: GitLabSite, database: Database, mode: str) -> None:
    site.reconfigure(lines(database, sslmode=mode))
    assert "pre-deployment:Unknown" in succeeds(site, "migrate", "version")


def test_a_file_of_authorities_that_is_not_there(site: GitLabSite, database: Database) -> None:
    site.reconfigure(lines(database, sslrootcert=str(site.tree.path("/nowhere.pem"))))
    assert "unable to read CA file: open " in fails(site, "migrate", "up")


def test_with_a_migrated_database_it_serves(site: GitLabSite, database: Database) -> None:
    """It marks the storage, and says in its answers that the database is on."""
    site.reconfigure(lines(database))
    succeeds(site, "migrate", "up")
    with site.registry():
        assert site.tree.read(IN_DATABASE) == BODY
        assert not site.tree.exists(FILESYSTEM)
        found = headers(site)
        assert found["gitlab-container-registry-database-enabled"] == "true"
        assert found["gitlab-container-registry-version"] == "4.39.0-gitlab"
    site.reconfigure()
    assert "registry metadata database in use, please enable the database" in refuses(site)


def test_without_a_database_it_says_so(site: GitLabSite) -> None:
    """Not before registry 3.85."""
    site.reconfigure()
    with site.registry():
        assert headers(site)["gitlab-container-registry-database-enabled"] == "false"
    site.tree.install("16.3.0")
    with site.registry():
        assert "gitlab-container-registry-database-enabled" not in headers(site)


def test_the_password_is_nowhere_to_be_seen(site: GitLabSite, database: Database) -> None:
    """Neither in a command line nor in an environment, while the database keeps the registry waiting."""
    site.reconfigure(lines(database))
    succeeds(site, "migrate", "up")
    holding = threading.Thread(
        target=database.query, args=("BEGIN; LOCK TABLE schema_migrations; SELECT pg_sleep(3)",)
    )
    holding.start()
    wait_for(
        lambda: database.query("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'") != "0"
    )
    wrapper = str(OMNIBUS / "embedded/bin/registry")
    with site.tree.process(wrapper, "serve", str(site.tree.path("/registry.yml"))):
        wait_for(lambda: any("application_name=" in text for text in processes()))
        assert not [text for text in processes() if database.password in text]
    holding.join()


def processes() -> list[str]:
    """Command line and environment of each process."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append(f"{(process / 'cmdline').read_text()} {(process / 'environ').read_text()}")
        except (OSError, UnicodeDecodeError):
            continue
    return found


# -- lock files


@pytest.mark.parametrize("enabled", ["true", "'true'", "'prefer'"])
def test_lock_files_are_looked_at_first(site: GitLabSite, database: Database, enabled: str) -> None:
    """Before the database, which does not even answer. Mode prefer goes on with the metadata of the storage."""
    database.stop()
    site.reconfigure(lines(database, enabled))
    site.tree.write(FILESYSTEM, BODY)
    if enabled == "'prefer'":
        with site.registry():
            assert headers(site)["gitlab-container-registry-database-enabled"] == "false"
            assert "falling back to legacy metadata" in site.log()
    else:
        assert "registry filesystem metadata in use, please import data before enabling" in refuses(site)
    site.tree.write(IN_DATABASE, BODY)
    assert "database-in-use and filesystem-in-use lockfiles present" in refuses(site)
    site.tree.path(FILESYSTEM).unlink()
    assert "connection refused" in refuses(site)


@pytest.mark.parametrize(("version", "hidden"), [("19.0.0", True), ("19.0.2", False), ("19.2.0", False)])
def test_prefer_and_images_without_a_lock_file(
    site: GitLabSite, database: Database, version: str, hidden: bool
) -> None:
    """The first registry of 19.0 uses the database anyway; a newer one stays with the storage and marks it."""
    site.tree.install(version)
    site.reconfigure(lines(database, "'prefer'"))
    succeeds(site, "migrate", "up")
    site.tree.write(MANIFESTS, "")
    with site.registry():
        assert headers(site)["gitlab-container-registry-database-enabled"] == str(hidden).lower()
    assert site.tree.exists(IN_DATABASE) == hidden
    assert site.tree.exists(FILESYSTEM) != hidden


def test_older_registries_have_a_flag_for_lock_files(site: GitLabSite, database: Database) -> None:
    """18.7 neither looks nor writes; 18.8 removes the other file once its database is ready."""
    site.reconfigure(lines(database))
    site.tree.write(FILESYSTEM, BODY)
    for version, written in (("18.7.0", False), ("18.8.0", True)):
        site.tree.install(version)
        succeeds(site, "migrate", "up")
        with site.registry():
            assert site.tree.exists(IN_DATABASE) == written
            assert site.tree.exists(FILESYSTEM) != written


# -- migrations


def test_migrations(site: GitLabSite, database: Database) -> None:
    """Planned, some of them, all of them; each once. It works with a configuration that has the database off."""
    site.reconfigure(lines(database, "false"))
    planned = succeeds(site, "migrate", "up", "--dry-run")
    assert planned.startswith("pre-deployment:\n2026") and "post-deployment:\n2026" in planned
    assert "OK" not in planned
    assert succeeds(site, "migrate", "status", "--up-to-date") == "false\n"
    assert "OK: applied 2 pre-deployment migration(s), 0 post-deployment" in succeeds(
        site, "migrate", "up", "-n", "2"
    )
    assert "OK: applied 4 pre-deployment migration(s), 1 post-deployment migration(s)" in succeeds(
        site, "migrate", "up"
    )
    assert re.fullmatch(
        r"OK: applied 0 pre-deployment .* 0 background migration\(s\) in \d\.\d{3}s\n",
        succeeds(site, "migrate", "up"),
    )
    assert succeeds(site, "migrate", "status", "-u") == "true\n"
    assert succeeds(site, "migrate", "version").splitlines() == [
        "pre-deployment:20260101000006_lab_import_statistics",
        "post-deployment:20260101000008_lab_post_tags_index",
    ]
    assert "20260101000003_lab_blobs" in succeeds(site, "migrate", "status")
    tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"
    assert database.query(tables) == (
        "blobs import_statistics manifests post_deploy_schema_migrations repositories schema_migrations tags "
        "top_level_namespaces"
    )
    assert (
        database.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "registry"
    )


def test_an_upgrade_has_new_migrations(site: GitLabSite, database: Database) -> None:
    """A registry of before them starts with the newer database, the newer one not with the older."""
    site.reconfigure(lines(database))
    succeeds(site, "migrate", "up")
    site.tree.install("19.0.0")
    assert PENDING in refuses(site)
    assert PENDING in fails(site, "import", "--step-one")
    assert "OK: applied 1 pre-deployment" in succeeds(site, "migrate", "up")
    site.tree.install("18.11.0")
    done = run(site, "migrate", "up")
    assert "database schema is newer than this registry build" in done.stderr
    assert "OK: applied 0" in done.stdout
    with site.registry():
        pass


def test_somebody_elses_tables(site: GitLabSite, database: Database) -> None:
    """One of the same name makes the migrations fail, others do not bother them."""
    database.other_tables()
    database.query("CREATE TABLE tags (name text)")
    site.reconfigure(lines(database))
    assert (
        'failed to run database migrations: ERROR: relation "tags" already exists (SQLSTATE 42P07)'
        in fails(site, "migrate", "up")
    )
    database.query("DROP TABLE tags")
    succeeds(site, "migrate", "up")
    assert database.query("TABLE invoices") == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("migrate", "up", "--nonsense"), "unknown flag: --nonsense"),
        (("import", "--step-one", "--step-two"), "steps two or three can't be used with step one"),
        (("import", "-2", "-3"), "step three can't be used with step two"),
        (("import", "--require-empty-database"), "unknown flag: --require-empty-database"),
        (("import", "-t", "9"), "tag-concurrency must be between 1 and 5"),
    ],
)
def test_options_that_it_refuses(
    site: GitLabSite, database: Database, arguments: tuple[str, ...], said: str
) -> None:
    site.reconfigure(lines(database))
    succeeds(site, "migrate", "up")
    assert fails(site, *arguments) == said


def test_a_configuration_that_is_not_there(site: GitLabSite) -> None:
    site.tree.write("/registry.yml", "")
    site.tree.path("/registry.yml").unlink()
    assert "configuration error: open " in fails(site, "migrate", "up")
