"""Ansible in a venv of its own below .lab/, made anew when its requirements change."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from lab.progress import locked, run, step

HERE = Path(__file__).parent
FILES = ("requirements.txt", "constraints.txt")


def ensure(root: Path) -> Path:
    """The venv's directory. Raises SetupError with pip's words when it cannot be made."""
    lab = root / ".lab"
    venv, stamp = lab / "ansible", lab / "ansible/stamp"
    digest = hashlib.sha256(f"{sys.version_info[:2]} {root}".encode())
    for name in FILES:
        digest.update((HERE / name).read_bytes())
    with locked(lab / "ansible.lock", "Ansible"):
        if not stamp.exists() or stamp.read_text() != digest.hexdigest():
            with step("Ansible into a venv of its own"):
                base = getattr(sys, "_base_executable", sys.executable)
                run([base, "-m", "venv", "--clear", venv], log=lab / "ansible.log")
                install = ["install", "--disable-pip-version-check", "--no-input"]
                pip: list[str | Path] = [venv / "bin/python", "-m", "pip", *install]
                run([*pip, "--requirement", HERE / "requirements.txt"], log=lab / "ansible.log")
                stamp.write_text(digest.hexdigest())
    return venv
