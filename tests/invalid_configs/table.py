"""What a line of the tables of wrong configurations is."""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple

from tests.configurations import Change, changed


class Wrong(NamedTuple):
    """A configuration that is refused at `key` with `code`; `right` is the same without the mistake.

    `value`: the bad value as the error shows it, where one code stands for many kinds of value.
    """

    name: str
    raw: dict[str, Any]
    key: str
    code: str
    right: dict[str, Any] | None = None
    value: str = ""


def wrong(name: str, right: dict[str, Any], change: Change, key: str, code: str, *, value: str = "") -> Wrong:
    """One mistake in a valid configuration."""
    return Wrong(name, changed(right, change), key, code, right, value)


def garbled(pair: dict[str, str], old: str, new: str) -> dict[str, str]:
    """The pair with other bytes (in hex) in its certificate."""
    found = ssl.PEM_cert_to_DER_cert(pair["certificate"])
    return pair | {
        "certificate": ssl.DER_cert_to_PEM_cert(found.replace(bytes.fromhex(old), bytes.fromhex(new)))
    }
