"""The Pulumi side of the workstation: environment, project directory, stacks; the checkout stays clean."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lab import gitlab_registry, providers
from lab.host import RUN, CommandFailed
from lab.services import AWS_ENDPOINT, Credentials
from tools import engine
from tools.progress import SetupError

CHECKOUT = Path(__file__).resolve().parent.parent
LINKED = ("__main__.py", "config", "plan", "omnibus", "hosts", "components", "operations", "requirements.txt")
AGENT = RUN / "agent.sock"
TMP = RUN / "tmp"
"""The lab's own folder for temporary files. Its name is short and without spaces, unlike the checkout's may
be, because sockets and configuration files contain it.
"""
KEPT = (
    *("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "LANG", "TZ", "CI", "PYTEST_ADDOPTS"),
    gitlab_registry.VARIABLE,
)
"""The variables of the caller's environment that the command gets. Others could lead out of the lab: proxies,
AWS profiles."""


def engine_path() -> list[str]:
    """The directory of the Pulumi engine, for PATH; empty before setup: the hosts do not need it."""
    try:
        return [str(engine.bin_dir())]
    except SetupError:
        return []


def environment(
    lab_dir: Path, aws: Credentials, engine_dirs: list[str], outer: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the command that runs in the lab."""
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    kept = {name: value for name, value in outer.items() if name in KEPT or name.startswith(("LC_", "LAB_"))}
    bundle = str(lab_dir / "ca/ca-certificates.crt")
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *engine_dirs, system]),
        "HOME": str(lab_dir / "home"),
        # Not /tmp: the lab's root, which is the calling user, would find files of the machine's root there.
        "TMPDIR": str(TMP),
        "USER": "root",
        "SHELL": "/bin/bash",
        "LAB_DIR": str(lab_dir),
        "SSH_AUTH_SOCK": str(AGENT),
        "SSL_CERT_FILE": bundle,
        "AWS_ENDPOINT_URL": AWS_ENDPOINT,
        "AWS_ACCESS_KEY_ID": aws.access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws.secret_access_key,
        "AWS_REGION": "eu-west-1",
        "PULUMI_HOME": str(lab_dir / "pulumi"),
        "PULUMI_BACKEND_URL": f"file://{lab_dir / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "lab",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
    }


def make(lab_dir: Path, version: str) -> None:
    """The project directory: the program as links, its stacks as copies, because `pulumi stack init` writes
    to them.

    `version` is that of GitLab on the hosts: it is set in the stacks, as their administrators would.
    """
    project = lab_dir / "project"
    project.mkdir()
    (lab_dir / "state").mkdir()
    for name in LINKED:
        if (CHECKOUT / name).exists():
            (project / name).symlink_to(CHECKOUT / name)
    (project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    for file in sorted(CHECKOUT.glob("Pulumi*.yaml")):
        (project / file.name).write_text(gitlab_registry.in_stack(file.read_text(), version))


def install_providers(lab_dir: Path) -> list[str]:
    """Fill PULUMI_HOME and return a line per provider to print."""
    home = lab_dir / "pulumi"
    home.mkdir(exist_ok=True)
    return providers.install(home)


def init_stacks(lab_dir: Path, env: Mapping[str, str]) -> list[str]:
    """`pulumi stack init` for each Pulumi.STACK.yaml, and select `dev`; returns the names of the stacks."""
    project = lab_dir / "project"
    stacks = [file.name.split(".")[1] for file in sorted(project.glob("Pulumi.*.yaml"))]
    if not (project / "Pulumi.yaml").exists() or shutil.which("pulumi", path=env["PATH"]) is None:
        return []
    for stack in stacks:
        pulumi(lab_dir, env, "stack", "init", stack, "--no-select")
    if "dev" in stacks:
        pulumi(lab_dir, env, "stack", "select", "dev")
    return stacks


def pulumi(
    lab_dir: Path, env: Mapping[str, str], *arguments: str, check: bool = True, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run the Pulumi CLI in the project directory; CommandFailed shows its output."""
    command = ["pulumi", *arguments, "--non-interactive"]
    done = subprocess.run(
        command,
        check=False,
        cwd=lab_dir / "project",
        env=env,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )
    if check and done.returncode:
        raise CommandFailed(done.returncode, command, done.stdout, done.stderr)
    return done
