"""Labs with other sites than the default ones, each inside this one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from lab.gitlab_registry import VARIABLE

ROOT = Path(__file__).resolve().parents[2]


def inside(lab_dir: Path, sites: str, script: str) -> str:
    """Run a Python script in a lab with these sites; its output. `lab` and `ssh` are there."""
    prelude = """
        import subprocess
        from lab.api import Lab
        lab = Lab.current()
        def ssh(*arguments):
            command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            return done.stdout or done.stderr
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(script)
    command = ["-m", "lab", "run", "--quiet", "--here", "--sites", sites, "--", sys.executable, "-c", source]
    env = {name: os.environ[name] for name in ("PATH", "HOME", VARIABLE) if name in os.environ}
    env["LAB_DIR"] = str(lab_dir)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
