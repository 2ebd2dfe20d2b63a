"""PostgreSQL for the metadata of the hosts' registries: the one of the Linux package, and a site's own server."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from lab import gitlab_registry
from lab.api import Lab
from lab.host import Host
from tests import installed

STAND_IN = gitlab_registry.chosen() is None
OFF = "registry['database'] = { 'enabled' => false }"
PREFER = (
    "# the default" if installed.VERSION >= (19, 0) else "registry['database'] = { 'enabled' => 'prefer' }"
)
PSQL = "/opt/gitlab/embedded/bin/psql -X -At"
SOCKET = "/var/opt/gitlab/postgresql"
REGISTRY = "/opt/gitlab/embedded/bin/registry"
CONFIG = "/var/opt/gitlab/registry/config.yml"


def switch(host: Host, lines: str) -> Any:
    """Other lines for the metadata database, and a reconfigure; how it ended."""
    text = host.read("/etc/gitlab/gitlab.rb").decode()
    assert OFF in text
    host.write("/etc/gitlab/gitlab.rb", text.replace(OFF, lines))
    return host.run("gitlab-ctl reconfigure", check=False, timeout=300)


def psql(statement: str, user: str = "") -> str:
    """The command that asks the database of the Linux package, as the account that runs it or another role."""
    return f"{PSQL} -h {SOCKET} -d registry {f'-U {user}' if user else ''} -c '{statement}'"


def log(host: Host) -> str:
    return host.read("/var/log/gitlab/registry/current").decode(errors="replace")


def postgres(host: Host) -> list[str]:
    return [one for one in host.processes() if "bin/postgres" in one]


def test_nothing_runs_where_the_database_is_off(london: Host, tokyo: Host) -> None:
    """PostgreSQL's client is there anyway."""
    for host in (london, tokyo):
        assert postgres(host) == []
        assert host.run(f"{PSQL} --version").stdout.startswith("psql (PostgreSQL) ")


def test_the_linux_packages_own(fresh: Lab, london: Host, tokyo: Host) -> None:
    """By default: at the primary it is made and migrated, at a secondary it is a replica, and nothing starts."""
    done = switch(london, PREFER)
    assert done.returncode == 0, done.stdout
    london.wait_ready(60)
    assert (
        "pre-deployment:2"
        in london.run(f"{REGISTRY} database migrate version {CONFIG}", user="registry").stdout
    )
    digest = fresh.push("london", "group/managed:1")
    query = psql("SELECT path FROM repositories")
    fresh.wait(lambda: london.run(query, user="registry").stdout == "group/managed\n")
    refused = london.run(psql("SELECT 1", "registry"), user="git", check=False).stderr
    assert 'Peer authentication failed for user "registry"' in refused
    done = switch(tokyo, PREFER)
    assert done.returncode == 1
    assert "cannot execute CREATE TABLE in a read-only transaction" in done.stdout + done.stderr
    fresh.wait(lambda: "the database is in read-only mode (in recovery)" in log(tokyo))
    assert tokyo.run(query, user="registry").stdout == "group/managed\n"
    assert fresh.pull("london", "group/managed:1") == digest


def test_a_replica_of_a_primary_that_has_none(fresh: Lab, tokyo: Host) -> None:
    """A reset has removed all of it; the database of the secondary is a replica from the start."""
    fresh.reset()
    assert postgres(tokyo) == []
    assert switch(tokyo, "registry['database'] = { 'enabled' => true }").returncode == 1
    query = psql("SELECT pg_is_in_recovery()")
    assert tokyo.run(query, user="registry").stdout == "t\n"


def own(lab: Lab, site: str, **other: str) -> str:
    """The lines of gitlab.rb for the site's own server."""
    database = lab.database(site)
    values = {"host": database.host, "password": database.password, "sslmode": "verify-full"} | other
    pairs = "".join(f", '{name}' => '{value}'" for name, value in values.items())
    return f"registry['database'] = {{ 'enabled' => true{pairs} }}"


def test_a_sites_own_server(fresh: Lab, tokyo: Host) -> None:
    """Reached by its name, verified by its certificate; a reconfigure migrates it."""
    fresh.reset()
    with pytest.raises(subprocess.CalledProcessError):
        tokyo.run("/usr/lib/postgresql/*/bin/pg_isready -h db.tokyo.example.com")
    done = switch(tokyo, own(fresh, "tokyo"))
    assert done.returncode == 0, done.stdout
    tokyo.wait_ready(60)
    assert postgres(tokyo) == []
    if STAND_IN:
        # GitLab's own says it only to those who have a token.
        head = "curl -sD- -o /dev/null http://127.0.0.1:5000/v2/ | grep -i database-enabled"
        assert tokyo.run(head).stdout.strip().endswith("true")
    database = fresh.database("tokyo")
    assert database.query("SELECT count(*) FROM schema_migrations") != "0"
    assert "connection authorized: user=registry database=registry" in database.log()
    assert "SSL enabled" in database.log()


def test_a_server_that_does_not_answer_fails_the_reconfigure(fresh: Lab, tokyo: Host) -> None:
    """After a while, in omnibus' words. The link to it can be cut, and its registry ends only at its next start."""
    fresh.cut("tokyo", fresh.site("tokyo").database_host)
    began = time.monotonic()
    tokyo.write(
        "/etc/gitlab/gitlab.rb", tokyo.read("/etc/gitlab/gitlab.rb") + b"registry['log_level'] = 'warn'\n"
    )
    fresh.database("tokyo").stop()
    fresh.heal()
    done = tokyo.run("gitlab-ctl reconfigure", check=False)
    assert done.returncode == 1
    assert "PostgreSQL did not respond before service checks were exhausted" in done.stdout
    assert time.monotonic() - began < 60
    fresh.wait(lambda: "connect: connection refused" in log(tokyo))
    fresh.database("tokyo")
    assert tokyo.run("gitlab-ctl reconfigure", check=False).returncode == 0
    tokyo.wait_ready(60)


def test_servers_of_two_sites_are_apart(fresh: Lab) -> None:
    one, other = fresh.database("london"), fresh.database("tokyo")
    one.query("CREATE TABLE here (id int)")
    assert other.query("SELECT to_regclass('here')") == ""
    assert one.password != other.password
    fresh.reset()
    assert not one.is_up() and not other.is_up()


def test_the_commands_of_gitlab_ctl(fresh: Lab, london: Host) -> None:
    """They run as the account registry, need a registry that is read-only for the second step, and start it."""
    digest = fresh.push("london", "group/app:1")
    assert switch(london, own(fresh, "london").replace("true", "false", 1)).returncode == 0
    assert "OK: applied" in london.run("gitlab-ctl registry-database migrate up", timeout=300).stdout
    said = london.run("gitlab-ctl registry-database import --step-one")
    assert "Executing command:\n" in said.stdout and "-u registry:registry" in said.stdout
    refused = london.run("gitlab-ctl registry-database import --step-two", check=False)
    assert refused.returncode == 1
    assert "Command requires the container registry to be in read-only mode. Exiting..." in refused.stdout
    text = london.read("/etc/gitlab/gitlab.rb").decode()
    read_only = "registry['storage']['maintenance'] = { 'readonly' => { 'enabled' => true } }\n"
    london.write(
        "/etc/gitlab/gitlab.rb",
        text + "registry['storage'] = { 'filesystem' => { 'rootdirectory' => "
        "'/var/opt/gitlab/gitlab-rails/shared/registry' } }\n" + read_only,
    )
    london.run("gitlab-ctl reconfigure")
    london.run("gitlab-ctl registry-database import --step-two")
    database = fresh.database("london")
    assert database.query("SELECT encode(substr(digest, 2), 'hex') FROM manifests") == digest.removeprefix(
        "sha256:"
    )
    assert database.query("SELECT name FROM tags") == "1"
    locks = london.run("ls /var/opt/gitlab/gitlab-rails/shared/registry/docker/registry/lockfiles").stdout
    assert locks == "database-in-use\n"
    london.run("gitlab-ctl stop registry")
    said = london.run("gitlab-ctl registry-database migrate status -u")
    assert "true" in said.stdout and "Starting service registry" in said.stdout
    assert london.run("gitlab-ctl registry-database import --nonsense", check=False).returncode == 128
    assert london.run("gitlab-ctl registry-database", check=False).returncode == 128
