"""Between Pulumi's property names and the AWS API's: {"sseAlgorithm": x} and {"SSEAlgorithm": x}."""

from __future__ import annotations

from typing import Any

_SPECIAL = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
_BACK = {api: pulumi for pulumi, api in _SPECIAL.items()}


def to_api(value: Any) -> Any:
    """A nested input in the API's form; unset values are omitted."""
    if isinstance(value, dict):
        return {_up(key): to_api(item) for key, item in value.items() if item is not None}
    return [to_api(item) for item in value] if isinstance(value, list) else value


def from_api(value: Any) -> Any:
    """An answer of the API as a nested input."""
    if isinstance(value, dict):
        return {_down(key): from_api(item) for key, item in value.items()}
    return [from_api(item) for item in value] if isinstance(value, list) else value


def pick(inputs: dict[str, Any], *names: str) -> dict[str, Any]:
    """The named inputs as arguments of an API call; unset values are omitted."""
    return {_up(name): to_api(inputs[name]) for name in names if inputs.get(name) is not None}


def _up(name: str) -> str:
    return _SPECIAL.get(name, name[:1].upper() + name[1:])


def _down(name: str) -> str:
    return _BACK.get(name, name[:1].lower() + name[1:])
