"""Colleagues who work on one stack: each has a checkout of their own, and types what docs/state.md says."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from lab.api import Lab
from lab.host import Host
from tests.docs import DOCS, commands, filled

PAGE = "state.md"
ROOT = DOCS.parent
BUCKET = "acme-pulumi-state"
STACK = ".pulumi/stacks/gitlab-geo-registry/prod.json"
LOGIN = "pulumi login 's3://STATE-BUCKET?region=REGION'"
LIST_VERSIONS = """aws s3api list-object-versions --bucket STATE-BUCKET --prefix .pulumi/stacks/gitlab-geo-registry/prod.json --query "Versions[?ends_with(Key, '.json')].[LastModified, VersionId]" --output text"""
RESTORE_VERSION = "aws s3api copy-object --bucket STATE-BUCKET --key .pulumi/stacks/gitlab-geo-registry/prod.json --copy-source 'STATE-BUCKET/.pulumi/stacks/gitlab-geo-registry/prod.json?versionId=VERSION-ID'"
GITLAB_CTL = "/opt/gitlab/bin/gitlab-ctl"
LOCKED = "the stack is currently locked by 1 lock(s)"


class Colleague:
    """A checkout, a home and a passphrase; `values` are what this person puts in for words in capitals."""

    def __init__(self, lab: Lab, name: str, passphrase: str | None, **env: str) -> None:
        home = lab.dir / "team" / name
        self.checkout = home / "checkout"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(lab.dir / "project", self.checkout, symlinks=True)
        self.stack_file = self.checkout / "Pulumi.prod.yaml"
        shutil.copy(ROOT / "Pulumi.existing.yaml", self.stack_file)
        (home / ".pulumi").mkdir()
        (home / ".pulumi/plugins").symlink_to(lab.dir / "pulumi/plugins")
        (home / "bin").mkdir()
        aws = home / "bin/aws"
        python, modules = shlex.quote(sys.executable), shlex.quote(str(ROOT))
        aws.write_text(f'#!/bin/sh\nPYTHONPATH={modules} exec {python} -m tests.aws_cli "$@"\n')
        aws.chmod(0o755)
        self.values = {"STATE-BUCKET": BUCKET, "REGION": "eu-west-1", "ACCOUNT-ID": "123456789012"}
        self.env = {key: value for key, value in os.environ.items() if key != "PULUMI_BACKEND_URL"} | {
            "HOME": str(home),
            "PULUMI_HOME": str(home / ".pulumi"),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            # What a person is asked is answered with yes; nothing is added to the page's commands.
            "PULUMI_SKIP_CONFIRMATIONS": "true",
            **env,
        }
        self.knows(passphrase)

    def knows(self, passphrase: str | None) -> None:
        """The passphrase in this person's environment from now on, if any."""
        self.env.pop("PULUMI_CONFIG_PASSPHRASE", None)
        if passphrase is not None:
            self.env["PULUMI_CONFIG_PASSPHRASE"] = passphrase

    def types(self, command: str, answer: str = "") -> str:
        """A command of the page, which must succeed; all that it says. `answer` is its stdin."""
        code, said = self._run(self._line(command), answer)
        assert code == 0, f"{command}\n{said}"
        return said

    def is_refused(self, command: str, answer: str = "") -> str:
        """A command of the page, which must fail; what it says."""
        code, said = self._run(self._line(command), answer)
        assert code != 0, f"this must be refused: {command}\n{said}"
        assert "Traceback" not in said
        return said

    def starts(self, command: str) -> Started:
        """A command of the page, in the background."""
        return Started(self._line(command), self.checkout, self.env)

    def copies(self, name: str) -> None:
        """A file of docs/, beside the checkout's, with this person's values."""
        (self.checkout / name).write_text(filled((DOCS / name).read_text(), self.values))

    def pulls(self, other: Colleague) -> None:
        """`git pull` of what the other has committed: the stack's file."""
        shutil.copy(other.stack_file, self.stack_file)

    def sets(self, key: str, value: object) -> None:
        """Edit the stack's file: a key at its top, without the namespace."""
        document = yaml.safe_load(self.stack_file.read_text())
        document["config"][f"gitlab-geo-registry:{key}"] = value
        self.stack_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def hides(self, key: str, file: Path) -> None:
        """A setting of the stack from a file, encrypted."""
        code, said = self._run(
            f"pulumi config set --secret --path gitlab-geo-registry:{key}", file.read_text()
        )
        assert code == 0, said

    def exported(self) -> dict[str, Any]:
        """The stack's resources by URN with their inputs and outputs, decrypted; times of reading left out."""
        code, said = self._run("pulumi stack export --show-secrets --stack prod", "")
        assert code == 0, said
        found = json.loads(said)["deployment"]["resources"]
        return {one["urn"]: (one.get("inputs"), one.get("outputs")) for one in found}

    def _line(self, command: str) -> str:
        assert command in commands(PAGE), f"docs/{PAGE} does not say: {command}"
        return filled(command, self.values)

    def _run(self, line: str, answer: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.checkout,
            env=self.env,
            input=answer,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=180,
        )
        return done.returncode, done.stdout


class Started:
    """A command that runs: `end` waits for it, `kill` ends it and all that it started, at once."""

    def __init__(self, line: str, cwd: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def end(self) -> str:
        """All it said; it must succeed."""
        said, _ = self._process.communicate(timeout=180)
        assert self._process.returncode == 0, said
        return said

    def kill(self) -> None:
        """As when the machine is lost. Plugins have process groups of their own; the session is one."""
        while members := list(self._alive()):
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            self._process.poll()  # or it would be counted as alive
        self._process.communicate()

    def _alive(self) -> Iterator[int]:
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(ProcessLookupError, FileNotFoundError):
                # Fields of stat behind the name, which may have blanks: state, parent, group, session.
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    yield int(entry.name)


def make_bucket(admin: Colleague) -> None:
    """The bucket, as the page has it."""
    for name in ("state-bucket-policy.json", "state-bucket-lifecycle.json"):
        admin.copies(name)
    first = commands(PAGE).index(
        "aws s3api create-bucket --region REGION --bucket STATE-BUCKET --create-bucket-configuration LocationConstraint=REGION"
    )
    for command in commands(PAGE)[first : first + 5]:
        admin.types(command)


def checkpoint(lab: Lab) -> dict[str, Any]:
    """The state as it lies in the bucket."""
    found: dict[str, Any] = json.loads(lab.s3().get_object(Bucket=BUCKET, Key=STACK)["Body"].read())
    return found["checkpoint"].get("latest") or {}


def pending(lab: Lab) -> list[str]:
    """What the state says was cut off: "creating acme-gitlab-registry-bucket"."""
    found = checkpoint(lab).get("pending_operations") or []
    return sorted(f"{one['type']} {one['resource']['urn'].rpartition('::')[2]}" for one in found)


def locks(lab: Lab) -> int:
    """How many locks lie in the bucket."""
    return int(lab.s3().list_objects_v2(Bucket=BUCKET, Prefix=".pulumi/locks/")["KeyCount"])


@contextmanager
def held(lab: Lab, *hosts: Host) -> Iterator[Callable[[], None]]:
    """Reconfigures of these hosts begin, and go no further before what this gives is called, or this ends."""
    for host in hosts:
        if not host.exists(f"{GITLAB_CTL}.real"):
            host.write(f"{GITLAB_CTL}.real", host.read(GITLAB_CTL), mode=0o755)
            wait = f'#!/bin/sh\nwhile [ -e /root/held ]; do sleep 0.1; done\nexec {GITLAB_CTL}.real "$@"\n'
            host.write(GITLAB_CTL, wait.encode(), mode=0o755)
        host.write("/root/held", b"")

    def release() -> None:
        for host in hosts:
            host.run("rm -f /root/held")

    try:
        yield release
    finally:
        release()
        lab.wait(lambda: not any(applying(host) for host in hosts), 60, "the nodes' own end")


def begun(lab: Lab, *hosts: Host) -> None:
    """Wait until each of them has begun to reconfigure."""
    for host in hosts:
        lab.wait(lambda host=host: reconfiguring(host), 120, f"{host.name}'s reconfigure")  # type: ignore[misc]


def reconfiguring(host: Host) -> bool:
    return any("gitlab-ctl reconfigure" in process for process in host.processes())


def applying(host: Host) -> bool:
    """Our program runs on it, the reconfigure and what comes before and after it."""
    return any("ruby - apply" in process for process in host.processes())
