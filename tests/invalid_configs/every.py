"""All tables of what is refused, as one."""

from __future__ import annotations

from tests.invalid_configs import configurations, created_databases, storages, topologies

WRONG = [*configurations.WRONG, *created_databases.WRONG, *storages.WRONG, *topologies.WRONG]
