"""What `make status` finds out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SAME, UNKNOWN, DIFFERENT = 0, 1, 2
"""The exit status."""
LISTED = 200
"""Images of each kind."""
KINDS = ("missing", "different", "surplus")


@dataclass
class NodeStatus:
    """`differences` and `warnings`: texts; `failure`: why the node could not be asked.

    `certificates`: path → the end of its validity, in ISO 8601; `geo`: hosts/gitlab_node/geo.rb, `numbers`.
    """

    name: str
    site: str
    roles: list[str]
    gitlab: str | None = None
    registry: dict[str, Any] | None = None
    certificates: dict[str, str] = field(default_factory=dict)
    geo: dict[str, int] | None = None
    differences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failure: str | None = None


@dataclass
class Comparison:
    """A secondary's images and the primary's. `counts`: kind → number, `images`: kind → the first ones.

    `compared` of `repositories` are done, up to the one named `after`.
    """

    site: str
    repositories: int = 0
    compared: float = 0
    after: str = ""
    tags: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    images: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    failure: str | None = None

    def add(self, part: dict[str, Any]) -> None:
        """What a node has printed: a number of repositories, or the result of those up to `after`."""
        self.compared, self.repositories = part["compared"], part["of"]
        if "after" not in part:
            return
        self.after = part["after"]
        self.tags += part["tags"]
        for kind in KINDS:
            self.counts[kind] += part[kind]["count"]
            self.images[kind] = [*self.images[kind], *part[kind]["images"]][:LISTED]


@dataclass
class Status:
    """Of a whole stack."""

    stack: str
    primary: str
    nodes: list[NodeStatus]
    comparisons: list[Comparison]

    def geo(self, site: str) -> dict[str, int] | None:
        """Of the node of the site that knows its numbers."""
        return next((node.geo for node in self.nodes if node.site == site and node.geo), None)

    @property
    def code(self) -> int:
        """The exit status."""
        if any(node.failure for node in self.nodes) or any(one.failure for one in self.comparisons):
            return UNKNOWN
        different = any(node.differences for node in self.nodes)
        return DIFFERENT if different or any(any(c.counts.values()) for c in self.comparisons) else SAME
