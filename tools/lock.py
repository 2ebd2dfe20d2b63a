"""`make lock`: constraints.txt and requirements.txt, from the direct dependencies in pyproject.toml.

Standard library only: `.venv` may not be installable before this has run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.progress import SetupError, fail, locked, run, say
from tools.virtualenv import LOCK, SOURCE, ensure

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("dev", "storage", "benchmarks", "lock")
OPTIONS = (
    # one version of each package, for all Pythons and systems
    *("--universal", "--python-version=3.11", "--fork-strategy=fewest"),
    # no address of a package index: everyone has their own
    *("--no-emit-index-url", "--no-emit-find-links"),
    "--custom-compile-command=make lock",
)


def main(*upgrade: str) -> int:
    """Returns the exit status. Versions stay as they are where they can, unless `upgrade` is "--upgrade"."""
    log = ROOT / ".lab" / "lock.log"
    try:
        with locked(ROOT / ".lab" / "setup.lock", "this checkout"):
            python = ensure(ROOT, ".lab/uv", ["lock"], "uv, which writes the lock", log)
            uv: list[str | Path] = [python.with_name("uv"), "pip", "compile", *OPTIONS, SOURCE]
            groups = [f"--group={group}" for group in GROUPS]
            run([*uv, f"--output-file={LOCK}", *groups, *upgrade], log=log, cwd=ROOT)
            part = [f"--constraint={LOCK}", "--no-annotate", "--output-file=requirements.txt"]
            run([*uv, *part], log=log, cwd=ROOT)
    except SetupError as error:
        return fail(str(error))
    say(f"{LOCK} and requirements.txt follow {SOURCE}. Review the difference, then run `make test`.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
