"""Names that are generated if the program sets none."""

from __future__ import annotations

import hashlib
import re
import secrets

from lab.providers.resource import Call


def new_name(call: Call, longest: int, start: str = "", prefix: str | None = None) -> str:
    """As in Pulumi, <start><resource>-<7 hex digits>; with a prefix, as in Terraform."""
    if prefix is None and len(f"{start}{call.name}") + 8 > longest:
        # NewUniqueName in sdk/go/common/resource of pulumi/pulumi: nothing is shortened.
        raise ValueError(
            f"name '{start}{call.name}-' plus 7 random chars is longer than maximum length {longest}"
        )
    seed = call.seed + call.urn.encode() if call.seed else secrets.token_bytes(16)
    suffix = hashlib.sha256(seed).hexdigest()
    if prefix is not None:
        return f"{prefix}{int(suffix[:22], 16):026}"[:longest]
    return f"{start}{call.name}-{suffix[:7]}"


def is_made_up(name: str, resource: str, start: str = "") -> bool:
    """Whether this name can come from `new_name` without a prefix."""
    made = re.escape(f"{start}{resource}")
    return re.fullmatch(f"{made}-[0-9a-f]{{7}}", name, re.IGNORECASE) is not None
