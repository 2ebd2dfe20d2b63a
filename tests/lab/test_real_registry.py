"""GitLab's own registry on the lab's hosts, where GITLAB_REGISTRY names it; its metadata database in PostgreSQL."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lab import gitlab_registry
from lab.api import Lab
from lab.host import Host

REGISTRY = gitlab_registry.chosen()
pytestmark = pytest.mark.skipif(
    REGISTRY is None, reason="needs GitLab's own registry: GITLAB_REGISTRY=/opt/gitlab/embedded/bin/registry"
)
MIGRATES = (18, 3)
"""From this GitLab on each reconfigure migrates the registry's database."""
migrates = pytest.mark.skipif(
    REGISTRY is not None and tuple(map(int, REGISTRY.gitlab_version.split(".")[:2])) < MIGRATES,
    reason="needs the registry of GitLab 18.3 or newer: before, no reconfigure migrates its database",
)


def switch_on(host: Host) -> Any:
    """The metadata database in the PostgreSQL of omnibus; the reconfigure's end."""
    text = host.read("/etc/gitlab/gitlab.rb").decode()
    changed = text.replace(
        "registry['database'] = { 'enabled' => false }", "registry['database'] = { 'enabled' => true }"
    )
    assert changed != text
    host.write("/etc/gitlab/gitlab.rb", changed)
    return host.run("gitlab-ctl reconfigure", check=False, timeout=300)


def log(host: Host) -> str:
    return host.read("/var/log/gitlab/registry/current").decode(errors="replace")


def test_hosts_run_it_with_what_the_reconfigure_writes(london: Host, tokyo: Host) -> None:
    """The program itself, its own version and that of its GitLab; its command line is that of the Linux package."""
    assert REGISTRY is not None
    for host in (london, tokyo):
        assert f" v{REGISTRY.version}-" in host.read("/var/opt/gitlab/registry/VERSION").decode()
        assert host.gitlab_version == REGISTRY.gitlab_version
        assert "/opt/gitlab/embedded/bin/registry serve ./config.yml" in host.processes()
        assert not [one for one in host.processes() if "docker-registry" in one or "bin/postgres" in one]


def test_images_are_pushed_and_pulled(fresh: Lab) -> None:
    """With tokens of the lab's Rails."""
    digest = fresh.push("london", "group/app:1")
    assert fresh.pull("london", "group/app:1") == digest


@migrates
def test_a_primary_has_its_metadata_in_postgresql(fresh: Lab, london: Host) -> None:
    """The reconfigure makes and migrates the database; what is pushed from then on is in it."""
    london.run(
        "rm -rf /var/opt/gitlab/gitlab-rails/shared/registry/docker"
    )  # images of before would be in the way
    done = switch_on(london)
    assert done.returncode == 0, done.stdout
    london.wait_ready(60)
    digest = fresh.push("london", "group/database:1")
    assert fresh.tags("london", "group/database") == {"1": digest}
    psql = "/opt/gitlab/embedded/bin/psql -h /var/opt/gitlab/postgresql -d registry -Atc"
    found = london.run(psql + " 'TABLE repositories'", user="registry").stdout
    assert "|group/database|" in found


@migrates
def test_a_secondary_cannot_use_the_replicated_one(fresh: Lab, london: Host, tokyo: Host) -> None:
    """Its reconfigure fails at the migrations, its registry at each start; the primary's goes on."""
    done = switch_on(tokyo)
    assert done.returncode == 1
    assert (
        "cannot execute CREATE TABLE in a read-only transaction (SQLSTATE 25006)" in done.stdout + done.stderr
    )
    fresh.wait(
        lambda: re.search("the database is in read-only mode .in recovery.", log(tokyo)), 30, "its refusal"
    )
    assert fresh.http_status("https://registry.tokyo.example.com/v2/") == 502
    digest = fresh.push("london", "group/database:2")
    assert fresh.tags("london", "group/database")["2"] == digest
