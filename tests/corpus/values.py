"""Choices, and single values of every kind that a configuration has, with the strange ones that are right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from tests.configurations import certificate

Raw = dict[str, Any]
T = TypeVar("T")


class Tape:
    """A choice two bytes: hypothesis makes all at once, which is ten times as fast as a draw for each.

    What comes first among the choices is the simplest: to it an example shrinks, and with it a tape ends.
    """

    LENGTH = 1400

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def pick(self, options: Sequence[T]) -> T:
        return options[(next(self._data, 0) << 8 | next(self._data, 0)) % len(options)]

    def flag(self) -> bool:
        return self.pick((False, True))

    def some(self, **keys: Sequence[Any]) -> Raw:
        """A mapping with any of these keys; a key's values are chosen from."""
        return {key: self.pick(values) for key, values in keys.items() if self.flag()}


SECRET = "s3cr3t"
"""Stands in every secret of the corpus, and nowhere else."""
TAILS = ("", "'#{x}\\", '"é日\n', " # %>")

NAMES = (
    "london", "tokyo", "a", "no", "null", "true", "x-1", "l--n", "s3", "keep", "nodes", "rails", "registry",
    "primary", "shared", "gcs", "n" * 31,
)  # fmt: skip
HOST_KEYS = (
    "ssh-ed25519 " + "A" * 68,
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "b/+9" * 10 + "abc root@london 1 # 'é\"",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY" + "Zz09" * 20 + "==",
    "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjE" + "Zz09" * 40 + "= ",
)
PORTS = (22, 1, 443, 2222, 65535)
FLAGS = (True, False)
ROOTS = ("registry", "/a/b", "x.y_z", "..", "-")
TEXTS = ("eu", "it's #{mine}", 'a "b" \\ c', "%w[x]", "42")
KMS_KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def secret(tape: Tape, name: str) -> str:
    """A secret that is seen wherever it comes out, with what Ruby and shells trip over."""
    return f"{SECRET}.{name}{tape.pick(TAILS)}"


def names(tape: Tape, count: int) -> list[str]:
    """So many names, each once."""
    left = [*NAMES]
    found = []
    for _ in range(count):
        found.append(tape.pick(left))
        left.remove(found[-1])
    return found


@cache
def pair(*hosts: str, days: int = 90) -> dict[str, str]:
    """A certificate for these names and its key, made once."""
    return certificate(*hosts, days=days)


def version(tape: Tape) -> str:
    """Every release from 16.0 on, as administrators write it; those often at which something changed."""
    edges = (
        (18, 5),
        (16, 0),
        (16, 11),
        (17, 0),
        (17, 3),
        (17, 9),
        (17, 10),
        (18, 0),
        (18, 1),
        (18, 11),
        (19, 0),
        (19, 2),
    )
    major, minor = tape.pick(edges)
    if tape.flag():
        major, minor = tape.pick((16, 17, 18, 19)), tape.pick(range(12))
    return f"{major}.{minor}" + tape.pick(("", "", ".0", ".12", ".3-ee.0", "-rc42.ee"))


def at_least(version: str, major: int, minor: int = 0) -> bool:
    parts = version.partition("-")[0].split(".")
    return (int(parts[0]), int(parts[1])) >= (major, minor)


def key(text: str) -> str:
    """Something in the form of a private key."""
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n"


def ssh(tape: Tape, name: str, **provided: Any) -> Raw:
    """How a host is reached, with at most one of the two kinds of key."""
    found = tape.some(user=("root", "ubuntu", "_svc", "a.b-c_1"), port=PORTS, wait_seconds=(1, 3600))
    if tape.flag():
        found["bastion"] = {
            "host": tape.pick(("bastion.example.com", "192.0.2.10", "2001:db8::1")),
            "host_key": tape.pick(HOST_KEYS),
            **tape.some(user=("jump",), port=PORTS),
        }
    match tape.pick(("", "private_key", "private_key_file")):
        case "private_key":
            found["private_key"] = key(secret(tape, f"ssh.{name}"))
        case "private_key_file":
            found["private_key_file"] = "~/.ssh/id_ed25519"
    return found | provided
