"""The stack's configuration, typed. The only reader of pulumi.Config."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pulumi
from pydantic import BaseModel, SecretStr, ValidationError

from omnibus import checks
from omnibus.mended import contradictions
from omnibus.model import Deployment
from omnibus.problems import Problem, from_validation, report


def load() -> Deployment:
    """The configuration of the current stack.

    Raises pulumi.RunError, which the engine shows without a traceback, naming every problem at once.
    """
    deployment, problems = parse(_raw(pulumi.get_project()))
    if deployment is None:
        raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", problems))
    file = f"Pulumi.{pulumi.get_stack()}.yaml"
    for key in _plain_secrets(deployment):
        pulumi.log.warn(
            f"{key} stands in {file} as plain text, and so in the stack's state. "
            f"Encrypt it: pulumi config set --secret --path '{key}'"
        )
    return deployment


def _plain_secrets(deployment: Deployment) -> list[str]:
    """The keys of secrets that are not encrypted in the stack's file.

    The engine knows it of top-level keys only: one encrypted value below a key speaks for all of them. It
    hands the whole configuration to the provider of dynamic resources, which keeps it in the state (seen).
    """
    from pulumi.runtime.config import is_config_secret

    project = pulumi.get_project()
    return [
        key for key in _secrets("", deployment) if not is_config_secret(f"{project}:{key.partition('.')[0]}")
    ]


def _secrets(at: str, value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield at
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(f"{at}.{name}" if at else name, getattr(value, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _secrets(f"{at}.{name}", inner)


def parse(raw: dict[str, Any]) -> tuple[Deployment | None, list[Problem]]:
    """Top-level keys → the deployment, or None and what is wrong with it."""
    try:
        deployment = Deployment.model_validate(raw)
    except ValidationError as error:
        shape = from_validation(error)
        told = {p.key for p in shape}
        return None, shape + [p for p in contradictions(raw, error) if p.key not in told]
    problems = checks.problems(deployment)
    return (None, problems) if problems else (deployment, [])


def _raw(project: str) -> dict[str, Any]:
    """All keys of the project's namespace, unknown ones included; those Pulumi stores as text made values.

    Pulumi hands a structured value over as JSON and a scalar as its text, so `replication: false`
    arrives as the text "false".
    """
    prefix = f"{project}:"
    given = {key.removeprefix(prefix): text for key, text in _all_config().items() if key.startswith(prefix)}
    texts = {name for name, field in Deployment.model_fields.items() if field.annotation is str}
    return {key: text if key in texts else _value(text) for key, text in given.items()}


def _all_config() -> dict[str, str]:
    from pulumi.runtime import config

    return {**config.get_config_env(), **config.CONFIG.get()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
