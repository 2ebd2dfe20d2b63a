"""The rotation of the registry key: one at a time, and only where this program orders its steps."""

from __future__ import annotations

from collections.abc import Iterator

from config.errors import ConfigError
from config.model import Deployment


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction between the numbers in `rotate`, and with the sites."""
    number, finished = d.rotate.registry_key, d.rotate.registry_key_finished
    if finished > number:
        yield ConfigError(
            "rotation-not-begun",
            "rotate.registry_key_finished",
            f"{finished} is greater than registry_key ({number})",
            expectation="the number of registry_key, or one less",
            consequence="there is no former certificate that this number could remove",
            example=str(number),
        )
    if number > finished + 1:
        yield ConfigError(
            "rotation-in-progress",
            "rotate.registry_key",
            f"{number} while registry_key_finished is {finished}",
            expectation="the number of registry_key_finished, or one more",
            consequence="tokens that are signed with the key before the former one would be refused",
            example=str(finished + 1),
        )
    manual = [name for name, site in d.sites.items() if site.registry_kind == "manual"]
    if number > finished and manual:
        yield ConfigError(
            "rotation-manual-registry",
            "rotate.registry_key",
            f"{number}, but you configure the registry of {manual[0]} yourself",
            expectation="external_registry.hosts for this site, or registry_key_now instead",
            consequence="GitLab would sign with the new key before that registry trusts it, and users would "
            "get 401",
            example="registry_key_now: 1, in a maintenance window; then add the new lines from the output "
            "registry_config",
        )
