"""How the primary's registry retries a notification that GitLab does not accept, queued in memory.

Every event waits behind the first one that fails. What each version of the registry does (container registry
notifications/endpoint.go and sinks.go; omnibus-gitlab gitlab/libraries/registry.rb):

- before 4.0 (GitLab 16): `threshold` alone; after that many failures it retries after each `backoff`
  without limit.
- 4.0 with GitLab 17.0: the same; the Linux package does not know `maxretries` yet.
- GitLab 17.1 to 19.0: the Linux package adds `maxretries: 5` to an endpoint without it, and the registry then
  ignores `threshold`. An event is dropped 13 s after the push.
- from 4.30 on (GitLab 18.6) a registry with `threshold` alone uses its value as `maxretries`.

`maxretries` is an exponential backoff (github.com/cenkalti/backoff v4, exponential.go): the first pause is
`backoff`, each later one 1.5 times as long, at most 60 s, all of them longer or shorter by up to a half. It
ends before a pause that would go beyond 15 minutes, whatever `maxretries` says.
"""

from __future__ import annotations

from omnibus import versions
from omnibus.ruby import Value

TIMEOUT = "5s"
"""Per attempt. Rails needs more than the 500 ms of GitLab's examples just after its start."""
BACKOFF = "1s"
THRESHOLD = 5
MAXRETRIES = 40
"""So many that the limit of 15 minutes comes first: 36 pauses at their shortest are 13.5 minutes."""

IGNORED: dict[str, Value] = {"mediatypes": ["application/octet-stream"], "actions": ["pull"]}
"""What GitLab ignores (ContainerRegistry::Event): pulls, and the layers of a push.

From 4.26 on (GitLab 18.4) only 3000 events may wait, and a busy registry has that many pulls within a minute.
Before 4.32 `actions` counts only beside `mediatypes` (container registry commit f0377967).
"""


def settings(version: versions.Version) -> dict[str, Value]:
    """The keys of the endpoint in gitlab.rb: which events are sent, and how long each is retried."""
    name = versions.NOTIFICATION_RETRIES.name(version)
    retries = MAXRETRIES if name == versions.NOTIFICATION_RETRIES.after else THRESHOLD
    return {"timeout": TIMEOUT, name: retries, "backoff": BACKOFF, "ignore": IGNORED}


def external_settings() -> dict[str, Value]:
    """The same for an external registry.

    Distribution reads only `threshold` and retries without limit; GitLab's registry reads `maxretries`.
    """
    retries: dict[str, Value] = {"threshold": THRESHOLD, "maxretries": MAXRETRIES}
    return {"timeout": TIMEOUT, **retries, "backoff": BACKOFF, "ignore": IGNORED}
