"""Names that are made up where the program states none."""

from __future__ import annotations

import hashlib
import re
import secrets

from lab.providers.resource import Call


def new_name(call: Call, longest: int, start: str = "", prefix: str | None = None) -> str:
    """As Pulumi makes it, <start><resource>-<7 hex digits>; with a prefix as Terraform does."""
    seed = call.seed + call.urn.encode() if call.seed else secrets.token_bytes(16)
    suffix = hashlib.sha256(seed).hexdigest()
    if prefix is not None:
        return f"{prefix}{int(suffix[:22], 16):026}"[:longest]
    return f"{start}{call.name}"[: longest - 8] + f"-{suffix[:7]}"


def is_made_up(name: str, resource: str, longest: int, start: str = "") -> bool:
    """Can this name have come from `new_name` without a prefix?"""
    made = re.escape(f"{start}{resource}"[: longest - 8])
    return re.fullmatch(f"{made}-[0-9a-f]{{7}}", name, re.IGNORECASE) is not None
