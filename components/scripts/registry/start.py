"""The first lines that a host is sent, over stdin. All else comes packed behind them, so that an older Python
can still say why it will not do. None of it is ever on disk, in argv or in a log.
"""
# ruff: noqa: FA100, UP031 (what older Pythons take)

import sys

if sys.version_info < (3, 8):  # noqa: UP036 (that is what is asked)
    sys.exit(
        "Python 3.8 or later is needed on this host, here is %d.%d; nothing was changed"
        % sys.version_info[:2]
    )

import base64
import bz2
import importlib.abc
import importlib.util
import json
from typing import Any, Dict


class Sent(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """The modules that were sent. They go before those of the same name that the host may have."""

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


def run(packed: str, order: str) -> None:
    """Both are text: the modules by name, and what is to be done with them."""
    sys.meta_path.insert(0, Sent(json.loads(bz2.decompress(base64.b64decode(packed)).decode())))
    main = importlib.import_module("registry.main")
    sys.exit(main.run(json.loads(order), sys.argv[1]))
