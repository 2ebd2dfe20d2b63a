"""The main scenario from beginning to end: ``python -m lab demo [STACK…]`` (`make demo`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from lab.api import Lab
from lab.next_steps_runner import follow

STACKS = {
    "dev": "two sites created on AWS, one bucket for both registries, tokyo reads it",
    "existing": "two existing sites, one bucket for both registries, tokyo reads it",
    "replicated": "per-site storage: GitLab Geo copies each image from london to tokyo",
}
SHOWN = ("dev", "replicated")
"""The stacks that `make demo` shows by default."""

REPOSITORY = "group/app"
# The engine's lines about resources that only a network engineer would miss here.
SMALL = re.compile(
    r" creating \(0s\)| deleting \(0s\)|aws:(vpc|iam|route53):| aws:ec2:(Route|Subnet|Inter|Default|KeyPair)"
)
console = Console(highlight=False, soft_wrap=True)


@dataclass
class Steps:
    """The steps and their durations, printed as they run."""

    done: list[tuple[str, float]] = field(default_factory=list)

    def __call__(self, title: str, work: Callable[[], str]) -> None:
        """Run a step; the text it returns is printed with its duration."""
        console.print(f"\n[bold cyan]▶ {title}[/]")
        began = time.monotonic()
        result = work()
        took = time.monotonic() - began
        self.done.append((title, took))
        console.print(f"  [green]✔[/] {result} [dim]({took:.1f} s)[/]")


class Failed(Exception):
    """A step did not have the expected result."""


def demand(true: object, complaint: str) -> None:
    """Raise Failed unless the condition is true."""
    if not true:
        raise Failed(complaint)


def show(lab: Lab, stack: str) -> None:
    """One stack, from its sites or from nothing to a replicated image, and back. Raises Failed."""
    step = Steps()
    settings = yaml.safe_load((lab.dir / "project" / f"Pulumi.{stack}.yaml").read_text())["config"]
    created = any("aws" in site for site in settings["gitlab-geo-registry:sites"].values())
    before = {host.name: host.read("/etc/gitlab/gitlab.rb") for host in lab.hosts()}
    digest = ""

    def sessions() -> int:
        return sum(host.ssh_sessions() for host in [*lab.hosts(), *lab.instances().values()])

    def up() -> str:
        run(lab, "up", "--yes", "--skip-preview", "--stack", stack)
        return f"both sites {'created, ' if created else ''}configured and verified"

    def by_hand() -> str:
        done = follow(lab, stack)
        ready = [f"https://gitlab.{site}.example.com/-/readiness" for site in ("london", "tokyo")]
        lab.wait(lambda: all(lab.http_status(url) == 200 for url in ready), 30, "tokyo's GitLab")
        return f"{done} commands: primary set, database replicated (without the license and the rake task)"

    def push() -> str:
        nonlocal digest
        digest = lab.push("london", f"{REPOSITORY}:1.0", seed=b"demo 1.0")
        return f"{REPOSITORY}:1.0 has digest {digest[:19]}… at london"

    def arrive() -> str:
        took = lab.wait(lambda: lab.tags("tokyo", REPOSITORY).get("1.0") == digest, 60, "the image at tokyo")
        demand(lab.pull("tokyo", f"{REPOSITORY}:1.0") == digest, "tokyo has another image")
        return f"pulled from tokyo with the same digest, {took:.1f} s after the push"

    def again() -> str:
        former = sessions()
        output = run(lab, "up", "--yes", "--skip-preview", "--stack", stack)
        demand("changed" not in re.sub("unchanged", "", output), "the second pulumi up changed something")
        opened = sessions() - former
        demand(opened == 0, f"the second pulumi up opened {opened} SSH sessions")
        return "nothing to do, no SSH session opened"

    def destroy() -> str:
        run(lab, "destroy", "--yes", "--skip-preview", "--stack", stack)
        demand(not lab.instances(), "an EC2 instance is left")
        now = {host.name: host.read("/etc/gitlab/gitlab.rb") for host in lab.hosts()}
        demand(now == before, "a gitlab.rb differs from before")
        if created:
            return "EC2 instances and networks are deleted; the images stay in their bucket"
        return "each gitlab.rb is restored byte for byte; the images stay in their buckets"

    console.rule(f"[bold]{stack}[/]: {STACKS.get(stack, 'a stack of your own')}")
    step(f"pulumi up --stack {stack}", up)
    if created:
        step("the commands in the stack's output next_steps", by_hand)
    step("push an image to london", push)
    step("pull the image from tokyo", arrive)
    step("pulumi up again", again)
    outputs = json.loads(lab.pulumi("stack", "output", "--json", stack=stack).stdout)
    step(f"pulumi destroy --stack {stack}", destroy)
    # Printed last, so that it is visible below the output of destroy.
    picture(outputs)
    console.print(f"\n[dim]{stack}: {sum(took for _, took in step.done):.0f} s in total[/]")


def run(lab: Lab, *arguments: str) -> str:
    """Run the Pulumi CLI and show its output while it runs; returns the output. Raises Failed."""
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never", "--suppress-outputs"]
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=lab.dir / "project",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if line.strip() and not line.startswith("@") and not SMALL.search(line):
                console.print(f"  │ {line.rstrip()}", markup=False, style="dim")
    output = "".join(lines)
    demand(process.returncode == 0, f"{' '.join(command[:2])} exited with {process.returncode}")
    return output


def picture(outputs: Mapping[str, Any]) -> None:
    """What was built and verified, from the stack's outputs."""
    tree = Tree("[bold]what was built and verified, before destroy removed it[/]")
    for name, site in outputs["sites"].items():
        access = "read-only" if site["read_only"] else "read and write"
        branch = tree.add(f"[bold]{name}[/] ({site['role']})  {site['registry']}")
        branch.add(f"storage {site['storage']}, {access}")
        branch.add(f"registry certificate {site['key_fingerprint'][:16]}…")
        for node, address in site["nodes"].items():
            branch.add(f"{node} at {address}")
    console.print()
    console.print(tree)
    table = Table("node", "proven", "answer", box=None, header_style="bold")
    for nodes in outputs["proof"].values():
        for node, checks in nodes.items():
            for number, (check, answer) in enumerate(checks.items()):
                table.add_row(node if number == 0 else "", check, answer)
    console.print(table)


def main(stacks: list[str]) -> int:
    """Show the stacks one after another; 1 if a result is not as expected."""
    lab = Lab.current()
    try:
        for number, stack in enumerate(stacks or SHOWN):
            if number:
                lab.reset()
            show(lab, stack)
    except (Failed, TimeoutError, RuntimeError) as error:
        console.print(f"\n[bold red]✘ {error}[/]")
        console.print("To investigate, `make lab` starts the same sites with a shell.")
        return 1
    console.print("\n[bold green]done.[/] To explore a lab yourself: `make lab`")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
