"""Runs the administrator's steps on created sites: the stack's output `next_steps`, exactly as written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess

from lab.api import Lab

PASSWORD = "chosen-by-the-administrator"
# A task of Rails, which the lab's GitLab does not have.
NOT_HERE = "gitlab-rake"


def follow(lab: Lab, stack: str) -> int:
    """Run each step as a person would, with passwords filled in; returns the count. RuntimeError names a
    failed step.
    """
    steps = json.loads(lab.pulumi("stack", "output", "next_steps", "--json", stack=stack).stdout)
    followed = [step for step in steps if step["run"] and NOT_HERE not in step["run"]]
    for step in followed:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {_filled_in(step['run'])}"],
            cwd=lab.dir / "project",
            env={**os.environ, "PULUMI_STACK": stack},
            input=_answers(step["run"]),
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{step['what']}\n{step['run']}\n{done.stdout}{done.stderr}")
    return len(followed)


def _filled_in(command: str) -> str:
    for user in ("gitlab_replicator", "gitlab"):
        hashed = hashlib.md5(f"{PASSWORD}{user}".encode(), usedforsecurity=False).hexdigest()
        command = command.replace(f"HASH OF {user}'", f"{hashed}'")
    # There is no terminal here.
    return command.replace("PASSWORD OF gitlab", PASSWORD).replace(" -t ", " ")


def _answers(command: str) -> str:
    if "pg-password-md5" in command:
        return f"{PASSWORD}\n" * 4
    return f"replicate\n{PASSWORD}\n" if "replicate-geo-database" in command else ""
