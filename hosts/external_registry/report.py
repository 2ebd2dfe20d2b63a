"""Output. Progress and failures go to stderr, which the engine shows live; stdout carries only the result,
because it becomes the resource's output.
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
    """A failure for the administrator: what happened, why, the host's state now, and what to do.

    `code` is stable: tests and docs/troubleshooting.md refer to it, not to the wording.
    """

    def __init__(self, code: str, what: str, *, cause: str, remedy: str) -> None:
        super().__init__(what)
        self.code, self.what, self.cause, self.remedy = code, what, cause, remedy
        self.state = "nothing was changed on this host"

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Any error as a failure."""
        if isinstance(error, Failure):
            return error
        if isinstance(error, OSError):
            remedy = "free some space or repair the file system, then `pulumi up` again"
            cause = f"{error.strerror} ({error.filename})"
            return cls("file-not-written", "a file could not be written", cause=cause, remedy=remedy)
        last = error.__traceback__
        while last and last.tb_next:
            last = last.tb_next
        where = f" ({last.tb_frame.f_code.co_filename}:{last.tb_lineno})" if last else ""
        cause = f"{type(error).__name__}: {error}{where}"
        remedy = "run `pulumi up` again; if the error persists, open an issue"
        return cls("program-stopped", "the program stopped", cause=cause, remedy=remedy)

    def with_state(self, state: str) -> Failure:
        self.state = state
        return self


def say(text: str) -> None:
    """On stderr. It is closed when the engine was killed; the work continues to its end."""
    _print(text, sys.stderr)


def result(data: dict[str, Any]) -> None:
    _print(json.dumps(data), sys.stdout)


def failure(order: dict[str, Any], error: Failure) -> None:
    """Four lines, as the program on GitLab nodes prints them."""
    say(f"{order['node']} (site {order['site']}): {hide(error.what)} [{error.code}]")
    say(f"  cause: {hide(error.cause)}")
    say(f"  state: {hide(error.state)}")
    say(f"  do:    {hide(error.remedy)}")


def _print(text: str, file: Any) -> None:
    # Independent of this host's locale: the command provider cannot pass on what is not UTF-8, and would
    # report a successful run as failed.
    with suppress(OSError, ValueError):
        file.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
        file.flush()


def redact(data: Any) -> None:
    """Register all strings in `data` that may be secrets: `hide` removes them from output."""
    if isinstance(data, dict):
        for value in data.values():
            redact(value)
    elif isinstance(data, list):
        for value in data:
            redact(value)
    elif isinstance(data, str):
        lines = (
            [line.strip() for line in data.splitlines() if len(line.strip()) >= 16] if "\n" in data else []
        )
        _secrets.update([data] * (len(data) >= 8) + lines)


def redact_config(config: Any) -> None:
    """Register the secrets in a registry's configuration, by the names of its keys."""
    if isinstance(config, dict):
        for key, value in config.items():
            if _SECRET_KEYS.search(str(key)) and not isinstance(value, dict):
                redact(value if isinstance(value, list) else str(value))
            redact_config(value)
    elif isinstance(config, list):
        for value in config:
            redact_config(value)


def hide(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text
