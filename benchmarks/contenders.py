"""Three ways to the same result: this program, Ansible, and one script over SSH to each node."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from jinja2 import Environment, FileSystemLoader

from benchmarks.world import World
from lab.sites import Node, Site

HERE = Path(__file__).parent
PLAYBOOK = HERE / "playbook"
SECONDS = 600


class Contender(Protocol):
    """`prepare` after each reset of the world; `preview` and `apply` are what is measured."""

    name: str

    def prepare(self) -> None:
        """Write what a person has before the first run; not measured."""

    def change_secret(self) -> None:
        """Ask for another secret that every node has; not measured."""

    def preview(self) -> bool:
        """Say what would be done; False where there is no such thing."""

    def apply(self) -> None:
        """Bring every node to what is asked for."""


def run(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a command to its end; RuntimeError with the end of what it said if it fails."""
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=SECONDS, env=env)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


class Pulumi:
    """`pulumi up` in the lab's project directory, with as many nodes at once as there are."""

    name = "pulumi"

    def __init__(self, world: World) -> None:
        self._world = world
        self._file = world.lab.dir / "project/Pulumi.bench.yaml"
        # The counterpart of Ansible's forks; the engine's own limit is four times the machine's cores.
        self._parallel = ["--parallel", str(2 * len(world.nodes()) + 8)]
        self._config: dict[str, Any] = {}

    def prepare(self, config: dict[str, Any] | None = None) -> None:
        self._config = config or self._world.configuration()
        self._write()

    def change_secret(self) -> None:
        self._config["rotate"] = {"http_secret": 1}
        self._write()

    def preview(self) -> bool:
        self._pulumi("preview")
        return True

    def apply(self) -> None:
        self._pulumi("up", "--yes", "--skip-preview")

    def _pulumi(self, *arguments: str) -> None:
        self._world.lab.pulumi(*arguments, *self._parallel, stack="bench", timeout=SECONDS)

    def _write(self) -> None:
        document = yaml.safe_load(self._file.read_text()) if self._file.exists() else {}
        document["config"] = {f"gitlab-geo-registry:{key}": value for key, value in self._config.items()}
        self._file.write_text(yaml.safe_dump(document, sort_keys=False))


class Ansible:
    """The playbook beside this file; its SSH connections are new in each run, as after a minute's pause."""

    name = "ansible"

    def __init__(self, world: World, venv: Path) -> None:
        self._world = world
        self._playbook = str(venv / "bin/ansible-playbook")
        self._inventory, self._secrets = world.dir / "inventory.json", world.dir / "secrets.json"

    def prepare(self) -> None:
        groups: dict[str, Any] = {}
        for site in self._world.lab.layout.sites:
            hosts = {node.name: {"ansible_host": node.address} for node in site.nodes}
            groups[site.name] = {"hosts": hosts, "vars": self._world.facts(site)}
        everyone = {"gitlab": {"children": groups, "vars": {"ansible_user": "ubuntu"}}}
        primary = {"primary": {"hosts": dict.fromkeys(node.name for node in self._world.primary.nodes)}}
        self._inventory.write_text(json.dumps({"all": {"children": {**everyone, **primary}}}))
        self._write(self._world.secrets())

    def change_secret(self) -> None:
        former = json.loads(self._secrets.read_text())
        self._write(former | {"http_secret": self._world.secrets()["http_secret"]})

    def preview(self) -> bool:
        self._ansible("--check", "--diff")
        return True

    def apply(self) -> None:
        self._ansible()

    def _ansible(self, *options: str) -> None:
        forks = str(len(self._world.nodes()))
        command = [self._playbook, "--inventory", str(self._inventory), "--forks", forks]
        command += ["--extra-vars", f"@{self._secrets}", *options, str(PLAYBOOK / "site.yml")]
        with tempfile.TemporaryDirectory(dir="/run") as sockets:
            paths = {"ANSIBLE_CONFIG": str(PLAYBOOK / "ansible.cfg"), "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
            run(command, env={**os.environ, **paths})

    def _write(self, secrets: dict[str, Any]) -> None:
        self._secrets.touch(0o600)
        self._secrets.write_text(json.dumps(secrets))


class BareSsh:
    """The floor: one `ssh` a node, all at once, each with one script. No preview, no state, no way back."""

    name = "ssh"

    def __init__(self, world: World) -> None:
        self._world = world
        self._template = Environment(
            loader=FileSystemLoader(PLAYBOOK / "templates"),
            trim_blocks=True,
            autoescape=False,  # noqa: S701
        ).get_template("settings.rb.j2")
        self._script = (HERE / "floor/node.sh").read_text()
        self._prove = (PLAYBOOK / "files/prove.rb").read_text()
        self._secrets: dict[str, Any] = {}

    def prepare(self) -> None:
        self._secrets = self._world.secrets()

    def change_secret(self) -> None:
        self._secrets["http_secret"] = self._world.secrets()["http_secret"]

    def preview(self) -> bool:
        return False

    def apply(self) -> None:
        pair = self._pair()
        sessions = []
        for site, node in self._world.nodes():
            process = self._ssh(node, "sudo -n sh -s")
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.write(self._filled(site, node, pair))
            process.stdin.close()
            process.stdin = None  # or communicate() would close it again
            sessions.append((node, process))
        for node, process in sessions:
            output, _ = process.communicate(timeout=SECONDS)
            if process.returncode:
                raise RuntimeError(f"ssh {node.name} failed:\n{output[-4000:]}")

    def _pair(self) -> dict[str, str]:
        """The registry's key pair, read from the primary."""
        node = self._world.primary.nodes[0]
        text, _ = self._ssh(node, "sudo -n cat /etc/gitlab/gitlab-secrets.json").communicate(timeout=SECONDS)
        pair: dict[str, str] = json.loads(text)["registry"]
        return pair

    def _filled(self, site: Site, node: Node, pair: dict[str, str]) -> str:
        facts = self._world.facts(site)
        secrets = {
            "registry_key": pair["internal_key"],
            "registry_certificate": pair["internal_certificate"],
            "http_secret": self._secrets["http_secret"],
            "s3_access_key": self._secrets["s3_keys"][site.name]["access_key"],
            "s3_secret_key": self._secrets["s3_keys"][site.name]["secret_key"],
        }
        if site is self._world.primary:
            secrets["notification_secret"] = self._secrets["notification_secret"]
        shared = {name: facts[name] for name in ("role", "issuer", "bucket", "region")} | {
            "secrets": "/etc/gitlab/geo-registry.json",
            "events": facts["primary_external_url"] + facts["events_path"],
            "primary_registry": facts["primary_registry_url"],
        }
        parts = {
            "@SECRETS@": json.dumps(secrets),
            "@SETTINGS@": self._template.render(facts, inventory_hostname=node.name),
            "@FACTS@": json.dumps(shared),
            "@PROVE@": self._prove,
        }
        script = self._script
        for mark, text in parts.items():
            script = script.replace(mark, text)
        return script

    @staticmethod
    def _ssh(node: Node, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["ssh", f"ubuntu@{node.address}", command],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
