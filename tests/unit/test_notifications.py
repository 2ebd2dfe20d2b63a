"""How long GitLab may be away before the registry drops an event of a push."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import yaml

from plan import external_registry as external
from plan.node import node_settings
from tests import retries
from tests.configurations import SHARED, changed, deployment, put
from tests.invalid_configs.topologies import EXTERNAL

WANTED = 600
"""Seconds: GitLab restarting Rails, an upgrade of a node, a database failover."""
VERSIONS = [(16, minor) for minor in range(12)] + [(17, minor) for minor in range(12)]
VERSIONS += [(18, minor) for minor in range(12)] + [(19, minor) for minor in range(4)]


def geo_event(version: retries.Version) -> dict[str, Any]:
    """What the settings file of the primary states of retries."""
    raw = changed(SHARED, put("gitlab_version", to=f"{version[0]}.{version[1]}"))
    shown = node_settings(deployment(raw), "london", "london-1").preview
    at = "registry['notifications']['geo_event']"
    keys = ("timeout", "threshold", "maxretries", "backoff")
    return {k: ast.literal_eval(shown[f"{at}['{k}']"]) for k in keys if f"{at}['{k}']" in shown}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"{version[0]}.{version[1]}")
def test_gitlab_may_be_away_for_ten_minutes_with_every_version(version: retries.Version) -> None:
    """With what omnibus adds of itself, and all pauses at their shortest."""
    config = retries.rendered(geo_event(version), version)
    assert retries.lasts(config, version) >= WANTED
    assert retries.seconds(config["timeout"]) >= 1, "Rails answers late after its start"


@pytest.mark.parametrize(
    ("endpoint", "version", "lost_after"),
    [
        ({"maxretries": 5, "backoff": "1s"}, (18, 7), 7),
        ({"threshold": 5, "backoff": "1s"}, (17, 1), 7),
        ({"threshold": 5, "backoff": "1s"}, (18, 5), 7),
        ({}, (19, 1), 7),
        ({"maxretries": 20, "backoff": "1s"}, (18, 11), 355),
    ],
)
def test_the_model_finds_settings_that_lose_an_event(
    endpoint: dict[str, Any], version: retries.Version, lost_after: int
) -> None:
    """Those of before, and a threshold alone where omnibus adds maxretries of its own."""
    assert retries.lasts(retries.rendered(endpoint, version), version) == pytest.approx(lost_after, abs=15)


def test_the_model_agrees_with_what_was_run() -> None:
    """threshold 5 with registry 4.30 or later: about 10 tries, 114 s; with 3.86 forever."""
    assert retries.translated(5, 1.0) == 10
    assert sum(retries.pauses(1.0, 10, 1.0)) == pytest.approx(113, abs=1)
    assert retries.lasts({"threshold": 5, "backoff": "1s"}, (16, 6)) == retries.FOR_EVER


def test_more_retries_would_not_last_longer() -> None:
    """The library ends after 15 minutes; less than its longest pause before that, nothing is lost."""
    for share in (0.5, 1.0, 1.5):
        assert retries.LIMIT - 90 <= sum(retries.pauses(1.0, 40, share)) <= retries.LIMIT
        assert sum(retries.pauses(1.0, 40, share)) == sum(retries.pauses(1.0, 400, share))


def test_what_gitlab_makes_nothing_of_does_not_wait_with_the_others() -> None:
    """Both: before registry 4.32 `actions` alone is not looked at."""
    shown = node_settings(deployment(SHARED), "london", "london-1").preview
    at = "registry['notifications']['geo_event']['ignore']"
    assert shown[f"{at}['actions']"] == "['pull']"
    assert shown[f"{at}['mediatypes']"] == "['application/octet-stream']"


def test_a_registry_that_is_not_omnibus_repeats_as_long() -> None:
    """Distribution reads threshold, GitLab's own without the package maxretries, if it knows it."""
    secrets = dict.fromkeys(("notification_secret", "http_secret", "s3_access_key", "s3_secret_key"), "x")
    edits = external.edits(deployment(EXTERNAL), "london", external.CERTIFICATE)
    lines = yaml.safe_load(external.snippet("london", edits, secrets))
    endpoint = lines["notifications"]["endpoints"][0]
    for version in (retries.EXTERNAL, *VERSIONS):
        assert retries.lasts(endpoint, version) >= WANTED
    without = {key: value for key, value in endpoint.items() if key != "maxretries"}
    assert retries.lasts(without, (18, 7)) < WANTED, "the positive control"
