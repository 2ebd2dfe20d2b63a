"""Values as the stack's file has them → the typed configuration, or all that is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from config import checks
from config.errors import ConfigError, from_pydantic
from config.model import Deployment


def raw_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """Top-level keys with strings converted to values.

    Pulumi passes a structured value as JSON and a scalar as a string: `replication: false` arrives as
    "false".
    """
    strings = {name for name, field in Deployment.model_fields.items() if field.annotation is str}
    return {key: text if key in strings else _value(text) for key, text in texts.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def parse(raw: dict[str, Any]) -> tuple[Deployment | None, list[ConfigError]]:
    """Top-level keys → the deployment, or None and what is wrong with it.

    Values are checked together only if each is valid alone: no error is about a value you did not write.
    """
    try:
        deployment = Deployment.model_validate(raw)
    except ValidationError as error:
        return None, from_pydantic(error)
    errors = checks.errors(deployment)
    return (None, errors) if errors else (deployment, [])
