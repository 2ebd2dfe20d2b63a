"""A right configuration made wrong in one place: by its shape, whatever the keys say together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.corpus.anything import WORDS, json_of
from tests.corpus.valid import TAPES, configuration
from tests.corpus.values import Raw, Tape

Path = tuple[str | int, ...]
REQUIRED = {
    "gitlab_version", "primary", "sites", "storage", "mode", "external_url", "registry_url", "nodes", "host", "host_key",
    "region", "admin_cidrs", "bucket", "container", "authurl", "rootdirectory", "password", "username", "accesskeyid",
    "accesskeysecret", "access_key", "secret_key", "config", "certificate", "restart",
}  # fmt: skip
SECRETS = {
    "private_key", "secret_key", "credentials", "accountkey", "secret", "password", "secretkey",
    "accesskey", "accesskeyid", "accesskeysecret",
}  # fmt: skip
# Any text will do there, a line's end at its end included.
FREE = SECRETS | {"private_key_file", "access_key", "trusted_certificates", "proof", "certificate"}
# Mappings whose keys are names of the user's.
OPEN = {"sites", "nodes", "hosts", "tags"}


@dataclass(frozen=True)
class Broken:
    """A configuration and the place in it that is wrong."""

    raw: Raw
    path: Path

    @property
    def key(self) -> str:
        return ".".join(str(part) for part in self.path)


def places(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value below, with where it stands; what is tagged is anybody's."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, its in inner:
        yield (*at, key), its
        if key != "tags" or at[-1:] != ("aws",):
            yield from places(its, (*at, key))


def _holder(raw: Any, path: Path) -> Any:
    for part in path[:-1]:
        raw = raw[part]
    return raw


def _put(raw: Raw, path: Path, value: Any) -> Broken:
    raw = copy.deepcopy(raw)
    _holder(raw, path)[path[-1]] = value
    return Broken(raw, path)


def anything(raw: Raw, tape: Tape) -> Broken:
    """Any JSON in place of any value."""
    path, _ = tape.pick([*places(raw)])
    return _put(raw, path, json_of(tape))


def swapped(raw: Raw, tape: Tape) -> Broken:
    """A value that is right elsewhere; none that is secret, which nobody could tell there."""
    known = [*places(raw)]
    path, _ = tape.pick(known)
    values = [
        value for place, value in known if place[-1] not in SECRETS and not isinstance(value, dict | list)
    ]
    return _put(raw, path, tape.pick(values))


def certificate(raw: Raw, tape: Tape) -> Broken:
    """Another character in a certificate or its key."""
    pem = {"certificate", "private_key", "trusted_certificates"}
    known = [(p, v) for p, v in places(raw) if p[-1] in pem and isinstance(v, str) and "-----" in v]
    path, value = tape.pick(known or [(("trusted_certificates",), "-----BEGIN CERTIFICATE-----\n")])
    at = tape.pick(range(len(value)))
    return _put(raw, path, value[:at] + tape.pick("AQgw/+0=\n") + value[at + 1 :])


def unknown(raw: Raw, tape: Tape) -> Broken:
    """A key that is none."""
    closed: list[Path] = [()]
    for path, value in places(raw):
        # A site's or a node's name may be one of OPEN.
        if isinstance(value, dict) and (path[-1] not in OPEN or path[-2:-1] in {("sites",), ("nodes",)}):
            closed.append(path)
    at = tape.pick(closed)
    known = sorted(_holder(raw, (*at, "")))
    typos = [change(key) for key in known for change in (str.upper, str.title, "{}_".format, " {}".format)]
    # An empty one at the top has no name to be reported by.
    odd = [word for word in WORDS if not word.islower() and (word or at)]
    return _put(raw, (*at, tape.pick([*typos, *odd])), json_of(tape))


def missing(raw: Raw, tape: Tape) -> Broken:
    """A key that must be there."""
    path = tape.pick([path for path, _ in places(raw) if _required(path)])
    raw = copy.deepcopy(raw)
    del _holder(raw, path)[path[-1]]
    return Broken(raw, path)


def _required(path: Path) -> bool:
    above, key = path[-2] if len(path) > 1 else "", path[-1]
    if (
        above in OPEN
        or (key == "rootdirectory" and above != "filesystem")
        or (key, above) == ("region", "swift")
    ):
        return False
    return key in REQUIRED


def number(raw: Raw, tape: Tape) -> Broken:
    """A number out of its range, or what is none for JSON."""
    known = [path for path, value in places(raw) if isinstance(value, int) and not isinstance(value, bool)]
    path = tape.pick(known or [("reconfigure_seconds",)])
    return _put(raw, path, tape.pick((-1, 1 << 40, 0.5, "22", [22], {}, math.nan)))


def text(raw: Raw, tape: Tape) -> Broken:
    """A character that has no place in a text."""
    known = [(path, value) for path, value in places(raw) if isinstance(value, str) and path[-1] not in FREE]
    path, value = tape.pick(known)
    at = tape.pick(range(len(value) + 1))
    # What a host key's comment says is free, within its line, and so is a mailbox's name.
    free = path[-1] in {"host_key", "letsencrypt_email"}
    return _put(raw, path, value[:at] + ("\n" if free else tape.pick(("\n", "\0", "\u2028"))) + value[at:])


def misplaced(raw: Raw, tape: Tape) -> Broken:
    """A secret in a mapping or a list of its own, or instead of the mapping that it belongs into."""
    known = [(path, value) for path, value in places(raw) if path[-1] in SECRETS and isinstance(value, str)]
    path, value = tape.pick(known or [(("proof",), "x")])
    if len(path) > 1 and tape.flag():
        return _put(raw, path[:-1], value)
    return _put(raw, path, tape.pick(({"value": value}, [value], {value: value})))


Break = Callable[[Raw, Tape], Broken]
ANYHOW: tuple[Break, ...] = (anything, swapped, certificate)
"""After these a configuration may be right."""
SURELY: tuple[Break, ...] = (unknown, missing, number, text, misplaced)


@st.composite
def broken(draw: st.DrawFn, *breaks: Break) -> Broken:
    """A configuration that one of these has made wrong."""
    raw = configuration(draw(TAPES))
    make = draw(st.sampled_from(breaks))
    return make(raw, Tape(draw(st.binary(min_size=32, max_size=32))))
