"""`pulumi new` from this checkout, with the real engine. Only pip is a stand-in: it would need the network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tools import engine

ROOT = Path(__file__).resolve().parents[2]
PROJECT = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
PYTHON = """#!/bin/sh
case "$*" in
  *venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *list*) echo '[]' ;;
  *--version*) echo 'Python 3.11.0' ;;
esac
"""

pytestmark = [
    pytest.mark.unit,
    # `pulumi new` takes the section out of the project that it makes, and leaves this tag there.
    pytest.mark.skipif("pulumi:tags" in PROJECT["config"], reason="this project was made from the template"),
]


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The project that `pulumi new` makes of the checkout's YAML files, with the stack `prod`."""
    for folder in ("template", "bin", "state", "project"):
        (tmp_path / folder).mkdir()
    for file in ROOT.glob("*.yaml"):
        shutil.copy(file, tmp_path / "template")
    for name in ("python", "python3"):
        (tmp_path / "bin" / name).write_text(PYTHON)
        (tmp_path / "bin" / name).chmod(0o755)
    env = {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(tmp_path / "bin"), str(engine.bin_dir()), os.environ["PATH"]]),
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    command = ["pulumi", "new", str(tmp_path / "template"), "--yes", "--non-interactive", "--stack", "prod"]
    done = subprocess.run(
        command, cwd=tmp_path / "project", env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "docs/your-own-sites.md" in done.stdout, "the quickstart is in the output"
    return tmp_path / "project"


def test_a_new_project_is_like_the_checkout_less_the_template(new: Path) -> None:
    """Its name stays, which the example stacks' keys begin with; so do the keys that the program knows."""
    made = yaml.safe_load((new / "Pulumi.yaml").read_text())
    assert made.pop("config").keys() - {"pulumi:tags"} == PROJECT["config"].keys()
    assert made == {key: value for key, value in PROJECT.items() if key not in ("config", "template")}
    assert (new / "Pulumi.existing.yaml").read_text() == (ROOT / "Pulumi.existing.yaml").read_text()


def test_pulumi_new_asks_for_strings_of_the_top_level_only(new: Path) -> None:
    """It saves each answer as a string. `--yes` takes the default; without one the key is asked for or left out."""
    asked = PROJECT["template"]["config"]
    assert [PROJECT["config"][key]["type"] for key in asked] == ["string"] * 2
    saved = yaml.safe_load((new / "Pulumi.prod.yaml").read_text())["config"]
    assert saved == {"gitlab-geo-registry:primary": asked["primary"]["default"]}
