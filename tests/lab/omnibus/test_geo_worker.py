"""The lab's Geo worker copies container repositories as GitLab's does, and deletes as GitLab's does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lab.omnibus.gitlab_site import GitLabSite, http
from tests.lab.omnibus.gitlab_tree import made, wait_for

PENDING, STARTED, SYNCED, FAILED = range(4)
NAME = "group/app"
READ_ONLY = "registry['storage']['maintenance'] = { 'readonly' => { 'enabled' => true } }\n"


class Geo:
    """london and tokyo; tokyo's processes are the test's to start."""

    def __init__(self, london: GitLabSite, tokyo: GitLabSite) -> None:
        self.london, self.tokyo = london, tokyo

    def tags_are(self, tags: dict[str, str]) -> None:
        wait_for(lambda: self.tokyo.tags(NAME) == tags)

    def settled(self, *states: int) -> None:
        wait_for(lambda: self.tokyo.states() == list(states))


@pytest.fixture
def geo() -> Iterator[Geo]:
    """Two sites with storage of their own; london runs, tokyo is configured to replicate."""
    with made("london", "tokyo") as trees:
        london, tokyo = (GitLabSite(tree) for tree in trees)
        london.reconfigure(london.geo_event())
        tokyo.reconfigure(tokyo.replicate_from(london))
        with london.running("rails", "registry"):
            yield Geo(london, tokyo)


def test_existing_images_come_by_backfill_and_new_ones_by_event(geo: Geo) -> None:
    """With equal digests; a tag that moves is moved, one that goes is deleted."""
    first = geo.london.push(NAME, "1", "first")
    with geo.tokyo.running("rails", "registry", "sidekiq"):
        geo.tags_are({"1": first})
        second = geo.london.push(NAME, "2", "second")
        geo.tags_are({"1": first, "2": second})
        moved = geo.london.push(NAME, "1", "moved")
        geo.tags_are({"1": moved, "2": second})
        assert geo.london.delete(NAME, second) == 202
        geo.tags_are({"1": moved})
        geo.settled(SYNCED)
    assert geo.london.tags(NAME) == {"1": moved}


def test_the_states_are_the_secondarys_own(geo: Geo) -> None:
    """The replicated database is left as it is; a repository with nothing in it is synced as well."""
    geo.london.token(f"repository:{NAME}:pull,push")
    before = geo.london.database()
    with geo.tokyo.running("registry", "sidekiq"):
        geo.settled(SYNCED)
    assert geo.london.database() == before


def test_the_registry_may_be_elsewhere(geo: Geo) -> None:
    """A Sidekiq node without a registry writes through registry_api_url."""
    digest = geo.london.push(NAME, "1")
    elsewhere = (
        f"registry['enable'] = false\ngitlab_rails['registry_enabled'] = true\n"
        f"gitlab_rails['registry_api_url'] = '{geo.tokyo.registry_url}'\n"
    )
    with geo.tokyo.running("rails", "registry"):
        geo.tokyo.tree.reconfigure(geo.tokyo.replicate_from(geo.london) + elsewhere)
        with geo.tokyo.sidekiq():
            geo.tags_are({"1": digest})


def test_nothing_happens_until_replication_is_enabled(geo: Geo) -> None:
    """And a restart, because gitlab.yml is read once; events of the meantime are passed over, backfill brings them."""
    digest = geo.london.push(NAME, "1")
    on = geo.tokyo.replicate_from(geo.london)
    geo.tokyo.reconfigure(on.replace("_enabled'] = true", "_enabled'] = false"))
    with geo.tokyo.running("rails", "registry"):
        with geo.tokyo.sidekiq():
            wait_for(lambda: "replication is not enabled" in geo.tokyo.log())
            geo.tokyo.reconfigure(on)
            time.sleep(1)
            assert geo.tokyo.states() == []
        with geo.tokyo.sidekiq():
            geo.tags_are({"1": digest})


def test_a_primary_copies_nothing(geo: Geo) -> None:
    """Its database is its own, and it has no states."""
    geo.london.push(NAME, "1")
    geo.london.reconfigure(
        geo.london.geo_event() + "gitlab_rails['geo_registry_replication_enabled'] = true\n"
        f"gitlab_rails['geo_registry_replication_primary_api_url'] = '{geo.tokyo.registry_url}'\n"
    )
    with geo.london.sidekiq():
        wait_for(lambda: "Booted on a primary site" in geo.london.log())
        time.sleep(0.5)
        assert geo.london.states() == []


def test_a_key_the_primary_does_not_know_fails_and_is_tried_again(geo: Geo) -> None:
    """Nothing was listed, so nothing is deleted; when the key is right the next try succeeds."""
    digest = geo.london.push(NAME, "1")
    right = geo.tokyo.replicate_from(geo.london)
    wrong = "".join(line for line in right.splitlines(keepends=True) if "internal_" not in line)
    geo.tokyo.tree.path("/etc/gitlab/gitlab-secrets.json").unlink()
    geo.tokyo.reconfigure(wrong)
    with geo.tokyo.running("rails", "sidekiq"):
        geo.settled(FAILED)
        assert "No valid connection to primary registry" in geo.tokyo.log()
        geo.tokyo.reconfigure(right)
        with geo.tokyo.registry():
            geo.tags_are({"1": digest})


def test_a_primary_that_cannot_be_reached_fails_and_is_tried_again(geo: Geo) -> None:
    """A refused connection, for the whole repository."""
    geo.london.push(NAME, "1")
    lines = geo.tokyo.replicate_from(geo.london)
    geo.tokyo.reconfigure(lines.replace(geo.london.registry_url, "http://127.0.0.1:9"))
    with geo.tokyo.running("registry", "sidekiq"):
        geo.settled(FAILED)
    assert "Connection refused" in geo.tokyo.log()


def test_the_trouble_of_one_tag_is_only_logged_and_the_state_is_synced(geo: Geo) -> None:
    """ "Synced" is no proof: the other tag came, this one did not, and nobody tries again."""
    broken, whole = geo.london.push(NAME, "broken", "broken"), geo.london.push(NAME, "whole", "whole")
    for layer in geo.london.tree.path("/images").rglob("data"):
        if layer.read_bytes() == b"layer broken":
            layer.unlink()
    with geo.tokyo.running("rails", "registry", "sidekiq"):
        geo.tags_are({"whole": whole})
        geo.settled(SYNCED)
        time.sleep(1)
        assert geo.tokyo.tags(NAME) == {"whole": whole}
    assert "Error while syncing tag broken" in geo.tokyo.log()
    assert geo.london.tags(NAME)["broken"] == broken


def test_without_a_url_the_site_takes_its_own_registry_for_the_primarys(geo: Geo) -> None:
    """Rails' default is http://localhost:5000, where here nobody is."""
    geo.london.push(NAME, "1")
    lines = geo.tokyo.replicate_from(geo.london).splitlines(keepends=True)
    geo.tokyo.reconfigure("".join(line for line in lines if "primary_api_url" not in line))
    with geo.tokyo.running("registry", "sidekiq"):
        geo.settled(FAILED)
    assert "Failed to open TCP connection to localhost:5000" in geo.tokyo.log()


# -- one storage under both registries


def shared(geo: Geo, lines: str = "") -> str:
    """tokyo's lines with london's storage."""
    storage = f"registry['storage'] = {{ 'filesystem' => {{ 'rootdirectory' => '{geo.london.tree.path('/images')}' }} }}\n"
    return geo.tokyo.replicate_from(geo.london) + storage + lines


def pushed_between_the_listings(geo: Geo) -> str:
    """A digest pushed to london after the worker listed london, and before it lists tokyo."""
    geo.london.push(NAME, "1", "first")
    pause, paused = geo.tokyo.tracking_file("pause-between-listings"), geo.tokyo.tracking_file("paused")
    pause.touch(0o666)
    with ExitStack() as stack:
        stack.enter_context(geo.tokyo.running("registry", "sidekiq"))
        wait_for(paused.exists)
        late = geo.london.push(NAME, "late", "late")
        pause.unlink()
        wait_for(lambda: not paused.exists())
        geo.settled(SYNCED)
    return late


def test_a_secondary_that_may_write_deletes_a_push_between_its_two_listings(geo: Geo) -> None:
    """The danger of facts.md is real here too."""
    geo.tokyo.reconfigure(shared(geo))
    pushed_between_the_listings(geo)
    assert list(geo.london.tags(NAME)) == ["1"]


def test_a_read_only_secondary_deletes_nothing(geo: Geo) -> None:
    """The registry answers 405, the worker copies nothing, and Geo counts the repository."""
    geo.tokyo.reconfigure(shared(geo, READ_ONLY))
    late = pushed_between_the_listings(geo)
    assert geo.london.tags(NAME)["late"] == late
    assert "Error while removing tag late of group/app: the registry answered 405" in geo.tokyo.log()
    assert "copied 0 of 0" in geo.tokyo.log()


def test_an_empty_listing_deletes_everything_that_may_be_deleted(geo: Geo) -> None:
    """The primary's registry answers /v2/ but cannot list: that is taken for "no tags"."""
    geo.london.push(NAME, "1")
    with geo.tokyo.running("rails", "registry", "sidekiq"):
        wait_for(lambda: "1" in geo.tokyo.tags(NAME))
        geo.settled(SYNCED)
        images = geo.london.tree.path("/images/docker/registry/v2/repositories")
        images.rename(images.with_name("gone"))
        data = b'{"events": [{"action": "delete", "target": {"repository": "group/app"}}]}'
        url = f"{geo.london.rails_url}/api/v4/container_registry_event/events"
        assert http("POST", url, data, Authorization="the-token").status == 200
        geo.tags_are({})
