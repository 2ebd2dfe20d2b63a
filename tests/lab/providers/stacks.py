"""A Pulumi project of a test: the real engine, the stand-ins as its plugins, a state of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.providers import install
from tools import engine
from tools.progress import SetupError

PASSPHRASE = "passphrase-of-a-test"


def engine_folder() -> Path:
    """Where the engine is; without one the test is skipped."""
    try:
        folder = engine.bin_dir()
    except SetupError as missing:
        pytest.skip(str(missing))
    if shutil.which("pulumi-language-python", path=str(folder)) is None:
        pytest.skip(f"no Python language host beside the engine in {folder}")
    return folder


class Stack:
    """A project in a folder of its own, with its own PULUMI_HOME and state."""

    def __init__(self, folder: Path, program: str, **environment: str) -> None:
        self.folder = folder / "project"
        for made in (self.folder, folder / "state"):
            made.mkdir()
        install(folder / "pulumi")
        (self.folder / "Pulumi.yaml").write_text("name: stand-ins\nruntime: python\n")
        (self.folder / "__main__.py").write_text(program)
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{engine_folder()}:{os.environ['PATH']}",
            "PULUMI_HOME": str(folder / "pulumi"),
            "PULUMI_BACKEND_URL": f"file://{folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",  # the language host asks `pip list`, and that the network
            **environment,
        }
        self.run("stack", "init", "dev")

    def run(self, *arguments: str, check: bool = True) -> str:
        command = ["pulumi", *arguments, "--non-interactive"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def up(self, *options: str, check: bool = True) -> str:
        return self.run("up", "--yes", "--skip-preview", "--suppress-progress", *options, check=check)

    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets"))
        return outputs

    def state(self) -> str:
        return self.run("stack", "export")
