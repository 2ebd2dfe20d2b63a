"""A stack as the Pulumi CLI knows it: its configuration, resolved, and the connections of its hosts."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from config.errors import report
from config.parsing import parse, raw_values
from plan.node import NodePlan
from plan.resolve import DeploymentPlan, resolve

_MARK = "4dabf18193072939515e22adb298388d"
"""The key that marks a secret in an exported state (pulumi, sdk/go/common/resource/sig)."""


class StackError(Exception):
    """The stack cannot be used. The text says why and what to do."""


@dataclass(frozen=True)
class Stack:
    """`project`: the directory with Pulumi.yaml; `owner`: project/stack, which the nodes know it by.

    `connections`: host → host, port, user, hostKey, and if they are set, privateKey and proxy.
    """

    name: str
    project: Path
    owner: str
    plan: DeploymentPlan
    connections: dict[str, dict[str, Any]] = field(repr=False)

    def registry_nodes(self, site: str) -> list[NodePlan]:
        """The GitLab nodes of a site that run its registry."""
        hosts = self.plan.sites[site].hosts.values()
        return [host for host in hosts if isinstance(host, NodePlan) and "registry" in host.roles]


def read(name: str, project: Path) -> Stack:
    """The stack, with its secrets decrypted. Raises StackError, with all errors of the configuration."""
    try:
        namespace = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    except OSError as error:
        raise StackError(f"{project} has no Pulumi.yaml: {error.strerror}") from None
    values = json.loads(pulumi(project, "config", "--json", "--show-secrets", "--stack", name))
    prefix = f"{namespace}:"
    texts = {key.removeprefix(prefix): one["value"] for key, one in values.items() if key.startswith(prefix)}
    deployment, errors = parse(raw_values(texts))
    if deployment is None:
        raise StackError(report(f"Pulumi.{name}.yaml", errors))
    state = json.loads(pulumi(project, "stack", "export", "--show-secrets", "--stack", name))
    plan = resolve(deployment)
    return Stack(name, project, f"{namespace}/{name}", plan, _connections(state, plan))


def pulumi(project: Path, *arguments: str) -> str:
    """What the Pulumi CLI prints. Raises StackError with its error."""
    try:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=project,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise StackError("the Pulumi CLI is not in PATH: run this through `make`") from None
    if done.returncode:
        raise StackError(f"pulumi {' '.join(arguments[:2])} failed:\n{done.stderr.strip()}")
    return done.stdout


def _connections(state: dict[str, Any], plan: DeploymentPlan) -> dict[str, dict[str, Any]]:
    found = {}
    for resource in (state.get("deployment") or {}).get("resources") or []:
        name = resource["urn"].rpartition("::")[2]
        if resource["type"] == "command:remote:Command" and name.endswith("-settings"):
            found[name.removesuffix("-settings")] = _plain(resource["inputs"]["connection"])
    # A resource is named for its component and its host.
    return {host: one for host in plan.hosts for name, one in found.items() if name.endswith(f"-{host}")}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if _MARK in value:
            return _plain(json.loads(value["plaintext"]))
        return {key: _plain(one) for key, one in value.items()}
    return value
