"""The Pulumi engine: from PATH, from the official installer, or built from Go modules.

What was chosen is recorded in `.venv`, so that `bin_dir` costs nothing.
Standard library only: this runs before `.venv` exists.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import golang
from tools.progress import SetupError, locked, run, say, step

# The newest release whose command line can be built from Go modules. pyproject.toml asks for the SDK of the
# same release, and an older engine on PATH is not used: the two are tested together.
VERSION = "3.259.0"
INSTALLER = "https://get.pulumi.com"
INSTALLER_SECONDS = 5
"""How long to try to reach the installer before building the engine instead."""

ROOT = Path(__file__).resolve().parent.parent
RECORD = ".venv/engine.json"


@dataclass(frozen=True)
class Engine:
    """An engine that is ready: `bin_dir` holds pulumi and pulumi-language-python."""

    bin_dir: str
    version: str
    origin: str

    def __str__(self) -> str:
        return f"Pulumi v{self.version}, {self.origin} ({self.bin_dir})"


def bin_dir(root: Path = ROOT) -> Path:
    """The directory with the engine that setup chose. Raises SetupError if setup has not run."""
    return Path(recorded(root).bin_dir)


def recorded(root: Path = ROOT) -> Engine:
    """The engine that setup chose. Raises SetupError if setup has not run or the engine no longer exists."""
    try:
        engine = Engine(**json.loads((root / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        raise SetupError("There is no Pulumi engine yet: run `make setup`.") from None
    if not (Path(engine.bin_dir) / "pulumi").exists():
        raise SetupError(f"The Pulumi engine is no longer in {engine.bin_dir}: run `make setup`.")
    return engine


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Our directory in the user's cache (XDG Base Directory: a relative XDG_CACHE_HOME is ignored)."""
    xdg = Path(environ.get("XDG_CACHE_HOME", ""))
    base = xdg if xdg.is_absolute() else Path(environ["HOME"]) / ".cache"
    return base / "gitlab-geo-registry"


def ensure_engine(python: Path, log: Path, root: Path = ROOT) -> Engine:
    """Finds or makes an engine and records it; `python` (of .venv) has pip, which may have to bring Go."""
    home = cache_dir() / "engine" / f"v{VERSION}-{platform.machine()}"
    engine = on_path() or cached(home)
    if engine is None:
        with locked(home.parent / "lock", "the Pulumi engine"):
            # Another checkout's setup may have created it while this one waited for the lock.
            engine = cached(home) or _installed(home, log) or _built(home, python, log)
    (root / RECORD).write_text(json.dumps(asdict(engine)))
    return engine


def on_path(environ: Mapping[str, str] = os.environ) -> Engine | None:
    """The engine that the user has, if it is complete and new enough."""
    found = shutil.which("pulumi", path=environ.get("PATH"))
    language = shutil.which("pulumi-language-python", path=environ.get("PATH"))
    if found is None or language is None or Path(found).is_relative_to(cache_dir(environ)):
        return None
    version = version_of(Path(found))
    if not new_enough(version):
        say(f"    pulumi on PATH is v{version}, older than v{VERSION}: another one is used")
        return None
    return Engine(str(Path(found).parent), version, "from PATH")


def version_of(pulumi: Path) -> str:
    """`v3.259.0` → "3.259.0"; "0" if it does not say."""
    # PULUMI_HOME: even this one writes a log there.
    home = str(cache_dir() / "pulumi")
    environ = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": home}
    try:
        asked = subprocess.run(
            [pulumi, "version"], capture_output=True, text=True, check=False, timeout=30, env=environ
        )
    except (OSError, subprocess.TimeoutExpired):
        return "0"
    version = re.match(r"v?(\d+\.\d+\.\d+\S*)", asked.stdout.strip())
    return version[1] if version else "0"


def new_enough(version: str, minimum: str = VERSION) -> bool:
    """Compares the numbers; a pre-release such as 3.259.0-alpha.1 is older than 3.259.0."""
    numbers, _, pre_release = version.partition("-")

    def key(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text.partition("+")[0])]

    return key(numbers) > key(minimum) or (key(numbers) == key(minimum) and not pre_release)


def cached(home: Path) -> Engine | None:
    """The engine that an earlier setup left in `home`; only complete ones are moved there."""
    origin = home / "origin"
    return Engine(str(home / "bin"), VERSION, origin.read_text()) if origin.exists() else None


def _finish(unfinished: Path, home: Path, origin: str) -> Engine:
    version = version_of(unfinished / "bin" / "pulumi")
    if version != VERSION:
        raise SetupError(f"The new engine says that it is v{version} instead of v{VERSION}: {unfinished}")
    (unfinished / "origin").write_text(origin)
    shutil.rmtree(home, ignore_errors=True)
    unfinished.rename(home)
    return Engine(str(home / "bin"), VERSION, origin)


def _installed(home: Path, log: Path) -> Engine | None:
    """By the official installer; None, without a word, where that cannot be reached."""
    limit = str(INSTALLER_SECONDS)
    fetch = ["curl", "--fail", "--silent", "--location", "--connect-timeout", limit, "--max-time", limit]
    script = subprocess.run([*fetch, INSTALLER], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if script.returncode != 0:
        return None
    unfinished = _empty(home.parent / "unfinished")
    work = _empty(home.parent / "installer")
    (work / "install.sh").write_bytes(script.stdout)
    # HOME: older installers know no --install-root, and none may touch the user's own ~/.pulumi.
    environ = {**os.environ, "HOME": str(work), "TMPDIR": str(work)}
    options = ["--version", VERSION, "--install-root", str(unfinished), "--no-edit-path"]
    try:
        with step(f"Pulumi engine v{VERSION}, by the official installer"):
            run(["sh", work / "install.sh", *options], log=log, env=environ, cwd=work)
            return _finish(unfinished, home, "from the official installer")
    except SetupError as error:
        say(f"    the installer did not succeed: {str(error).splitlines()[0]}")
        return None
    finally:
        shutil.rmtree(work)


def _built(home: Path, python: Path, log: Path) -> Engine:
    unfinished = _empty(home.parent / "unfinished")
    with step(f"Pulumi engine v{VERSION}, built from Go modules: about 4 minutes on 2 cores, once"):
        golang.build(VERSION, unfinished / "bin", work=home.parent / "go", python=python, log=log)
        return _finish(unfinished, home, "built from Go modules")


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
