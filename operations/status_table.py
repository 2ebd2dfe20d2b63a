"""The findings of `make status` for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operations.display import duration
from operations.findings import KINDS, NodeStatus, Status

SHOWN = 20
"""Images of each kind."""


def table(found: Status, *, all_well: bool = True) -> list[str]:
    """Lines for a terminal. `all_well`: with those about what is as it should be."""
    rows = [("node", "site", "roles", "GitLab", "registry", "state")]
    nodes = [node for node in found.nodes if all_well or node.differences or node.failure]
    for node in nodes:
        state = "could not be asked" if node.failure else differences(node)
        rows.append(
            (node.name, node.site, ", ".join(node.roles), node.gitlab or "", registry(node.registry), state)
        )
    lines = _columns(rows) if nodes else []
    for node in nodes:
        lines += [f"{node.name}: {text}" for text in _texts(node)]
    for one in found.comparisons:
        known = found.geo(one.site)
        if known and all_well:
            lines.append(f"{one.site}: Geo: {geo(known)}")
        if one.failure:
            lines += [f"{one.site}: not compared", *(f"  {line}" for line in one.failure.splitlines())]
            continue
        if not all_well and not any(one.counts.values()):
            continue
        counts = ", ".join(f"{one.counts[kind]} {kind}" for kind in KINDS)
        compared = f"{one.tags} tags in {one.repositories} repositories of {found.primary}"
        lines.append(f"{one.site}: {compared}: {counts}")
        lines += [f"  {kind}: {image}" for kind in KINDS for image in one.images[kind][:SHOWN]]
    return lines


def registry(known: dict[str, Any] | None) -> str:
    """Its mode and its lock file."""
    if not known:
        return ""
    return f"{'read-only' if known['read_only'] else 'writable'}, {known['lock_file'] or 'lock file unknown'}"


def geo(known: dict[str, int]) -> str:
    """Geo's own numbers of repositories, and how long the others take at the rate of the last hour."""
    waiting = known["pending"] + known["started"]
    counts = f"{known['synced']} repositories synced ({known['verified']} verified), {known['failed']} failed"
    if not waiting:
        return counts
    rate = known["lately"]
    left = f"about {duration(3600 * waiting / rate)} left" if rate else "none synced in the last hour"
    return f"{counts}, {waiting} pending: {left}"


def differences(node: NodeStatus) -> str:
    """How many."""
    number = len(node.differences)
    return f"{number} difference{'s' if number > 1 else ''}" if number else "ok"


def _texts(node: NodeStatus) -> list[str]:
    return [*node.differences, *node.warnings, *(node.failure or "").splitlines()]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(row).rstrip() for row in padded]
