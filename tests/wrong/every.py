"""All tables of what is refused, as one."""

from __future__ import annotations

from tests.wrong import configurations, storages, topologies

WRONG = [*configurations.WRONG, *storages.WRONG, *topologies.WRONG]
