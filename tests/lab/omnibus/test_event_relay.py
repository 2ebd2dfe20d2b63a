"""What becomes of an event that Rails does not take, by the version of GitLab: as with GitLab's own registry."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.lab.omnibus.gitlab_site import GitLabSite, http
from tests.lab.omnibus.gitlab_tree import OMNIBUS, made, wait_for

VERSION = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"
LOST = "eventqueue: event lost"
NO_BLOBS = "'ignore' => { 'mediatypes' => ['application/octet-stream'] }"
"""So that a push is one event."""


@pytest.fixture
def site() -> Iterator[GitLabSite]:
    with made("london") as (tree,):
        yield GitLabSite(tree)


@contextmanager
def pushed_while_rails_is_away(
    site: GitLabSite, version: str, retries: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A registry with the event of one push that Rails has not taken yet."""
    site.tree.write(VERSION, f"{version}-ee")
    site.reconfigure(site.geo_event().replace("'name'", f"{retries}, {NO_BLOBS}, 'name'"))
    command = (str(OMNIBUS / "embedded/bin/registry"), "serve", str(site.tree.path("/registry.yml")))
    with ExitStack() as rails, site.tree.process(*command) as registry:
        rails.enter_context(site.rails())
        wait_for(lambda: http("GET", f"{site.registry_url}/v2/").status == 401)
        token = site.token("repository:group/app:pull,push")
        site.token = lambda *_, **__: token  # type: ignore[method-assign]
        rails.close()
        site.push("group/app", "1")
        wait_for(lambda: "connection refused" in site.log())
        yield registry


def delivered(site: GitLabSite) -> bool:
    return bool(site.database().get("geo_events"))


def test_an_event_is_dropped_after_its_retries(site: GitLabSite) -> None:
    """Five of them with the first pause of 100 ms: lost within two seconds, however long Rails is there then."""
    with pushed_while_rails_is_away(site, "18.11.0", "'maxretries' => 5"):
        wait_for(lambda: LOST in site.log())
        assert site.log().count("backoffSink: error writing event") >= 5
        with site.rails():
            time.sleep(2)
            assert not delivered(site)


@pytest.mark.parametrize(
    ("version", "retries"),
    [
        ("18.11.0", "'maxretries' => 40"),
        ("17.1.0", "'maxretries' => 40"),
        ("18.7.0", "'threshold' => 15, 'maxretries' => 0"),
        ("17.3.0", "'threshold' => 5, 'maxretries' => 0"),
        ("16.6.0", "'threshold' => 5"),
        ("16.6.0", "'threshold' => 5, 'maxretries' => 1"),
    ],
)
def test_an_event_is_delivered_when_rails_is_back_in_time(
    site: GitLabSite, version: str, retries: str
) -> None:
    """Also where maxretries is not known, or 0: threshold repeats forever, or is translated."""
    with pushed_while_rails_is_away(site, version, retries):
        time.sleep(2.5)
        assert LOST not in site.log()
        with site.rails():
            wait_for(lambda: delivered(site))


def test_a_full_queue_drops_the_newest(site: GitLabSite) -> None:
    """3000 are the most from 18.4 on, if nothing is said; the first is not in the queue any more, but being sent."""
    with pushed_while_rails_is_away(site, "18.4.0", "'maxretries' => 40, 'queuesizelimit' => 1"):
        site.push("group/app", "2")
        site.push("group/app", "3")
        wait_for(lambda: "queue full, dropping event" in site.log())
        assert site.log().count("queue full, dropping event") == 1


def test_a_registry_that_is_told_to_end_tries_for_five_seconds_more(site: GitLabSite) -> None:
    """What is queued is delivered when Rails is back by then, and nothing listens meanwhile."""
    with pushed_while_rails_is_away(site, "18.11.0", "'maxretries' => 40") as registry:
        site.push("group/app", "2")
        registry.send_signal(signal.SIGTERM)
        wait_for(lambda: "received termination signal" in site.log())
        assert http("GET", f"{site.registry_url}/v2/").status == 0
        with site.rails():
            assert registry.wait(20) == 0
            assert delivered(site)


def test_what_is_queued_when_rails_stays_away_is_lost_and_said(site: GitLabSite) -> None:
    """All of it, each with its repository; another start knows nothing of it."""
    with pushed_while_rails_is_away(site, "18.11.0", "'maxretries' => 40") as registry:
        site.push("group/app", "2")
        registry.send_signal(signal.SIGTERM)
        assert registry.wait(30) == 0
        assert "sink: closed" in site.log() or "context canceled" in site.log()
        assert site.log().count(LOST) >= 2
        assert "group/app" in site.log().split(LOST)[-1]
    with site.running("rails", "registry"):
        time.sleep(1)
        assert not delivered(site)


@pytest.mark.parametrize("version", ["16.6.0", "17.4.0"])
def test_before_17_5_a_registry_ends_at_once_and_says_nothing(site: GitLabSite, version: str) -> None:
    """Its queue is gone without a word in the log."""
    with pushed_while_rails_is_away(site, version, "'threshold' => 5, 'maxretries' => 40") as registry:
        began = time.monotonic()
        registry.send_signal(signal.SIGTERM)
        assert registry.wait(10) == 0
        assert time.monotonic() - began < 2
        assert LOST not in site.log()


def test_what_is_just_being_sent_at_the_end_is_broken_off(site: GitLabSite) -> None:
    """Although Rails is there: with nothing queued behind it a registry of 17.5 or later does not wait for the answer."""
    site.tree.write(VERSION, "18.11.0-ee")
    with made("slow") as (tree,):
        slow = GitLabSite(tree)
        answers = "require 'socket'; s = TCPServer.new('127.0.0.1', ARGV[0].to_i); loop { s.accept; }"
        port = slow.rails_url.rpartition(":")[2]
        with tree.process("/usr/bin/ruby", "-e", answers, port):
            site.reconfigure(
                site.geo_event()
                .replace(site.rails_url, slow.rails_url)
                .replace("'name'", f"'timeout' => '30s', {NO_BLOBS}, 'name'")
            )
            command = (str(OMNIBUS / "embedded/bin/registry"), "serve", str(site.tree.path("/registry.yml")))
            with site.rails(), site.tree.process(*command) as registry:
                wait_for(lambda: http("GET", f"{site.registry_url}/v2/").status == 401)
                site.push("group/app", "1")
                time.sleep(0.5)
                registry.send_signal(signal.SIGTERM)
                assert registry.wait(10) == 0
                assert "context canceled" in site.log()
                assert LOST in site.log()


def test_no_registry_outlives_the_one_that_was_killed(site: GitLabSite) -> None:
    """SIGKILL reaches what stands around Debian's registry alone."""
    site.reconfigure(site.geo_event())
    with site.registry():
        pass
    wait_for(lambda: http("GET", f"{site.registry_url}/v2/").status == 0)


def test_requests_are_in_the_log_as_gitlabs_registry_has_them(site: GitLabSite) -> None:
    """As JSON, whatever the form of the other lines; the token is in the log as well."""
    site.reconfigure(site.geo_event())
    with site.running("rails", "registry"):
        site.push("group/app", "1")
        wait_for(lambda: '"uri":"/v2/group/app/manifests/1"' in site.log())
    lines = [line for line in site.log().splitlines() if '"/v2/group/app/manifests/1"' in line]
    assert json.loads(lines[0]) | {"method": "PUT", "status": 201, "msg": "access"} == json.loads(lines[0])
    assert "headers=map[Authorization:[the-token]]" in site.log()
