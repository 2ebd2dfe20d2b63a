"""GitLab's registry configuration in front of Debian's registry: what starts, what refuses to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.omnibus.gitlab_site import GitLabSite
from tests.lab.omnibus.gitlab_tree import OMNIBUS, made, run_as


@pytest.fixture
def site() -> Iterator[GitLabSite]:
    with made("london") as (tree,):
        yield GitLabSite(tree)


def refuses(site: GitLabSite) -> str:
    """The registry must end by itself; what it says."""
    command = [str(OMNIBUS / "embedded/bin/registry"), "serve", str(site.tree.path("/registry.yml"))]
    done = subprocess.run(
        command,
        env=site.tree.environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=10,
        user=run_as(),
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_it_starts_with_what_a_reconfigure_writes(site: GitLabSite) -> None:
    """Also with keys that only GitLab's registry knows."""
    site.reconfigure(
        "registry['gc'] = { 'disabled' => true }\nregistry['redis'] = { 'cache' => { 'enabled' => false } }\n"
    )
    with site.running("rails", "registry"):
        site.push("group/app", "1")


def test_its_environment_is_clean(site: GitLabSite) -> None:
    """With AWS_CA_BUNDLE Debian's registry panics as soon as it has S3 for storage."""
    site.reconfigure(
        "registry['storage'] = { 's3_v2' => { 'bucket' => 'b', 'region' => 'eu-west-1', 'accesskey' => 'a',"
        " 'secretkey' => 's', 'regionendpoint' => 'http://127.0.0.1:9' } }\n"
    )
    with site.registry(AWS_CA_BUNDLE="/nowhere.pem"):
        pass


def test_two_drivers_refuse_to_start(site: GitLabSite) -> None:
    """Although the reconfigure let them pass; one of them alone starts."""
    site.reconfigure(
        "registry['storage'] = { 'inmemory' => {}, 'filesystem' => { 'rootdirectory' => '/nowhere' } }\n"
    )
    assert "must provide exactly one storage type" in refuses(site)
    site.reconfigure("registry['storage'] = { 'inmemory' => {} }\n")
    with site.registry():
        pass


@pytest.mark.parametrize("driver", ["swift", "oss", "fliesystem"])
def test_drivers_that_gitlabs_registry_does_not_have(site: GitLabSite, driver: str) -> None:
    """Debian's has swift; GitLab's has not had it since 17.0."""
    site.reconfigure(f"registry['storage'] = {{ '{driver}' => {{ 'container' => 'x' }} }}\n")
    assert f"StorageDriver not registered: {driver}" in refuses(site)


@pytest.mark.parametrize("driver", ["s3", "s3aws", "s3_v2"])
def test_all_names_of_s3_are_one_driver(site: GitLabSite, driver: str) -> None:
    """Known by what it asks for."""
    site.reconfigure(f"registry['storage'] = {{ '{driver}' => {{ 'region' => 'eu-west-1' }} }}\n")
    assert "no bucket parameter provided" in refuses(site)


@pytest.mark.parametrize("enabled", ["true", "'prefer'", "'true'"])
def test_the_metadata_database_of_a_secondary_refuses_to_start(site: GitLabSite, enabled: str) -> None:
    """It is the replicated one, read-only; off, or elsewhere, the registry starts."""
    replica = site.tree.path("/replica")
    replica.mkdir()
    replica.chmod(0o555)
    database = f"registry['database'] = {{ 'enabled' => {enabled}, 'host' => '{replica}' }}\n"
    site.reconfigure(database)
    assert "read-only transaction" in refuses(site)
    for other in (database.replace(str(replica), "db.tokyo.example.com"), database.replace(enabled, "false")):
        site.reconfigure(other)
        with site.registry():
            pass


def test_a_timeout_without_a_unit_is_refused(site: GitLabSite) -> None:
    """'500' is no duration; the Integer 500 is one, of 500 nanoseconds."""
    site.reconfigure(site.geo_event().replace("'name'", "'timeout' => '500', 'name'"))
    assert "500" in refuses(site)
    site.reconfigure(site.geo_event().replace("'name'", "'timeout' => 500, 'name'"))
    with site.registry():
        assert "timeout=500ns" in site.log()


def test_a_read_only_registry_answers_405(site: GitLabSite) -> None:
    """To pushes and deletes; it reads as before."""
    site.reconfigure()
    with site.running("rails", "registry"):
        digest = site.push("group/app", "1")
    site.reconfigure("registry['storage']['maintenance'] = { 'readonly' => { 'enabled' => true } }\n")
    with site.running("rails", "registry"):
        assert (
            site.call("POST", "/v2/group/app/blobs/uploads/", "repository:group/app:pull,push", b"").status
            == 405
        )
        assert site.delete("group/app", digest) == 405
        assert site.tags("group/app") == {"1": digest}
