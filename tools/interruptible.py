"""``python -m tools.interruptible MODULE [ARGUMENT…]``: runs its `main`; a Ctrl-C ends it with a line.

Also while the module is still being imported, which takes a second where the machine is busy.
"""

from __future__ import annotations

import importlib
import sys

INTERRUPTED = 130
MESSAGE = "\nInterrupted. No part of it is still running; run it again to start over."


def main(argv: list[str]) -> int:
    """The exit status of the module's `main`, called with the other arguments; 130 after a Ctrl-C."""
    try:
        status = importlib.import_module(argv[0]).main(argv[1:])
    except KeyboardInterrupt:
        print(MESSAGE, file=sys.stderr)
        return INTERRUPTED
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
