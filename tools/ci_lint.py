"""The CI files, checked as both forges would: their published schemas, and actionlint for GitHub's.

GitLab's schema is the one that its own editor uses; both come with check-jsonschema (pyproject.toml).
actionlint is a Go program that no Python package holds (PyPI's would fetch it from its releases): the one on
PATH is used, or it is built once, ten seconds, into the user's cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.engine import cache_dir

ROOT = Path(__file__).resolve().parent.parent
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
GITLAB, GITHUB = Path(".gitlab-ci.yml"), Path(".github/workflows/preview.yml")
GITHUB_STATUS = GITHUB.with_name("status.yml")


def commands() -> list[list[str]]:
    """What there is to run; without actionlint where it is neither there nor can be built."""
    schema = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema"]
    found = [
        [*schema, "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(GITLAB)],
        [*schema, "vendor.github-workflows", str(GITHUB), str(GITHUB_STATUS)],
        [*schema, "vendor.dependabot", ".github/dependabot.yml"],
    ]
    program = actionlint()
    return [*found, [program, str(GITHUB), str(GITHUB_STATUS)]] if program else found


def actionlint() -> str | None:
    """The program, or None where there is no Go to build it with."""
    on_path = shutil.which("actionlint")
    if on_path:
        return on_path
    home = cache_dir() / ACTIONLINT.rpartition("/")[2]
    program = home / "actionlint"
    if program.exists():
        return str(program)
    go = shutil.which("go")
    if go is None:
        return None
    # GOFLAGS of the user may say -mod=vendor; GOBIN is written last, so that a cut-off build leaves nothing.
    env = {**os.environ, "GOBIN": str(home), "GOFLAGS": ""}
    built = subprocess.run(
        [go, "install", ACTIONLINT],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if built.returncode:
        print(f"actionlint could not be built: {built.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return str(program)


def main() -> int:
    """Returns the exit status: that of the first check that fails."""
    for command in commands():
        status = subprocess.run(command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
