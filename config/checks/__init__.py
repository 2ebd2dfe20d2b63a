"""What single values cannot show: contradictions between the parts of a configuration.

Each check yields a `ConfigError` for each contradiction; all are reported together, and nothing is touched.
"""

from __future__ import annotations

from config.checks import (
    created_databases,
    databases,
    gitlab_version,
    hosts,
    rotation,
    sites,
    ssh,
    storage,
    templates,
)
from config.errors import ConfigError
from config.model import Deployment


def errors(d: Deployment) -> list[ConfigError]:
    """Every contradiction in a configuration whose single values are valid."""
    checks = (
        sites.primary, gitlab_version.errors, hosts.identities, sites.errors, templates.errors, ssh.errors,
        databases.errors, created_databases.errors, storage.errors, hosts.errors, rotation.errors,
    )  # fmt: skip
    return [error for check in checks for error in check(d)]
