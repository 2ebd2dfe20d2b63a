"""Whether this program supports the version of GitLab."""

from __future__ import annotations

from collections.abc import Iterator

from config.errors import ConfigError
from config.model import Deployment
from omnibus import versions


def errors(d: Deployment) -> Iterator[ConfigError]:
    """A version older than all that this program knows."""
    if versions.parse(d.gitlab_version) < versions.OLDEST:
        yield ConfigError(
            "gitlab-version-too-old",
            "gitlab_version",
            f"{d.gitlab_version!r} is older than 16.0",
            expectation="GitLab 16.0 or later",
            consequence="settings have other names in older versions, and Geo replicates registries "
            "differently",
            example='"19.2"',
        )
