"""Whether everything is there: `make status STACK=prod`. Reads nodes and registries, and changes nothing.

Each node says what differs from what the last `pulumi up` wrote; a node of each secondary compares its site's
images with the primary's, digest by digest. Exit status: 0 all well, 2 differences, 1 something could not be
determined.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from operations.display import Bars, say
from operations.findings import UNKNOWN, Comparison, NodeStatus, Status
from operations.ssh import NodeFailure, NodeSession, NotConnected
from operations.stack import Stack, StackError, read
from operations.status_page import page
from operations.status_table import table
from plan.node import NodePlan

AT_A_TIME = 16
COMPARISON_SECONDS = 600
"""A comparison prints something at least that often; the list of all repositories takes longest."""
SOON = timedelta(days=60)


def status(stack: Stack, now: datetime, bars: Bars, *, deep: bool = False) -> Status:
    """Asks all nodes at the same time, then one of each secondary for the comparison, `deep` with blobs."""
    nodes = [host for host in stack.plan.hosts.values() if isinstance(host, NodePlan)]
    first = comparing([node for node in nodes if node.site != stack.plan.primary])
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        compared = [pool.submit(compare, stack, node, bars, deep=deep) for node in first]
        found = []
        for answer in pool.map(lambda node: _ask(stack, node, now), nodes):
            found.append(answer)
            bars.show("nodes", "nodes", len(found), len(nodes))
        return Status(stack.name, stack.plan.primary, found, [one.result() for one in compared])


def comparing(nodes: list[NodePlan]) -> list[NodePlan]:
    """A node of each site: the first with a registry, or the first if the site's registry is another host."""
    without_registry_last = sorted(nodes, key=lambda node: "registry" not in node.roles)
    return list({node.site: node for node in reversed(without_registry_last)}.values())


def _ask(stack: Stack, node: NodePlan, now: datetime) -> NodeStatus:
    known = NodeStatus(node.name, node.site, [*node.roles])
    said: list[str] = []
    try:
        with NodeSession(stack, node, said.append) as session:
            answer = session.ask("status")
    except (NodeFailure, NotConnected) as error:
        known.failure = "\n".join(said) or str(error)
        return known
    known.gitlab, known.registry, known.geo = answer["gitlab"], answer["registry"], answer["geo"]
    known.differences = [
        f"{one['what']} ({one['since']})" if one["since"] else one["what"] for one in answer["differences"]
    ]
    expected = stack.plan.gitlab_version
    if known.gitlab and not f"{known.gitlab}.".startswith(f"{expected}."):
        known.differences.append(f"GitLab is {known.gitlab}, and gitlab_version {expected}")
    known.certificates = {one["path"]: one["ends"] for one in answer["certificates"]}
    for path, text in known.certificates.items():
        ends = datetime.fromisoformat(text)
        if ends - now < SOON:
            known.warnings.append(f"{path} expires on {ends:%d %B %Y}")
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


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make status", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--project", default=".", type=Path, help="the directory with Pulumi.yaml")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--deep", action="store_true", help="look for every layer as well")
    parser.add_argument("--differences", action="store_true", help="print nothing about what is well")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the same as a page, too")
    args = parser.parse_args(argv)
    now = datetime.now(UTC)
    try:
        with Bars() as bars:
            found = status(read(args.stack, args.project), now, bars, deep=args.deep)
        if args.html:
            args.html.write_text(page(found, now), encoding="utf-8")
    except (StackError, OSError) as error:
        print(error, file=sys.stderr)
        return UNKNOWN
    if args.json:
        print(json.dumps(asdict(found) | {"status": found.code}, indent=2))
    else:
        for line in table(found, all_well=not args.differences):
            say(line)
    return found.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
