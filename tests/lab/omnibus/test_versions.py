"""The version of GitLab on a host of the lab, and of the registry that it has."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.omnibus.gitlab_tree import OMNIBUS, GitLabTree, run_as


def ruby(host: GitLabTree, expression: str) -> str:
    """What a Ruby expression prints that knows `Lab`."""
    command = ["/usr/bin/ruby", "--disable-gems", "-r", str(OMNIBUS / "embedded/lib/lab.rb")]
    done = subprocess.run(
        [*command, "-e", f"print({expression})"],
        env=host.environment(),
        check=True,
        capture_output=True,
        text=True,
        user=run_as(),
    )
    return done.stdout


def test_a_host_has_the_version_of_its_package(host: GitLabTree) -> None:
    """As numbers, to be compared with a text; the file's own form has the edition behind it."""
    host.install("18.6.2")
    assert ruby(host, "Lab.version.to_a") == "[18, 6, 2]"
    assert ruby(host, "[Lab.version >= '18.6', Lab.version >= '18.6.2', Lab.version < '18.10']") == (
        "[true, true, true]"
    )
    assert ruby(host, "[Lab.version >= '18.10', Lab.version < '18.6.2']") == "[false, false]"


def test_a_folder_without_a_package_has_the_lab_s_version(host: GitLabTree) -> None:
    assert (
        ruby(host, "Lab.version")
        == (OMNIBUS / "embedded/service/gitlab-rails/VERSION").read_text().split("-")[0]
    )


@pytest.mark.parametrize(
    ("gitlab", "registry"),
    [
        ("16.0.0", "3.72.0"),
        ("16.6.1", "3.86.1"),
        ("17.1.3", "4.0.0"),
        ("18.5.0", "4.28.0"),
        ("18.6.1", "4.31.0"),
        ("18.6.2", "4.31.1"),
        ("18.6.10", "4.31.1"),
        ("18.11.0", "4.39.0"),
        ("19.9.0", "4.41.0"),
    ],
)
def test_each_gitlab_has_its_registry(host: GitLabTree, gitlab: str, registry: str) -> None:
    """By omnibus' own list; the registry says so itself, in the words of GitLab's."""
    host.install(gitlab)
    assert ruby(host, "Lab.registry_version") == registry
    command = [str(OMNIBUS / "embedded/bin/registry"), "--version"]
    said = subprocess.run(command, env=host.environment(), check=True, capture_output=True, text=True)
    assert said.stdout.split()[1:] == ["github.com/docker/distribution", f"v{registry}-gitlab"]


def test_an_upgrade_restarts_the_registry(host: GitLabTree) -> None:
    """At the reconfigure that follows, although no setting changes; a second one changes nothing."""
    host.install("18.10.0")
    host.reconfigure()
    host.commanded()
    host.reconfigure()
    assert host.commanded() == []
    host.install("18.11.0")
    host.reconfigure()
    assert host.commanded() == ["restart registry"]
