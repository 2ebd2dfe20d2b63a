"""The providers of the lab: the real pulumi plugins where there are any, else stand-ins for them.

A stand-in is a Python program that speaks the real provider protocol to the real engine.  The committed
program and its Pulumi.yaml know nothing of it: the engine finds it where it looks for plugins.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

_MODULES = {"command": "lab.providers.command_plugin", "aws": "lab.providers.aws.__main__"}
"""Provider name (its package is pulumi_<name>) -> the stand-in's module, which has main and servicer."""
_MARK = b"A stand-in of the lab."
_CHECKOUT = Path(__file__).resolve().parents[2]


def install(pulumi_home: Path) -> list[str]:
    """Put each provider's plugin where an engine with this PULUMI_HOME finds it.

    The version is that of the installed Python package, for the engine asks for exactly that.  A real plugin
    is taken from $PULUMI_REAL_PLUGINS or ~/.pulumi/plugins.  Returns a line for the screen for each.
    """
    return [_install(pulumi_home / "plugins", name, module) for name, module in _MODULES.items()]


def _install(plugins: Path, name: str, module: str) -> str:
    import importlib.metadata  # not in the stand-ins themselves, which are to start fast as well

    version = importlib.metadata.version(f"pulumi_{name}")
    place, executable = plugins / f"resource-{name}-v{version}", f"pulumi-resource-{name}"
    real = next((folder for folder in _folders(place) if _is_real(folder / executable)), None)
    if real != place:  # never touch a real plugin that is in place already
        _clear(place)
        if real:
            place.symlink_to(real, target_is_directory=True)
    if real:
        return f"provider {name} {version}: the real plugin ({real})"
    place.mkdir(parents=True)
    (place / executable).write_text(_shim(module))
    (place / executable).chmod(0o755)
    return f"provider {name} {version}: the lab's stand-in (no real plugin on this machine)"


def _folders(place: Path) -> list[Path]:
    """Where a real plugin may be, the wanted place first unless that is only a link to another."""
    homes = [os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi", Path.home() / ".pulumi"]
    known = [os.environ.get("PULUMI_REAL_PLUGINS"), *(Path(home) / "plugins" for home in homes)]
    return [place] * (not place.is_symlink()) + [Path(folder) / place.name for folder in known if folder]


def _is_real(executable: Path) -> bool:
    return executable.is_file() and _MARK not in executable.read_bytes()[:1000]


def _clear(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)


def _shim(module: str) -> str:
    # Isolated (-I), for the engine starts plugins in the program's directory and with the user's PYTHON*
    # settings: neither may get between the stand-in and its modules.
    start = (
        f"import sys; sys.path.insert(0, {str(_CHECKOUT)!r}); "
        f"from {module} import main, servicer; main(servicer())"
    )
    return (
        f'#!/bin/sh\n# {_MARK.decode()}\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(start)} "$@"\n'
    )
