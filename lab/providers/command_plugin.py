"""pulumi-resource-command: the stand-in as a process. The real one, in Go, starts instantly."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.providers.servicer import Servicer


def main(servicer: Servicer) -> None:
    """Load paramiko while the engine is still starting, not when a session waits for it."""
    from lab.providers import plugin

    plugin.main(servicer, meanwhile=lambda: importlib.import_module("lab.providers.session"))


def servicer() -> Servicer:
    """Must run before any import of `pulumi`."""
    _protocol_only()
    from lab.providers import command

    return command.servicer()


def _protocol_only() -> None:
    """The SDK's generated protocol without the SDK: its packages exist, but their code does not run."""
    folder = next(place for entry in sys.path if (place := Path(entry) / "pulumi").is_dir())
    for name, place in {"pulumi": folder, "pulumi.runtime": folder / "runtime"}.items():
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package
