"""A host without a lab around it, for the tests of gitlab-ctl, and a PostgreSQL server of the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.api import Lab
from lab.databases import Database
from tests.lab.omnibus.gitlab_site import GitLabSite
from tests.lab.omnibus.gitlab_tree import GitLabTree, made


@pytest.fixture
def host() -> Iterator[GitLabTree]:
    with made("host") as (tree,):
        yield tree


@pytest.fixture
def site() -> Iterator[GitLabSite]:
    """A site whose registry can have a metadata database."""
    with made("london") as (tree,):
        tree.install("18.11.0")
        yield GitLabSite(tree)


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Database]:
    found = lab.database("london")
    yield found
    found.remove()


@pytest.fixture
def database(server: Database) -> Iterator[Database]:
    """Empty, and without a fault afterwards."""
    yield server
    server.start()
    if server.query("SELECT pg_is_in_recovery()", "postgres") == "t":
        server.standby(False)
    server.tls(True)
    server.change_password()
    server.empty()
