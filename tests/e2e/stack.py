"""A stack of the lab as a user drives it, and what the tests read on its hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import yaml

from lab.api import Lab
from lab.host import Host

GITLAB_RB = "/etc/gitlab/gitlab.rb"
OURS = "/etc/gitlab/geo-registry"
NAMESPACE = "gitlab-geo-registry:"


MEASURED: list[str] = []
"""Times that the present test has taken note of."""


def measured(what: str, seconds: float) -> None:
    """Have a time shown when all tests are over."""
    MEASURED.append(f"{what}: {seconds:.1f} s")


class Stack:
    """A stack of the lab's project: the CLI as a user runs it, and its configuration file."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self.file = lab.dir / "project" / f"Pulumi.{name}.yaml"

    def up(self, *options: str, check: bool = True) -> str:
        """`pulumi up`; its output. Its time is shown when all tests are over."""
        began = time.monotonic()
        done = self.lab.pulumi("up", "--yes", "--skip-preview", *options, stack=self.name, check=check)
        measured(f"pulumi up ({self.name}), exit {done.returncode}", time.monotonic() - began)
        if not check:
            assert done.returncode != 0, f"this up must fail:\n{done.stdout}"
        return done.stdout + done.stderr

    def fails(self, *options: str) -> str:
        """A `pulumi up` that must fail; what it says."""
        return self.up(*options, check=False)

    def destroy(self) -> str:
        return self.lab.pulumi("destroy", "--yes", "--skip-preview", stack=self.name).stdout

    def preview(self, *options: str, check: bool = True) -> str:
        done = self.lab.pulumi("preview", *options, stack=self.name, check=check)
        return done.stdout + done.stderr

    def outputs(self) -> dict[str, Any]:
        text = self.lab.pulumi("stack", "output", "--json", stack=self.name).stdout
        found: dict[str, Any] = json.loads(text)
        return found

    def configure(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Edit the stack's configuration, keys without their namespace."""
        document = yaml.safe_load(self.file.read_text())
        config = document["config"]
        own = {k.removeprefix(NAMESPACE): v for k, v in config.items() if k.startswith(NAMESPACE)}
        change(own)
        others = {k: v for k, v in config.items() if not k.startswith(NAMESPACE)}
        document["config"] = others | {NAMESPACE + k: v for k, v in own.items()}
        self.file.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))


def settle(host: Host) -> None:
    """Wait for the services after a change made manually."""
    host.wait_ready()


def play(host: Host, role: str) -> None:
    """What `gitlab-ctl geo promote`, or its counterpart, does to the lab's GitLab: which database, which role."""
    mode = "rw" if role == "primary" else "ro"
    database = "/var/opt/gitlab/postgresql"
    host.run(f"if mountpoint -q {database}; then mount -o remount,{mode},bind {database}; fi")
    host.run(f"sed -i 's/geo_[a-z]*_role/geo_{role}_role/' {GITLAB_RB} && gitlab-ctl reconfigure")
    host.run("for one in puma sidekiq; do [ ! -e /opt/gitlab/service/$one ] || gitlab-ctl restart $one; done")
    host.wait_ready()


def files(host: Host) -> dict[str, bytes]:
    """What a reconfigure writes of the registry and of Geo, to see whether one changed anything."""
    names = [
        "/var/opt/gitlab/registry/config.yml",
        "/var/opt/gitlab/registry/gitlab-registry.crt",
        "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key",
        "/var/opt/gitlab/gitlab-rails/etc/gitlab.yml",
        GITLAB_RB,
    ]
    return {name: host.read(name) for name in names}


def secrets(host: Host) -> dict[str, str]:
    """The secrets file that we put on a node."""
    found: dict[str, str] = json.loads(host.read(f"{OURS}/secrets.json"))
    return found


class Running:
    """The CLI in the background: `end` waits for it, `kill` ends it and its plugins at once."""

    def __init__(self, lab: Lab, *arguments: str, stack: str = "existing") -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as this)
        self._process = subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive", "--stack", stack],
            cwd=lab.dir / "project",
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self, seconds: float = 90) -> tuple[int, str]:
        """Its exit status and what it said."""
        code = self._process.wait(seconds)
        self._output.seek(0)
        with self._output as output:
            return code, output.read()

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
