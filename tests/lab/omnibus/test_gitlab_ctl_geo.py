"""What the lab's gitlab-ctl makes of Geo's settings and of notifications, and what it restarts."""

from __future__ import annotations

import pytest

from tests.lab.omnibus.gitlab_tree import (
    CONFIG_YML,
    ELSEWHERE,
    EVENT,
    SITE,
    GitLabTree,
)

# -- notifications


def test_the_secret_of_rails_is_the_last_of_the_endpoint_geo_event(host: GitLabTree) -> None:
    """Missing times and numbers are filled in; from 19.1 on `threshold` is not."""
    host.install("18.11.0")
    host.reconfigure(SITE + EVENT.replace("['the-token']", "['first', 'last']"))
    assert host.rails()["registry"]["notification_secret"] == "last"
    assert host.registry()["notifications"]["endpoints"] == [
        {
            "name": "geo_event",
            "url": "http://127.0.0.1/events",
            "headers": {"Authorization": ["first", "last"]},
            "timeout": "500ms",
            "threshold": 5,
            "maxretries": 5,
            "backoff": "1s",
        }
    ]


def test_an_endpoint_of_another_name_gives_no_secret(host: GitLabTree) -> None:
    """Exactly geo_event."""
    host.reconfigure(SITE + EVENT.replace("geo_event", "geo_events"))
    assert host.rails()["registry"]["notification_secret"] is None


def test_the_secret_is_derived_where_no_registry_runs_too(host: GitLabTree) -> None:
    """On every node that has the block."""
    host.reconfigure(ELSEWHERE + EVENT)
    assert host.rails()["registry"]["notification_secret"] == "the-token"


def test_only_gitlab_rails_registry_notification_secret_wins(host: GitLabTree) -> None:
    """registry['notification_secret'], which GitLab's docs name, is read by nothing."""
    host.reconfigure(SITE + "registry['notification_secret'] = 'from-the-docs'")
    assert host.rails()["registry"]["notification_secret"] is None
    host.reconfigure(SITE + EVENT + "registry['notification_secret'] = 'from-the-docs'")
    assert host.rails()["registry"]["notification_secret"] == "the-token"
    host.reconfigure(SITE + EVENT + "gitlab_rails['registry_notification_secret'] = 'stated'")
    assert host.rails()["registry"]["notification_secret"] == "stated"
    assert host.registry()["notifications"]["endpoints"][0]["headers"]["Authorization"] == ["the-token"]


@pytest.mark.parametrize(
    "value",
    [
        "{ 'name' => 'geo_event', 'headers' => { 'Authorization' => ['t'] } }",
        "'geo_event'",
        "[{ 'name' => 'geo_event', 'url' => 'http://127.0.0.1' }]",
        "[{ 'name' => 'geo_event', 'headers' => { 'Authorization' => 't' } }]",
        "['geo_event']",
    ],
)
def test_another_shape_of_notifications_fails_the_reconfigure(host: GitLabTree, value: str) -> None:
    """A bare Hash, a String, no headers, a token that is not in an Array."""
    output = host.fails(f"{SITE}registry['notifications'] = {value}")
    assert "NoMethodError" in output or "TypeError" in output or "IndexError" in output


# -- Geo


def test_replication_is_off_until_it_is_stated_and_nothing_checks_its_url(host: GitLabTree) -> None:
    """Nonsense exits 0."""
    host.reconfigure(SITE + "roles ['geo_secondary_role']\ngitlab_rails['geo_node_name'] = 'tokyo'")
    assert host.rails()["geo"] == {
        "node_name": "tokyo",
        "registry_replication": {"enabled": False, "primary_api_url": None},
    }
    host.reconfigure(
        SITE + "gitlab_rails['geo_registry_replication_enabled'] = true\n"
        "gitlab_rails['geo_registry_replication_primary_api_url'] = 'nonsense'"
    )
    assert host.rails()["geo"]["registry_replication"] == {"enabled": True, "primary_api_url": "nonsense"}


# -- restarts


def test_the_first_run_starts_everything_and_the_second_changes_nothing(host: GitLabTree) -> None:
    """Nothing is written, printed as changed or restarted."""
    host.reconfigure(SITE + EVENT)
    assert host.commanded() == ["start registry", "start puma", "start sidekiq", "start nginx"]
    before = {path: path.stat().st_mtime_ns for path in host.path("/var/opt").rglob("*") if path.is_file()}
    assert "Infra Phase complete, 0 resources updated" in host.reconfigure()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert host.commanded() == []


@pytest.mark.parametrize(
    ("lines", "restarted"),
    [
        ("registry['internal_key'] = 'K'\nregistry['internal_certificate'] = 'C'", []),
        ("registry['log_level'] = 'debug'", ["restart registry"]),
        ("gitlab_rails['time_zone'] = 'Asia/Tokyo'", ["restart puma", "restart sidekiq"]),
        ("nginx['client_max_body_size'] = '1m'", ["restart nginx"]),
        ("registry['env'] = { 'NO_PROXY' => 's3.amazonaws.com' }", ["restart registry"]),
        (EVENT, ["restart puma", "restart sidekiq", "restart registry"]),
        ("sidekiq['enable'] = false", ["stop sidekiq"]),
    ],
)
def test_a_service_is_restarted_only_when_its_own_files_changed(
    host: GitLabTree, lines: str, restarted: list[str]
) -> None:
    """A changed pair alone restarts nothing: the registry goes on with the former certificate."""
    host.reconfigure()
    host.commanded()
    host.reconfigure(SITE + lines)
    assert host.commanded() == restarted


def test_restarts_are_made_up_for_by_a_run_that_fails_in_the_middle(host: GitLabTree) -> None:
    """What had changed before is still restarted."""
    host.reconfigure()
    host.commanded()
    host.path(CONFIG_YML).unlink()
    host.path(CONFIG_YML).mkdir()
    assert "EISDIR" in host.fails(SITE + "gitlab_rails['time_zone'] = 'Asia/Tokyo'")
    assert host.commanded() == ["restart puma", "restart sidekiq"]


# -- all together, as facts.md has it
