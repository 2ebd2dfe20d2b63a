"""The start of the program, sent to a host over stdin. The other modules follow as strings, so that an older
Python can still report that it is too old. None of it is ever on disk, in argv or in a log.
"""
# ruff: noqa: FA100, UP031 (older Pythons must be able to compile this)

import sys

if sys.version_info < (3, 8):  # noqa: UP036 (that is the check)
    sys.exit(
        "Python 3.8 or later is needed on this host, here is %d.%d; nothing was changed"
        % sys.version_info[:2]
    )

import importlib.abc
import importlib.util
import json
from typing import Any, Dict


class InMemoryImporter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules that were sent. They take precedence over modules of the same name on the host."""

    def __init__(self, sources: Dict[str, str]) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name in self.sources:
            return importlib.util.spec_from_loader(name, self, is_package=self.is_package(name))
        return None

    def is_package(self, name: str) -> bool:
        return "." not in name

    def get_source(self, name: str) -> str:
        return self.sources[name]


def run(modules: Dict[str, str], order: str) -> None:
    """`modules`: the source of each by its name; `order`: the payload as JSON."""
    sys.meta_path.insert(0, InMemoryImporter(modules))
    main = importlib.import_module("registry.main")
    sys.exit(main.run(json.loads(order), sys.argv[1]))
