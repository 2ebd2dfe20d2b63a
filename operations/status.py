"""Whether everything is there: `make status STACK=prod`. Reads nodes and registries, and changes nothing.

Each node says what differs from what the last `pulumi up` wrote; a node of each secondary compares its site's
images with the primary's, digest by digest. Exit status: 0 all well, 2 differences, 1 something could not be
determined.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from operations.display import Bars, say
from operations.ssh import NodeFailure, NodeSession, NotConnected
from operations.stack import Stack, StackError, read
from plan.node import NodePlan

SAME, UNKNOWN, DIFFERENT = 0, 1, 2
AT_A_TIME = 16
COMPARISON_SECONDS = 600
"""A comparison prints something at least that often; the list of all repositories takes longest."""
LISTED = 200
"""Images of each kind."""
SOON = timedelta(days=60)
KINDS = ("missing", "different", "surplus")


@dataclass
class NodeStatus:
    """`differences` and `warnings`: texts; `failure`: why the node could not be asked."""

    name: str
    site: str
    roles: list[str]
    gitlab: str | None = None
    registry: dict[str, Any] | None = None
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

    @property
    def code(self) -> int:
        """The exit status."""
        if any(node.failure for node in self.nodes) or any(one.failure for one in self.comparisons):
            return UNKNOWN
        different = any(node.differences for node in self.nodes)
        return DIFFERENT if different or any(any(c.counts.values()) for c in self.comparisons) else SAME


def status(stack: Stack, now: datetime, bars: Bars, *, deep: bool = False) -> Status:
    """Asks all nodes at the same time, then one of each secondary for the comparison, `deep` with blobs."""
    nodes = [host for host in stack.plan.hosts.values() if isinstance(host, NodePlan)]
    asking = [node for node in nodes if "registry" in node.roles and node.site != stack.plan.primary]
    first = list({node.site: node for node in reversed(asking)}.values())
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        compared = [pool.submit(compare, stack, node, bars, deep=deep) for node in first]
        found = []
        for answer in pool.map(lambda node: _ask(stack, node, now), nodes):
            found.append(answer)
            bars.show("nodes", "nodes", len(found), len(nodes))
        return Status(stack.name, stack.plan.primary, found, [one.result() for one in compared])


def _ask(stack: Stack, node: NodePlan, now: datetime) -> NodeStatus:
    known = NodeStatus(node.name, node.site, [*node.roles])
    said: list[str] = []
    try:
        with NodeSession(stack, node, said.append) as session:
            answer = session.ask("status")
    except (NodeFailure, NotConnected) as error:
        known.failure = "\n".join(said) or str(error)
        return known
    known.gitlab, known.registry = answer["gitlab"], answer["registry"]
    known.differences = [
        f"{one['what']} ({one['since']})" if one["since"] else one["what"] for one in answer["differences"]
    ]
    expected = stack.plan.gitlab_version
    if known.gitlab and not f"{known.gitlab}.".startswith(f"{expected}."):
        known.differences.append(f"GitLab is {known.gitlab}, and gitlab_version {expected}")
    for certificate in answer["certificates"]:
        ends = datetime.fromisoformat(certificate["ends"])
        if ends - now < SOON:
            known.warnings.append(f"{certificate['path']} expires on {ends:%d %B %Y}")
    if known.registry and known.registry["answers"] != 401:
        known.differences.append(f"the registry answers {known.registry['answers'] or 'nothing'}")
    return known


def compare(stack: Stack, node: NodePlan, bars: Bars, *, deep: bool = False) -> Comparison:
    """Of the node's site. It continues after a lost connection, as long as it gets further each time."""
    found, said = Comparison(node.site), list[str]()
    with NodeSession(stack, node, said.append) as session:
        while True:
            before = found.after
            request = {"after": before, "deep": deep}
            try:
                for part in session.parts("compare", request, COMPARISON_SECONDS):
                    found.add(part)
                    bars.show(node.site, "repositories", found.compared, found.repositories)
                return found
            except NotConnected as error:
                if found.after != before:
                    continue
                found.failure = str(error)
            except NodeFailure as error:
                found.failure = "\n".join(said) or str(error)
            return found


def table(found: Status) -> list[str]:
    """Lines for a terminal."""
    rows = [("node", "site", "roles", "GitLab", "registry", "state")]
    for node in found.nodes:
        state = f"{len(node.differences)} differences" if node.differences else "ok"
        state = "could not be asked" if node.failure else state
        registry = _registry(node.registry)
        rows.append((node.name, node.site, ", ".join(node.roles), node.gitlab or "", registry, state))
    lines = _columns(rows)
    for node in found.nodes:
        lines += [f"{node.name}: {text}" for text in _texts(node)]
    for one in found.comparisons:
        if one.failure:
            lines += [f"{one.site}: not compared", *(f"  {line}" for line in one.failure.splitlines())]
            continue
        counts = ", ".join(f"{one.counts[kind]} {kind}" for kind in KINDS)
        compared = f"{one.tags} tags in {one.repositories} repositories of {found.primary}"
        lines.append(f"{one.site}: {compared}: {counts}")
        lines += [f"  {kind}: {image}" for kind in KINDS for image in one.images[kind][:20]]
    return lines


def _registry(known: dict[str, Any] | None) -> str:
    if not known:
        return ""
    return f"{'read-only' if known['read_only'] else 'writable'}, {known['lock_file'] or 'lock file unknown'}"


def _texts(node: NodeStatus) -> list[str]:
    return [*node.differences, *node.warnings, *(node.failure or "").splitlines()]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(row).rstrip() for row in padded]


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make status", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--project", default=".", type=Path, help="the directory with Pulumi.yaml")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--deep", action="store_true", help="look for every layer as well")
    args = parser.parse_args(argv)
    try:
        with Bars() as bars:
            found = status(read(args.stack, args.project), datetime.now(UTC), bars, deep=args.deep)
    except StackError as error:
        print(error, file=sys.stderr)
        return UNKNOWN
    if args.json:
        print(json.dumps(asdict(found) | {"status": found.code}, indent=2))
    else:
        for line in table(found):
            say(line)
    return found.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
