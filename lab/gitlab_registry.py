"""GitLab's own registry, if available: GITLAB_REGISTRY is the path of its binary, the lab's hosts run it.

Standard library only: setup prints which registry is used, and runs before `.venv` exists.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import debian
from tools.progress import SetupError

VARIABLE = debian.VARIABLE
EXAMPLE = "/opt/gitlab/embedded/bin/registry"
VERSIONS = Path(__file__).with_name("omnibus") / "embedded/lib/registry_versions.json"
"""{"18.11.0": "4.39.0"}: the first GitLab version whose Linux package contains each registry version."""
PACKAGE_VERSION = Path(__file__).with_name("omnibus") / "embedded/service/gitlab-rails/VERSION"
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
SECONDS = 30

GITLABS = re.compile(r"github\.com/docker/distribution v?((\d+)\.\d+\.\d+)(-gitlab)?")
OLDEST = 3
"""The first major version of GitLab's own; Distribution 2.x reports the same name."""


@dataclass(frozen=True)
class GitLabRegistry:
    """A registry by GitLab: `version` is the registry's, "4.39.0"."""

    path: Path
    version: str

    @property
    def gitlab_version(self) -> str:
        """The first GitLab with this registry, "18.11.0"; if no package contains it, the one before."""
        rows = json.loads(VERSIONS.read_text())
        same = [gitlab for gitlab, registry in rows.items() if _minor(registry) == _minor(self.version)]
        older = [gitlab for gitlab, registry in rows.items() if _minor(registry) < _minor(self.version)]
        return same[0] if same else older[-1] if older else str(next(iter(rows)))

    def __str__(self) -> str:
        return f"GitLab's own {self.version} ({self.path}), of GitLab {_short(self.gitlab_version)}"


STAND_IN = "Debian's docker-registry, which the lab makes fail as GitLab's does"


def chosen(environ: Mapping[str, str] = os.environ) -> GitLabRegistry | None:
    """The registry named in the environment; None without one. SetupError if it is not a registry."""
    path = environ.get(VARIABLE, "")
    return look(Path(path).expanduser()) if path else None


def look(path: Path) -> GitLabRegistry:
    """The registry at this path. SetupError says what the path is instead, and what to do."""
    path = path.absolute()
    if not path.exists():
        raise _refusal(path, "there is no such file")
    if not path.is_file() or not os.access(path, os.X_OK):
        raise _refusal(path, "you cannot execute this file")
    try:
        done = subprocess.run(
            [path, "--version"],
            env=CLEAN,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except OSError as error:
        raise _refusal(path, f"it does not run on this machine: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise _refusal(path, f"`--version` did not end within {SECONDS} s") from error
    said = done.stdout.strip().splitlines()
    found = next(filter(None, map(GITLABS.search, said)), None)
    if found and (found[3] or int(found[2]) >= OLDEST):
        return GitLabRegistry(path, found[1])
    answer = said[-1] if said else f"nothing (exit status {done.returncode})"
    if re.search(r"distribution/(distribution|registry)|docker/distribution", answer):
        raise _refusal(path, f"this is Distribution and not GitLab's registry: {answer}")
    raise _refusal(path, f"this is not a registry: `--version` says {answer}")


def gitlab_version(registry: GitLabRegistry | None) -> str:
    """The GitLab version of the lab's hosts, unless they are upgraded."""
    return registry.gitlab_version if registry else PACKAGE_VERSION.read_text().strip().partition("-")[0]


def in_stack(text: str, version: str) -> str:
    """A committed stack's text with this GitLab version; with a patch version if the stack has one."""

    def stated(line: re.Match[str]) -> str:
        patch = line[2].count(".") > 1
        return f'{line[1]}"{_short(version) + (".1" if patch else "")}"'

    return re.sub(r'(?m)^(\s*gitlab-geo-registry:gitlab_version: )"([\d.]+)"', stated, text)


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _refusal(path: Path, why: str) -> SetupError:
    return SetupError(
        f"{VARIABLE}={path}: {why}. Set it to the path of GitLab's registry, in the Linux package "
        f"{EXAMPLE}; without {VARIABLE} the lab uses Debian's registry."
    )
