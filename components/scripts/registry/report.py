"""What the person at the terminal sees. Progress and failures go to stderr, which the engine shows live; the
result alone goes to stdout, because it is kept as the resource's output.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from typing import Any

_secrets: set[str] = set()
_SECRET_KEYS = re.compile(r"(?i)secret|passw|key$|token|authorization|credential")


class Failure(Exception):
    """A failure in the administrator's words: what happened, why, in which state the host is, what to do."""

    def __init__(self, what: str, *, cause: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.cause, self.remedy = what, cause, remedy
        self.state = "nothing was changed on this host"

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Any error as a failure."""
        if isinstance(error, Failure):
            return error
        if isinstance(error, OSError):
            remedy = "make room or mend the file system, then `pulumi up` again"
            return cls(
                "a file could not be written", cause=f"{error.strerror} ({error.filename})", remedy=remedy
            )
        at = error.__traceback__
        while at and at.tb_next:
            at = at.tb_next
        where = f" ({at.tb_frame.f_code.co_filename}:{at.tb_lineno})" if at else ""
        cause = f"{type(error).__name__}: {error}{where}"
        return cls(
            "the program stopped", cause=cause, remedy="run `pulumi up` again; if it stays, report this"
        )

    def and_now(self, state: str) -> Failure:
        self.state = state
        return self


def say(text: str) -> None:
    """On stderr. It is gone when the engine was killed; the work goes on to its end all the same."""
    _print(text, sys.stderr)


def result(data: dict[str, Any]) -> None:
    _print(json.dumps(data), sys.stdout)


def failure(order: dict[str, Any], error: Failure) -> None:
    """Four lines, as the program on GitLab's nodes has them."""
    say(f"{order['node']} (site {order['site']}): {hide(error.what)}")
    say(f"  cause: {hide(error.cause)}")
    say(f"  state: {hide(error.state)}")
    say(f"  do:    {hide(error.remedy)}")


def _print(text: str, file: Any) -> None:
    # Whatever this host's locale is: what is not UTF-8 the command provider cannot pass on, and it would call
    # the run failed after it has ended well.
    with suppress(OSError, ValueError):
        file.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
        file.flush()


def learn(data: Any) -> None:
    """Everything below that could be a secret, to be blotted out of whatever is shown."""
    if isinstance(data, dict):
        for its in data.values():
            learn(its)
    elif isinstance(data, list):
        for its in data:
            learn(its)
    elif isinstance(data, str):
        lines = (
            [line.strip() for line in data.splitlines() if len(line.strip()) >= 16] if "\n" in data else []
        )
        _secrets.update([data] * (len(data) >= 8) + lines)


def learn_from(config: Any) -> None:
    """What a registry's own configuration holds of secrets, by the names of its keys."""
    if isinstance(config, dict):
        for key, its in config.items():
            if _SECRET_KEYS.search(str(key)) and not isinstance(its, dict):
                learn(its if isinstance(its, list) else str(its))
            learn_from(its)
    elif isinstance(config, list):
        for its in config:
            learn_from(its)


def hide(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text
