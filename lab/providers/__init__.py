"""The providers of the lab: the real pulumi plugins where there are any, else stand-ins for them.

A stand-in is a Python program that speaks the real provider protocol to the real engine.  The committed
program and its Pulumi.yaml know nothing of it: the engine finds it where it looks for plugins.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_MODULES = {"command": "lab.providers.command_plugin", "aws": "lab.providers.aws.__main__"}
"""Provider name (its package is pulumi_<name>) -> the stand-in's module, which has main and servicer."""
_MARK = b"A stand-in of the lab."
_CHECKOUT = Path(__file__).resolve().parents[2]


def install(pulumi_home: Path) -> list[str]:
    """Put each provider's plugin where an engine with this PULUMI_HOME finds it.

    The version is that of the installed Python package, for the engine asks for exactly that.  Returns a line
    for the screen for each.
    """
    return [_install(pulumi_home / "plugins", name, module) for name, module in _MODULES.items()]


def real_plugin(name: str, version: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of a real plugin of this version that the user has, if any.

    Looked for in $PULUMI_REAL_PLUGINS, $PULUMI_HOME/plugins and ~/.pulumi/plugins.
    """
    default = Path(environ.get("HOME") or Path.home()) / ".pulumi"
    homes = [Path(environ.get("PULUMI_HOME") or default), default]
    folders = [environ.get("PULUMI_REAL_PLUGINS"), *(home / "plugins" for home in homes)]
    places = [Path(folder) / f"resource-{name}-v{version}" for folder in folders if folder]
    return next((place for place in places if _is_real(place, name)), None)


def _install(plugins: Path, name: str, module: str) -> str:
    import importlib.metadata  # not in the stand-ins themselves, which are to start fast as well

    version = importlib.metadata.version(f"pulumi_{name}")
    place = plugins / f"resource-{name}-v{version}"
    executable = place / f"pulumi-resource-{name}"
    if _is_real(place, name) and not executable.is_symlink():
        # Never touch a real plugin that is in place already.
        return f"provider {name} {version}: the real plugin ({place})"
    real = real_plugin(name, version)
    _empty(place)
    if real:
        # Its content is linked and not the folder: the engine passes over a folder that is a link.
        for entry in real.iterdir():
            (place / entry.name).symlink_to(entry.absolute())
        return f"provider {name} {version}: the real plugin ({real})"
    executable.write_text(_shim(module))
    executable.chmod(0o755)
    return f"provider {name} {version}: the lab's stand-in (no real plugin on this machine)"


def _is_real(place: Path, name: str) -> bool:
    executable = place / f"pulumi-resource-{name}"
    # Beside a plugin that is not whole yet; the engine passes over it, too.
    unfinished = place.with_name(f"{place.name}.partial").exists()
    return executable.is_file() and not unfinished and _MARK not in executable.read_bytes()[:1000]


def _empty(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)


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
