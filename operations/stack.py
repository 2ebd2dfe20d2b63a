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
from hosts.programs import END
from plan.database import HOST, PASSWORD
from plan.node import NodePlan
from plan.resolve import DeploymentPlan, resolve

_MARK = "4dabf18193072939515e22adb298388d"
"""The key that marks a secret in an exported state (pulumi, sdk/go/common/resource/sig)."""


class StackError(Exception):
    """The stack cannot be used. The text says why and what to do."""


@dataclass(frozen=True)
class Stack:
    """`project`: the directory with Pulumi.yaml; `owner`: project/stack, which the nodes know it by.

    `databases`: site → address and password of the metadata database that the stack has created there, by
    the names in plan/database.py. `connections`: host → host, port, user, hostKey, and if they are set,
    privateKey and proxy. `payloads`: GitLab node → what the last `pulumi up` sent to its program.
    """

    name: str
    project: Path
    owner: str
    plan: DeploymentPlan
    connections: dict[str, dict[str, Any]] = field(repr=False)
    databases: dict[str, dict[str, str]] = field(repr=False)
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def registry_nodes(self, site: str) -> list[NodePlan]:
        """The GitLab nodes of a site that run its registry."""
        hosts = self.plan.sites[site].hosts.values()
        return [host for host in hosts if isinstance(host, NodePlan) and "registry" in host.roles]


def read(name: str, project: Path) -> Stack:
    """The stack, with its secrets decrypted. Raises StackError, with all errors of the configuration."""
    namespace, texts = configuration(name, project)
    deployment, errors = parse(raw_values(texts))
    if deployment is None:
        raise StackError(report(f"Pulumi.{name}.yaml", errors))
    state = json.loads(pulumi(project, "stack", "export", "--show-secrets", "--stack", name))
    plan = resolve(deployment)
    sessions = _sessions(state, plan)
    connections = {host: session["connection"] for host, session in sessions.items()}
    payloads = {
        host: json.loads(session["stdin"].partition(END)[2])
        for host, session in sessions.items()
        if isinstance(plan.hosts[host], NodePlan)
    }
    databases = created_databases(state, plan)
    return Stack(name, project, f"{namespace}/{name}", plan, connections, databases, payloads)


def configuration(name: str, project: Path) -> tuple[str, dict[str, str]]:
    """The project's name, and the stack's values by key without it, secrets decrypted. Raises StackError."""
    try:
        namespace = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    except OSError as error:
        raise StackError(f"{project} has no Pulumi.yaml: {error.strerror}") from None
    values = json.loads(pulumi(project, "config", "--json", "--show-secrets", "--stack", name))
    prefix = f"{namespace}:"
    return namespace, {
        key.removeprefix(prefix): one["value"] for key, one in values.items() if key.startswith(prefix)
    }


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


def _sessions(state: dict[str, Any], plan: DeploymentPlan) -> dict[str, dict[str, Any]]:
    """Host → inputs of its session, `connection` and `stdin` among them."""
    found = {}
    for resource in (state.get("deployment") or {}).get("resources") or []:
        name = resource["urn"].rpartition("::")[2]
        if resource["type"] == "command:remote:Command" and name.endswith("-settings"):
            found[name.removesuffix("-settings")] = _plain(resource["inputs"])
    # A resource is named for its component, whose name has no hyphen in this program, and its host.
    return {
        name.partition("-")[2]: one for name, one in found.items() if name.partition("-")[2] in plan.hosts
    }


def created_databases(state: dict[str, Any], plan: DeploymentPlan) -> dict[str, dict[str, str]]:
    """Those in an exported state: site → address and password. A site's may not exist yet."""
    found = {}
    for resource in (state.get("deployment") or {}).get("resources") or []:
        # Named for its component, whose name has no hyphen in this program, and its site.
        name = resource["urn"].rpartition("::")[2].partition("-")[2]
        site = name.removesuffix("-database-server")
        created = resource["type"] == "aws:rds/instance:Instance" and site in plan.sites
        if created and (outputs := _plain(resource.get("outputs") or {})).get("address"):
            found[site] = {HOST.name: outputs["address"], PASSWORD.name: outputs["password"]}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if _MARK in value:
            return _plain(json.loads(value["plaintext"]))
        return {key: _plain(one) for key, one in value.items()}
    return value
