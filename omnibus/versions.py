"""What changed when between GitLab 16 and 19, as data: each row is a name and the version it holds from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Version: TypeAlias = tuple[int, int]

OLDEST: Version = (16, 0)


@dataclass(frozen=True)
class Renamed:
    """`before` up to, and `after` from, GitLab version `since`. `source` says how we know."""

    before: str
    after: str
    since: Version
    source: str

    def name(self, version: Version) -> str:
        return self.after if version >= self.since else self.before


NOTIFICATION_RETRIES = Renamed(
    "threshold",
    "maxretries",
    (17, 1),
    "registry configuration reference: threshold deprecated in GitLab 17.1, removal announced for 23.0",
)

S3_DRIVER = Renamed(
    "s3",
    "s3_v2",
    (19, 0),
    "container registry: s3_v2 is the S3 driver since GitLab 19.0, s3 and s3aws are its aliases; "
    "before that only s3 is in every release",
)


def parse(text: str) -> Version:
    """`18.5`, `18.5.2` or `18.5.2-ee.0` → (18, 5). Raises ValueError for anything else."""
    parts = text.split("-", maxsplit=1)[0].split(".")
    if not 2 <= len(parts) <= 3 or not all(p.isascii() and p.isdigit() for p in parts):
        raise ValueError(f"{text!r} is no GitLab version")
    return int(parts[0]), int(parts[1])
