"""The lab's providers: the real Pulumi plugins if they are installed, else stand-ins for them.

A stand-in is a Python program that speaks the real provider protocol to the real engine.  It needs no change
to the committed program and its Pulumi.yaml: the engine finds it where it looks for plugins.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.virtualenv import pinned

_MODULES = {"command": "lab.providers.command_plugin", "aws": "lab.providers.aws.__main__"}
"""Provider name (its package is pulumi_<name>) -> the stand-in's module, which has main and servicer."""
_MARK = b"A stand-in of the lab."
_CHECKOUT = Path(__file__).resolve().parents[2]


def install(pulumi_home: Path) -> list[str]:
    """Install each provider's plugin for an engine with this PULUMI_HOME.

    The version is that of the installed Python package, which the engine requests exactly.  Returns a line to
    print for each.
    """
    return [_install(pulumi_home / "plugins", name, module) for name, module in _MODULES.items()]


def real_plugin(name: str, version: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of an installed real plugin of this version, if any.

    Looked for in $PULUMI_REAL_PLUGINS, $PULUMI_HOME/plugins and ~/.pulumi/plugins.
    """
    default = Path(environ.get("HOME") or Path.home()) / ".pulumi"
    homes = [Path(environ.get("PULUMI_HOME") or default), default]
    folders = [environ.get("PULUMI_REAL_PLUGINS"), *(home / "plugins" for home in homes)]
    places = [Path(folder) / f"resource-{name}-v{version}" for folder in folders if folder]
    return next((place for place in places if _is_real(place, name)), None)


def describe_plugins(root: Path = _CHECKOUT, environ: Mapping[str, str] = os.environ) -> str:
    """One line that says which provider plugins the lab will use."""
    parts = []
    for name in _MODULES:
        version = pinned(root, f"pulumi-{name}")
        origin = "installed" if real_plugin(name, version, environ) else "the lab's stand-in"
        parts.append(f"{name} {version} ({origin})")
    return ", ".join(parts)


def _install(plugins: Path, name: str, module: str) -> str:
    import importlib.metadata  # not in the stand-ins themselves, which must also start fast

    version = importlib.metadata.version(f"pulumi_{name}")
    place = plugins / f"resource-{name}-v{version}"
    executable = place / f"pulumi-resource-{name}"
    if _is_real(place, name) and not executable.is_symlink():
        # Never change a real plugin that is already installed.
        return f"provider {name} {version}: the real plugin ({place})"
    real = real_plugin(name, version)
    _empty(place)
    if real:
        # Its content is linked, not the folder: the engine ignores a folder that is a link.
        for entry in real.iterdir():
            (place / entry.name).symlink_to(entry.absolute())
        return f"provider {name} {version}: the real plugin ({real})"
    executable.write_text(_shim(module))
    executable.chmod(0o755)
    return f"provider {name} {version}: the lab's stand-in (no real plugin on this machine)"


def _is_real(place: Path, name: str) -> bool:
    executable = place / f"pulumi-resource-{name}"
    # The lock file of an incomplete plugin, which makes the engine ignore it.
    unfinished = place.with_name(f"{place.name}.partial").exists()
    return executable.is_file() and not unfinished and _MARK not in executable.read_bytes()[:1000]


def _empty(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)


def _shim(module: str) -> str:
    # Isolated (-I), because the engine starts plugins in the program's directory and with the user's PYTHON*
    # settings: neither must affect the stand-in's imports.
    start = (
        f"import sys; sys.path.insert(0, {str(_CHECKOUT)!r}); "
        f"from {module} import main, servicer; main(servicer())"
    )
    return (
        f'#!/bin/sh\n# {_MARK.decode()}\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(start)} "$@"\n'
    )
