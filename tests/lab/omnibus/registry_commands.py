"""The commands of the stand-in for GitLab's registry, with a metadata database of the lab."""

from __future__ import annotations

import subprocess

from lab.databases import Database
from tests.lab.omnibus.gitlab_site import GitLabSite
from tests.lab.omnibus.gitlab_tree import OMNIBUS, run_as

LOCKS = "/images/docker/registry/lockfiles"
FILESYSTEM, IN_DATABASE = f"{LOCKS}/filesystem-in-use", f"{LOCKS}/database-in-use"
BODY = '{"version":1}'


def lines(database: Database, enabled: str = "true", **other: str) -> str:
    values = {
        "host": database.host,
        "user": database.user,
        "password": database.password,
        "dbname": database.name,
        "sslmode": "verify-full",
    } | other
    pairs = "".join(f", '{name}' => '{value}'" for name, value in values.items())
    return f"registry['auto_migrate'] = false\nregistry['database'] = {{ 'enabled' => {enabled}{pairs} }}\n"


def run(site: GitLabSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`registry database …` with the site's configuration."""
    return subprocess.run(
        [
            str(OMNIBUS / "embedded/bin/registry"),
            "database",
            *arguments,
            str(site.tree.path("/registry.yml")),
        ],
        env=site.tree.environment(),
        cwd=site.tree.root,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        user=run_as(),
    )


def succeeds(site: GitLabSite, *arguments: str) -> str:
    done = run(site, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fails(site: GitLabSite, *arguments: str) -> str:
    done = run(site, *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.strip()
