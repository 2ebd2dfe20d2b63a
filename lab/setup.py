"""`make setup`: everything that the program's demo and tests need on a bare machine.

Checks first, changes afterwards; each part is skipped if it is already done, and an interrupted run continues
where it stopped. Standard library only: this runs before `.venv` exists.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

PYTHON_MINIMUM = (3, 11)


def python_problem(
    version: tuple[int, ...] = tuple(sys.version_info[:3]), program: str = sys.executable
) -> str:
    """One line for a Python that is too old, else ""."""
    if version >= PYTHON_MINIMUM:
        return ""
    found = ".".join(map(str, version))
    return f"Python 3.11 or newer is needed; {program} is {found}. Use another one: make PYTHON=python3.12 …"


def main() -> int:
    """Returns the exit status: 0, 1 for a problem that has been explained, 130 after an interrupt."""
    problem = python_problem()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    # Imported here: these modules need features that older Pythons lack.
    from tools.progress import SetupError, fail

    signal.signal(signal.SIGTERM, _terminate)
    try:
        _set_up(Path(__file__).resolve().parent.parent)
    except SetupError as error:
        return fail(str(error))
    except OSError as error:
        return fail(
            f"{error.filename or 'A file'}: {error.strerror or error}. This checkout (0.5 GB) and the cache "
            "($XDG_CACHE_HOME or ~/.cache, 0.2 GB) must be writable for you."
        )
    except KeyboardInterrupt:
        fail("Interrupted. Run it again to continue.")
        return 130
    return 0


def _set_up(root: Path) -> None:
    from lab import gitlab_registry, storage_servers
    from lab.providers import describe_plugins
    from tools import debian, engine
    from tools.progress import SetupError, locked, say
    from tools.virtualenv import ensure_venv

    if sys.platform != "linux":
        raise SetupError("The lab's hosts are Linux namespaces: run it on a Linux machine.")
    registry = gitlab_registry.chosen()
    is_root = os.geteuid() == 0
    log = root / ".lab" / "setup.log"
    if is_root:  # a non-root user's namespaces need the package uidmap first
        debian.ensure_namespaces(root=True)
    debian.ensure_packages(log, root=is_root)
    if not is_root:
        debian.ensure_namespaces(root=False)
    with locked(root / ".lab" / "setup.lock", "this checkout"):
        python = ensure_venv(root, log)
        storage_servers.ensure(log)
        chosen = engine.ensure_engine(python, log, root)
    say(f"engine   {chosen}")
    say(f"registry {registry or gitlab_registry.STAND_IN}")
    say(f"plugins  {describe_plugins(root)}")


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # As an exception, so that the current step is undone (packages must not be left half installed).
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
