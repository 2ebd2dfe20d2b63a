"""The lock files of GitLab's registry in its storage, which Debian's knows nothing of: written, and ended by."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.omnibus.gitlab_site import GitLabSite
from tests.lab.omnibus.gitlab_tree import OMNIBUS, made, run_as, wait_for

LOCKS = "/images/docker/registry/lockfiles"
FILESYSTEM, DATABASE = f"{LOCKS}/filesystem-in-use", f"{LOCKS}/database-in-use"
MANIFESTS = "/images/docker/registry/v2/repositories/group/app/_manifests/.keep"
BODY = '{"version":1}'
FLAG = "REGISTRY_FF_ENFORCE_LOCKFILES"


@pytest.fixture
def site() -> Iterator[GitLabSite]:
    with made("london") as (tree,):
        found = GitLabSite(tree)
        found.reconfigure()
        yield found


def starts(site: GitLabSite, version: str, **environment: str) -> str:
    """Whether a registry of this GitLab serves: "" or what it ended with."""
    site.tree.install(version)
    command = [str(OMNIBUS / "embedded/bin/registry"), "serve", str(site.tree.path("/registry.yml"))]
    process = subprocess.Popen(
        command,
        env=site.tree.environment() | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        user=run_as(),
    )
    assert process.stderr
    try:
        wait_for(lambda: process.poll() is not None or serves(process.pid))
        return "" if process.poll() is None else process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def serves(pid: int) -> bool:
    """Whether it has become Debian's registry: what GitLab's does first is over."""
    try:
        return b"docker-registry" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except FileNotFoundError:
        return False


def only_to_be_read(site: GitLabSite) -> None:
    """The storage with an image, in which this registry may not write."""
    site.tree.write(MANIFESTS, "")
    site.tree.path("/images/docker/registry").chmod(0o555)


@pytest.mark.parametrize(
    ("version", "writes"),
    [
        ("16.6.0", False), ("18.5.0", False), ("18.6.0", True), ("18.6.1", True), ("18.6.2", False), ("18.7.0", False),
        ("18.8.0", True), ("18.9.0", True), ("18.10.0", True), ("18.11.0", True), ("19.0.0", True),
    ],
)  # fmt: skip
def test_a_start_with_images_marks_the_storage_or_ends(site: GitLabSite, version: str, writes: bool) -> None:
    """By GitLab's version, with the message of GitLab's registry; a start without images writes nothing."""
    assert starts(site, version) == ""
    assert not site.tree.exists(FILESYSTEM)
    site.tree.write(MANIFESTS, "")
    starts(site, version)
    assert site.tree.exists(FILESYSTEM) == writes
    if writes:
        assert site.tree.read(FILESYSTEM) == BODY
        site.tree.path(FILESYSTEM).unlink()
        site.tree.path(LOCKS).rmdir()
    only_to_be_read(site)
    said = starts(site, version)
    assert ("failed to mark filesystem only usage" in said) == writes
    assert ("configuring application" in said) == writes


def test_the_file_that_is_there_is_all_it_needs(site: GitLabSite) -> None:
    """Also in read-only mode, which by itself keeps no registry from writing it."""
    site.tree.write(FILESYSTEM, BODY)
    only_to_be_read(site)
    assert starts(site, "18.11.0") == ""
    site.tree.path("/images/docker/registry").chmod(0o755)
    site.tree.path(FILESYSTEM).unlink()
    site.reconfigure("registry['storage']['maintenance'] = { 'readonly' => { 'enabled' => true } }\n")
    starts(site, "18.11.0")
    assert site.tree.exists(FILESYSTEM)


def test_the_flag_is_honoured_while_there_is_one(site: GitLabSite) -> None:
    """On in a version that has it off, off in one that has it on; from 18.10 on there is none."""
    only_to_be_read(site)
    assert "failed to mark" in starts(site, "18.7.0", **{FLAG: "true"})
    assert starts(site, "18.6.0", **{FLAG: "false"}) == ""
    assert "failed to mark" in starts(site, "18.9.0", **{FLAG: "false"}), "from 18.8 it is still written"
    assert "failed to mark" in starts(site, "18.10.0", **{FLAG: "false"})
    site.tree.path("/images/docker/registry").chmod(0o755)
    site.tree.write(DATABASE, BODY)
    assert "database in use" in starts(site, "18.10.0", **{FLAG: "false"})


def test_the_mark_of_a_database_ends_a_registry_without_one(site: GitLabSite) -> None:
    """With both marks nothing starts. Where the flag is off it counts for nothing, and 18.8 takes it away."""
    site.tree.write(DATABASE, BODY)
    assert "registry metadata database in use, please enable the database" in starts(site, "18.11.0")
    assert starts(site, "18.7.0") == ""
    site.tree.write(FILESYSTEM, BODY)
    assert "database-in-use and filesystem-in-use lockfiles present" in starts(site, "18.11.0")
    site.tree.write(MANIFESTS, "")
    assert starts(site, "18.8.0") == ""
    assert not site.tree.exists(DATABASE)


def test_the_mark_of_images_ends_a_registry_with_a_database(site: GitLabSite) -> None:
    """Until they are imported; in mode prefer the registry goes on without its database."""
    database = "registry['database'] = { 'enabled' => MODE, 'host' => 'db.london.example.com' }\n"
    site.tree.write(FILESYSTEM, BODY)
    site.reconfigure(database.replace("MODE", "true"))
    assert "registry filesystem metadata in use, please import data" in starts(site, "18.11.0")
    site.reconfigure(database.replace("MODE", "'prefer'"))
    assert starts(site, "18.11.0") == ""
