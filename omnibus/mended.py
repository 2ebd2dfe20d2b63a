"""What else is wrong where values are wrong: nobody mends one thing only to be told the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from pydantic import ValidationError

from omnibus import checks
from omnibus.model import Deployment
from omnibus.problems import Problem, place
from omnibus.together import Group, groups, keys, untouched

# Stands for a value that is missing or wrong while the rest is looked at; one that could contradict the
# rest is taken out instead.
_STAND_INS: dict[str, str | list[str]] = {
    "host_key": "ssh-ed25519 " + "A" * 68,
    "gitlab_version": "18.5",
    "region": "eu-west-1",
    "mode": "shared",
    "admin_cidrs": ["192.0.2.1/32"],
    "host": "{}.invalid",
    "external_url": "https://gitlab-{}.invalid",
    "registry_url": "https://registry-{}.invalid",
}
# Without one of these almost everything else is told differently.
_WHOLE = {"sites", "nodes", "aws"}


def contradictions(raw: dict[str, Any], error: ValidationError) -> list[Problem]:
    """What the values that are right contradict. Empty where the shape is too far off to tell.

    Nothing is told of what goes together with a wrong value: it could be about the one that stands for it.
    """
    spoilt: set[Group] = set()
    for number, detail in enumerate(error.errors(include_url=False)):
        # What is wrong in a list spoils the whole list.
        path = [*takewhile(lambda part: isinstance(part, str), place(detail))]
        if not path:
            return []
        raw = _mended(raw, path, number)
        if detail["type"] == "extra_forbidden":
            continue  # nothing went by it
        if keys(path)[-1] in _WHOLE:
            return []
        spoilt |= {*groups(path)}
    try:
        return untouched(checks.problems(Deployment.model_validate(raw)), spoilt)
    except ValidationError:
        return []


def _mended(value: Any, path: Sequence[int | str], number: int) -> Any:
    """A copy along the path, so that nothing depends on how deep the rest is."""
    if not isinstance(value, dict):
        return value
    key, *below = path
    if below:
        return value | {key: _mended(value[key], below, number)} if key in value else value
    known = _STAND_INS.get(str(key))
    stand_in = {key: known.format(number) if isinstance(known, str) else known} if known else {}
    return {k: v for k, v in value.items() if k != key} | stand_in
