"""All tables of what is refused, as one."""

from __future__ import annotations

from tests.invalid_configs import configurations, storages, topologies

WRONG = [*configurations.WRONG, *storages.WRONG, *topologies.WRONG]
