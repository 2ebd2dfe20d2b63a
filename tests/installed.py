"""The GitLab that the lab's hosts have, for tests that go by what its registry knows: GITLAB_REGISTRY may name any."""

from __future__ import annotations

from lab import gitlab_registry

VERSION = tuple(map(int, gitlab_registry.gitlab_version(gitlab_registry.chosen()).split(".")[:2]))
"""(18, 11)."""
HAS_S3_V2 = VERSION >= (17, 9)
"""registry 4.15: lab/omnibus/embedded/lib/registry_storage.rb."""
S3_DRIVER = "s3_v2" if HAS_S3_V2 else "s3"
"""The newest for S3 that the hosts' registry has."""
SAYS_WHAT_IS_LOST = VERSION >= (17, 5)
"""registry 4.10: one that is asked to end says which events it could not deliver; lab/omnibus/embedded/lib/event_relay.rb."""
STATES_MAXRETRIES = VERSION >= (17, 1)
"""omnibus/versions.py, NOTIFICATION_RETRIES; before it the settings say threshold."""
MAY_HAVE_DATABASE = VERSION >= (17, 3)
"""omnibus/versions.py, METADATA_DATABASE; before it the stack's configuration is refused."""
ENFORCES_LOCK_FILES = VERSION >= (18, 8)
"""registry 4.33: one without a database does not start on a storage that belongs to a database."""
REGISTRY_NGINX = "registry['nginx']" if VERSION >= (19, 2) else "registry_nginx"
"""What gitlab.rb calls the settings of the registry's NGINX server."""
