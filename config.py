"""The stack's configuration, typed. The only reader of pulumi.Config."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pydantic import ValidationError

from omnibus import checks
from omnibus.model import Deployment
from omnibus.problems import Problem, from_validation, report


def load() -> Deployment:
    """The configuration of the current stack.

    Raises pulumi.RunError, which the engine shows without a traceback, naming every problem at once.
    """
    deployment, problems = parse(_raw(pulumi.get_project()))
    if deployment is None:
        raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", problems))
    return deployment


def parse(raw: dict[str, Any]) -> tuple[Deployment | None, list[Problem]]:
    """Top-level keys → the deployment, or None and what is wrong with it."""
    try:
        deployment = Deployment.model_validate(raw)
    except ValidationError as error:
        return None, from_validation(error)
    problems = checks.problems(deployment)
    return (None, problems) if problems else (deployment, [])


def _raw(project: str) -> dict[str, Any]:
    """All keys of the project's namespace, unknown ones included; those Pulumi stores as text made values.

    Pulumi hands a structured value over as JSON and a scalar as its text, so `replication: false`
    arrives as the text "false".
    """
    prefix = f"{project}:"
    given = {
        key.removeprefix(prefix): text
        for key, text in _all_config().items()
        if key.startswith(prefix)
    }
    texts = {name for name, field in Deployment.model_fields.items() if field.annotation is str}
    return {key: text if key in texts else _value(text) for key, text in given.items()}


def _all_config() -> dict[str, str]:
    from pulumi.runtime import config

    return {**config.get_config_env(), **config.CONFIG.get()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
