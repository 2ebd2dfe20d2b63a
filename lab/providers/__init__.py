"""The providers of the lab: the real pulumi plugins where there are any, else stand-ins for them.

A stand-in is a Python program that speaks the real provider protocol to the real engine.  The committed
program and its Pulumi.yaml know nothing of it: the engine finds it where it looks for plugins.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import sys
from pathlib import Path

_MODULES = {"command": "lab.providers.command", "aws": "lab.providers.aws.__main__"}
"""Provider name (its package is pulumi_<name>) -> the stand-in's module, which has main and servicer."""
_CHECKOUT = Path(__file__).resolve().parents[2]


def install(pulumi_home: Path) -> list[str]:
    """Put each provider's plugin where an engine with this PULUMI_HOME finds it.

    The version is that of the installed Python package, for the engine asks for exactly that.  A real plugin
    is taken from $PULUMI_REAL_PLUGINS or ~/.pulumi/plugins.  Returns a line for the screen for each.
    """
    return [_install(pulumi_home / "plugins", name, module) for name, module in _MODULES.items()]


def _install(plugins: Path, name: str, module: str) -> str:
    version = importlib.metadata.version(f"pulumi_{name}")
    place = plugins / f"resource-{name}-v{version}"
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    plugins.mkdir(parents=True, exist_ok=True)
    if real := _real_plugin(place.name, f"pulumi-resource-{name}"):
        if real != place:
            place.symlink_to(real, target_is_directory=True)
        return f"provider {name} {version}: the real plugin ({real})"
    place.mkdir()
    shim = place / f"pulumi-resource-{name}"
    shim.write_text(_shim(module))
    shim.chmod(0o755)
    return f"provider {name} {version}: the lab's stand-in (no real plugin on this machine)"


def _real_plugin(directory: str, executable: str) -> Path | None:
    places = [Path.home() / ".pulumi" / "plugins"]
    if given := os.environ.get("PULUMI_REAL_PLUGINS"):
        places.insert(0, Path(given))
    return next((place / directory for place in places if (place / directory / executable).is_file()), None)


def _shim(module: str) -> str:
    # Isolated (-I), for the engine starts plugins in the program's directory and with the user's PYTHON*
    # settings: neither may get between the stand-in and its modules.
    start = (
        f"import sys; sys.path.insert(0, {str(_CHECKOUT)!r}); "
        f"from {module} import main, servicer; main(servicer())"
    )
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(start)} "$@"\n'
