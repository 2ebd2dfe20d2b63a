"""Whether a secondary can become the primary: `make failover-check STACK=prod TO=tokyo`. Changes nothing.

It says what would be lost, what is not ready, and the steps with this stack's values. Exit status: 0 go,
2 no-go, 1 something could not be determined, for example because the primary does not answer.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from config.parsing import parse, raw_values
from operations import status
from operations.display import Bars, say
from operations.findings import Status
from operations.stack import Stack, StackError, configuration, read

GO, UNKNOWN, NO_GO = 0, 1, 2
LISTED = 20


@dataclass(frozen=True)
class Check:
    """`lost`: images that the new primary would not have; `not_ready`: what prevents the failover.

    `unknown`: what could not be determined; `steps`: what a person does, in order.
    """

    lost: list[str]
    not_ready: list[str]
    unknown: list[str]
    steps: list[str]

    @property
    def code(self) -> int:
        """The exit status."""
        if self.lost or self.not_ready:
            return NO_GO
        return UNKNOWN if self.unknown else GO


def check(stack: Stack, to: str, now: datetime, refused: Sequence[str]) -> Check:
    """`refused`: the errors of the configuration with `to` as its primary."""
    with Bars() as bars:
        found = status.status(stack, now, bars)
    lost, unknown = _lost(found, to)
    not_ready = [*refused, *_unresolved(stack, to)]
    versions = {node.gitlab for node in found.nodes if node.site == stack.plan.primary and node.gitlab}
    for node in found.nodes:
        if node.failure:
            unknown.append(node.failure.splitlines()[0])
        elif node.site == to:
            not_ready += [f"{node.name}: {text}" for text in node.differences]
            if versions and node.gitlab not in versions:
                not_ready.append(
                    f"{node.name}: GitLab {node.gitlab}, and {', '.join(versions)} at the primary"
                )
    return Check(lost, not_ready, unknown, steps(stack, to))


def _lost(found: Status, to: str) -> tuple[list[str], list[str]]:
    """Images that the new primary does not have, and what could not be compared."""
    compared = [one for one in found.comparisons if one.site == to]
    failures = [f"{to}: its images could not be compared: {one.failure}" for one in compared if one.failure]
    if not compared:
        failures = [f"{to} has no registry node on which its images could be compared"]
    kinds = ("missing", "different")
    return [
        f"{kind} at {to}: {image}" for one in compared for kind in kinds for image in one.images.get(kind, [])
    ], failures


def _unresolved(stack: Stack, to: str) -> list[str]:
    """Names of the site's URLs that this machine does not resolve."""
    site = stack.plan.sites[to]
    missing = []
    for url in dict.fromkeys((site.external_url, site.registry_url)):
        try:
            socket.getaddrinfo(urlsplit(url).hostname, None)
        except OSError as error:
            missing.append(f"{url} does not resolve on this machine: {error.strerror}")
    return missing


def steps(stack: Stack, to: str) -> list[str]:
    """What a person does for a planned failover, in order (docs/operations.md, "Move the primary")."""
    primary, site = stack.plan.primary, stack.plan.sites[to]
    follow = f"Make {primary} a secondary of {to}"
    others = [name for name in stack.plan.sites if name not in (primary, to)]
    if others:
        follow += f", and let {', '.join(others)} follow {to}"
    move = [f"pulumi config set primary {to} --stack {stack.name}", f"pulumi up --stack {stack.name}"]
    unified = site.external_url == stack.plan.sites[primary].external_url
    return [
        f"Stop pushes: enable maintenance mode at {stack.plan.sites[primary].external_url}",
        f"Wait until Geo has copied everything: `make failover-check STACK={stack.name} TO={to}` says go",
        f"On each node of {to} ({', '.join(site.hosts)}): `sudo gitlab-ctl geo promote`",
        *([] if site.aws else [follow]),
        f"Run `{move[0]}`, then `{move[1]}`",
        *([f"{follow}: `pulumi stack output next_steps --stack {stack.name}`"] if site.aws else []),
        *([f"Let the DNS name of {site.external_url} point to {to}"] if unified else []),
        f"Run `make status STACK={stack.name}`",
    ]


def lines(found: Check, to: str) -> list[str]:
    """For a terminal."""
    shown = [
        ("would be lost", found.lost),
        ("not ready", found.not_ready),
        ("could not be determined", found.unknown),
    ]
    text = []
    for title, all_of_it in shown:
        text += (
            [f"{title}:", *(f"  {line}".replace("\n", "\n  ") for line in all_of_it[:LISTED])]
            if all_of_it
            else []
        )
        if len(all_of_it) > LISTED:
            text.append(f"  and {len(all_of_it) - LISTED} more")
    text += ["steps:", *(f"  {number}. {step}" for number, step in enumerate(found.steps, 1))]
    verdict = {GO: "go", NO_GO: "no-go", UNKNOWN: "not known"}[found.code]
    return [*text, f"{to} as the primary: {verdict}"]


def _check(name: str, project: Path, to: str) -> Check:
    stack = read(name, project)
    secondaries = [site for site in stack.plan.sites if site != stack.plan.primary]
    if to not in secondaries:
        raise StackError(f"TO must be a secondary of {name} ({', '.join(secondaries)}), not {to}")
    texts = configuration(name, project)[1] | {"primary": to}
    refused = [str(error) for error in parse(raw_values(texts))[1]]
    return check(stack, to, datetime.now(UTC), refused)


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make failover-check", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--to", required=True, help="the site that is to be the primary")
    parser.add_argument("--project", default=".", type=Path, help="the directory with Pulumi.yaml")
    args = parser.parse_args(argv)
    try:
        found = _check(args.stack, args.project, args.to)
    except StackError as error:
        print(error, file=sys.stderr)
        return UNKNOWN
    for line in lines(found, args.to):
        say(line)
    return found.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
