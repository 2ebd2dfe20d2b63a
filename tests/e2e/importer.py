"""`make import-registry`, as a person types it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.databases import Database
from tests.e2e.stack import Stack

CHECKOUT = Path(__file__).parents[2]


def command(stack: Stack, site: str, *options: str) -> list[str]:
    """As `make import-registry` runs it."""
    project = str(stack.lab.dir / "project")
    named = ["--stack", stack.name, "--site", site, "--project", project]
    return [sys.executable, "-m", "tools.interruptible", "operations.import_registry", *named, *options]


def run(stack: Stack, site: str, *options: str, status: int = 0) -> str:
    """What it prints; its exit status must be `status`."""
    return ends(command(stack, site, *options), status)


def types(stack: Stack, line: str, status: int = 0) -> str:
    """A command of the page, for this stack."""
    make = ["make", "-o", "setup", f"PROJECT={stack.lab.dir / 'project'}"]
    return ends([*make, *line.replace("STACK=prod", f"STACK={stack.name}").split()[1:]], status)


def ends(words: list[str], status: int, path: str = "") -> str:
    done = subprocess.run(
        words,
        cwd=CHECKOUT,
        env=os.environ | ({"PATH": path} if path else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    return said


def without_up(directory: Path) -> str:
    """A PATH whose `pulumi up` fails before it has begun."""
    script = directory / "pulumi"
    script.write_text(f'#!/bin/sh\n[ "$1" = up ] && exit 1\nexec {shutil.which("pulumi")} "$@"\n')
    script.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def name_database(stack: Stack, server: Database) -> None:
    def change(config: dict[str, Any]) -> None:
        config["sites"][server.site]["metadata_database"] = {"host": server.host}

    stack.configure(change)
    key = f"sites.{server.site}.metadata_database.password"
    stack.lab.pulumi("config", "set", "--secret", "--path", key, server.password, stack=stack.name)
