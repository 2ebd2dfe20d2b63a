"""Metadata databases: a GitLab 19 primary as installed, a secondary with a PostgreSQL that exists. Tests build on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.databases import Database
from lab.host import Host
from tests import installed
from tests.e2e.stack import GITLAB_RB, OURS, Stack, files, play, secrets, settle

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        installed.VERSION < (18, 3),
        reason="the Linux package creates the registry's database from GitLab 18.3 on",
    ),
]
CONFIG = "/var/opt/gitlab/registry/config.yml"
AUTHORITY = "/etc/ssl/certs/database-ca.pem"
FAULTS: list[tuple[str, Callable[[Database], object], Callable[[Database], object]]] = [
    ("metadata-database-unreachable", Database.stop, Database.start),
    ("metadata-database-login-refused", lambda it: it.change_password("another"), Database.change_password),
    ("metadata-database-without-tls", lambda it: it.tls(False), lambda it: it.tls(True)),
    ("metadata-database-too-old", lambda it: it.pretend_version(140012), lambda it: it.pretend_version(None)),
    ("metadata-database-in-use", Database.other_tables, Database.empty),
]


@pytest.fixture(scope="module")
def image(fresh: Lab, london: Host) -> str:
    """The digest of an image at London, whose gitlab.rb says nothing of the database: `prefer`, with GitLab's own."""
    stated = "" if installed.VERSION >= (19, 0) else "registry['database'] = { 'enabled' => 'prefer' }"
    london.run(f"sed -i \"s/^registry\\['database'\\].*/{stated}/\" {GITLAB_RB}")
    london.run("gitlab-ctl reconfigure")
    settle(london)
    assert database(london)["enabled"] == "prefer"
    return fresh.push("london", "group/app:before")


@pytest.fixture(scope="module")
def server(fresh: Lab) -> Database:
    """Tokyo's PostgreSQL."""
    return fresh.database("tokyo")


@pytest.fixture(scope="module")
def stack(replicated: Stack, image: str, server: Database, fresh: Lab, tokyo: Host) -> Stack:
    """Both sites keep their storage; London's database is GitLab's own, and Tokyo's is on the server."""
    tokyo.write(AUTHORITY, fresh.site_ca("tokyo"))

    def change(config: dict[str, Any]) -> None:
        for site in config["sites"].values():
            site["storage"] = "keep"
        config["sites"]["london"]["metadata_database"] = "managed"
        config["sites"]["tokyo"]["metadata_database"] = {
            "host": server.host,
            "sslmode": "verify-full",
            "sslrootcert": AUTHORITY,
        }

    replicated.configure(change)
    password = (
        "config",
        "set",
        "--secret",
        "--path",
        "sites.tokyo.metadata_database.password",
        server.password,
    )
    fresh.pulumi(*password, stack=replicated.name)
    return replicated


def database(host: Host) -> dict[str, Any]:
    """The section of config.yml."""
    found: dict[str, Any] = yaml.safe_load(host.read(CONFIG))["database"]
    return found


@pytest.fixture
def untouched(tokyo: Host) -> Iterator[None]:
    """Nothing changes at Tokyo."""
    before = files(tokyo), tokyo.reconfigures()
    yield
    assert (files(tokyo), tokyo.reconfigures()) == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("code", "spoil", "fix"), FAULTS, ids=[code for code, *_ in FAULTS])
def test_what_a_registry_cannot_use_is_refused_before_anything_is_changed(
    stack: Stack,
    server: Database,
    code: str,
    spoil: Callable[[Database], object],
    fix: Callable[[Database], object],
) -> None:
    """By the PostgreSQL's own answer to the registry's node, without the password."""
    spoil(server)
    try:
        said = stack.fails()
    finally:
        fix(server)
    assert f"[{code}]" in said and "state: nothing was changed on this node" in said
    assert server.password not in said


def test_a_primary_as_installed_is_taken_over(
    stack: Stack, london: Host, tokyo: Host, fresh: Lab, image: str
) -> None:
    """One `up`: no import, the database is GitLab's own and Tokyo's on its server; what was pushed before is there."""
    host = database(london)["host"]
    stack.up()
    assert (database(london)["enabled"], database(london)["host"]) == (True, host)
    assert fresh.pull("london", "group/app:before") == image
    found = database(tokyo)
    assert (found["enabled"], found["host"]) == (True, "db.tokyo.example.com")
    assert found["password"] == secrets(tokyo)["database_password"]
    sites = stack.outputs()["sites"]
    assert [sites[name]["metadata"] for name in ("london", "tokyo")] == [
        "managed",
        "db.tokyo.example.com:5432/registry",
    ]
    assert "unchanged" in stack.up()


def _has(lab: Lab, tag: str, digest: str) -> bool:
    return lab.tags("tokyo", "group/app").get(tag) == digest


def test_images_are_replicated_between_databases(
    stack: Stack, fresh: Lab, image: str, server: Database
) -> None:
    """One that was pushed before by the backfill, a new one by its event."""
    digest = fresh.push("london", "group/app:after", b"after")
    for tag, expected in (("before", image), ("after", digest)):
        arrived = partial(_has, fresh, tag, expected)
        fresh.wait(arrived, 60, f"{tag} at tokyo")
    assert server.query("SELECT count(*) FROM schema_migrations") != "0"


def test_a_promotion_is_refused_until_the_former_primary_has_a_database(
    stack: Stack, london: Host, fresh: Lab
) -> None:
    """GitLab's own would become a replica; another, empty one would hide the images."""
    before, text = (files(london), london.reconfigures()), stack.file.read_text()
    stack.configure(lambda config: config.update(primary="tokyo"))
    assert "[database-managed-at-secondary]" in stack.preview(check=False)
    other = fresh.database("london")
    named = {"host": other.host, "password": other.password}
    stack.configure(lambda config: config["sites"]["london"].update(metadata_database=named))
    assert "[database-managed-at-secondary]" not in stack.preview()
    assert "[metadata-database-would-change]" in stack.fails()
    stack.file.write_text(text)
    assert (files(london), london.reconfigures()) == before


def test_a_promotion_goes_through_with_a_copied_database(
    stack: Stack, london: Host, tokyo: Host, fresh: Lab, image: str
) -> None:
    """London's registry moves to the copy while London is the primary, and keeps its images as a secondary."""
    other = fresh.database("london")
    # As the registry's account, which the PostgreSQL of the Linux package lets in.
    dump = "for dump in /usr/lib/postgresql/*/bin/pg_dump; do :; done; "
    dump += "chpst -u registry:registry $dump --no-owner --host /var/opt/gitlab/postgresql registry"
    other.query(f"SET ROLE {other.user};\n{london.run(dump).stdout}")

    def move(config: dict[str, Any]) -> None:
        config["sites"]["london"]["metadata_database"] = {"host": other.host, "password": other.password}
        config["storage"]["data_moved"] = True

    stack.configure(move)
    stack.up()
    stack.configure(lambda config: config["storage"].pop("data_moved"))
    assert database(london)["host"] == other.host
    assert fresh.pull("london", "group/app:before") == image

    play(london, "secondary")
    play(tokyo, "primary")
    stack.configure(lambda config: config.update(primary="tokyo"))
    stack.up()
    assert fresh.pull("london", "group/app:before") == image
    digest = fresh.push("tokyo", "group/app:promoted", b"promoted")
    fresh.wait(lambda: fresh.tags("london", "group/app").get("promoted") == digest, 60, "promoted at london")


def test_destroy_names_the_databases_that_only_this_program_configured(
    stack: Stack, server: Database, london: Host
) -> None:
    """The registries' former settings do not have them, and only the administrator knows what should be."""
    said = stack.destroy()
    for host in (server.host, "db.london.example.com"):
        assert f"the registry no longer uses the metadata database {host}/registry" in said
    assert not london.exists(OURS)
