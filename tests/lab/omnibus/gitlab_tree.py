"""A folder that stands for a GitLab host, so that the omnibus stand-in runs in it without namespaces or root."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

SERVICES = ("registry", "puma", "sidekiq", "nginx")
NOBODY = 65534
"""Who runs things when the tests are root: root could write where a secondary must not."""

DATA = "/var/opt/gitlab"
CONFIG_YML = f"{DATA}/registry/config.yml"
CERTIFICATE = f"{DATA}/registry/gitlab-registry.crt"
KEY = f"{DATA}/gitlab-rails/etc/gitlab-registry.key"
GITLAB_YML = f"{DATA}/gitlab-rails/etc/gitlab.yml"
SECRETS = "/etc/gitlab/gitlab-secrets.json"
VERSION = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"

SITE = """\
letsencrypt['enable'] = false
external_url 'https://gitlab.london.example.com'
registry_external_url 'https://registry.london.example.com'
"""
ELSEWHERE = """\
letsencrypt['enable'] = false
external_url 'https://gitlab.london.example.com'
registry['enable'] = false
gitlab_rails['registry_enabled'] = true
gitlab_rails['registry_host'] = 'registry.london.example.com'
gitlab_rails['registry_api_url'] = 'https://registry.london.example.com'
"""
EVENT = """\
registry['notifications'] = [{
  'name' => 'geo_event', 'url' => 'http://127.0.0.1/events', 'headers' => { 'Authorization' => ['the-token'] }
}]
"""


def run_as() -> int | None:
    """The account to run processes as: None is our own."""
    return NOBODY if os.getuid() == 0 else None


def for_everybody(source: Path) -> Path:
    """Where anyone who `run_as` names can read it: a checkout below /root is closed to all but root."""
    if run_as() is None:
        return source
    folder = Path(tempfile.mkdtemp(prefix="lab-omnibus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return Path(shutil.copytree(source, folder / source.name, symlinks=True))


OMNIBUS = for_everybody(Path(__file__).parents[3] / "lab/omnibus")


class GitLabTree:
    """The host. Paths are those of the host: `/etc/gitlab/gitlab.rb`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for service in SERVICES:
            self.write(f"/opt/gitlab/sv/{service}/down", "")
        self.write("/opt/gitlab/etc/lab.json", json.dumps(self.lab_settings()))
        self.write("/etc/gitlab/gitlab.rb", SITE)

    @staticmethod
    def lab_settings() -> dict[str, float]:
        # 1024 bits are enough to tell one key from another, and quick.
        return {"reconfigure_seconds": 0, "registry_key_bits": 1024, "sidekiq_boot_seconds": 0}

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        if os.getuid() == 0:
            for made in (target, *(p for p in target.parents if p.is_relative_to(self.root))):
                os.chown(made, NOBODY, NOBODY)

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    def exists(self, path: str) -> bool:
        return self.path(path).exists()

    def gitlab_rb(self, text: str) -> None:
        self.write("/etc/gitlab/gitlab.rb", text)

    def install(self, version: str) -> None:
        """Another version of GitLab on the host, "18.6.2"."""
        self.write(VERSION, f"{version}-ee\n")

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LAB_ROOT": str(self.root)}

    def ctl(self, *arguments: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        """Run gitlab-ctl; stdout and stderr apart."""
        return subprocess.run(
            [OMNIBUS / "bin/gitlab-ctl", *arguments],
            env=self.environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            user=run_as(),
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start gitlab-ctl and do not wait."""
        command = [str(OMNIBUS / "bin/gitlab-ctl"), *arguments]
        return subprocess.Popen(
            command,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=run_as(),
        )

    def reconfigure(self, text: str | None = None) -> str:
        """Reconfigure, with this gitlab.rb if there is one; it must succeed. Its output."""
        if text is not None:
            self.gitlab_rb(text)
        done = self.ctl("reconfigure")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fails(self, text: str) -> str:
        """A reconfigure that must exit 1 with this gitlab.rb; its output."""
        self.gitlab_rb(text)
        done = self.ctl("reconfigure")
        assert done.returncode == 1, done.stdout
        return done.stdout

    def commanded(self) -> list[str]:
        """What runit was asked since the last call: ["restart puma", …]."""
        log = self.path("/sv.log")
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def registry(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.read(CONFIG_YML))
        return found

    def rails(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.read(GITLAB_YML))["production"]
        return found

    def secrets(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read(SECRETS))
        return found

    @contextmanager
    def process(self, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process of the host, ended afterwards; what it says is in /process.log."""
        with self.path("/process.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment() | environment, stdout=log, stderr=log, user=run_as()
            )
            try:
                yield process
            except AssertionError as error:
                error.add_note("/process.log ends with:\n" + self.path("/process.log").read_text()[-2000:])
                raise
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()


@contextmanager
def made(*names: str) -> Iterator[list[GitLabTree]]:
    """Hosts in folders that NOBODY may enter, which pytest's own it may not."""
    base = Path(tempfile.mkdtemp(prefix="gitlab-tree-"))
    base.chmod(0o755)
    try:
        yield [GitLabTree(base / name) for name in names]
    finally:
        for directory, _, _ in os.walk(base):
            Path(directory).chmod(0o755)  # A replica's is read-only, for its owner too.
        shutil.rmtree(base)


def wait_for(look: Callable[[], object], seconds: float = 60) -> None:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"{look} was not true within {seconds} s"
        time.sleep(0.05)
