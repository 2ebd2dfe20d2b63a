"""The configuration of the current stack: the only reader of pulumi.Config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi
from pydantic import BaseModel, SecretStr

from config.errors import report
from config.model import Deployment
from config.parsing import parse, raw_values


def load() -> Deployment:
    """The configuration of the current stack.

    Raises pulumi.RunError, which the engine shows without a traceback, with all errors that `parse` reports.
    """
    deployment, errors = parse(_raw(pulumi.Config()))
    if deployment is None:
        raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", errors))
    file = f"Pulumi.{pulumi.get_stack()}.yaml"
    for key in _plain_secrets(deployment):
        pulumi.log.warn(
            f"{key} is plain text in {file}, and so in the stack's state. "
            f"Encrypt it: pulumi config set --secret --path '{key}'"
        )
    return deployment


def _plain_secrets(deployment: Deployment) -> list[str]:
    """The keys of secrets that are not encrypted in the stack's file.

    The engine tracks top-level keys only: one encrypted value below a key counts for all of them. It passes
    the whole configuration to the provider of dynamic resources, which stores it in the state (verified).
    """
    project = pulumi.get_project()
    return [
        key
        for key in _secrets("", deployment)
        if not pulumi.runtime.is_config_secret(f"{project}:{key.partition('.')[0]}")
    ]


def _secrets(key: str, value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield key
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(f"{key}.{name}" if key else name, getattr(value, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _secrets(f"{key}.{name}", inner)


def _raw(config: pulumi.Config) -> dict[str, Any]:
    """All keys of the project's namespace, unknown ones included, with strings converted to values.

    pulumi.Config does not list keys: unknown ones are found in the environment.
    """
    prefix = f"{config.name}:"
    written = {key.removeprefix(prefix) for key in pulumi.runtime.get_config_env() if key.startswith(prefix)}
    values = {key: config.get(key) for key in [*Deployment.model_fields, *sorted(written)]}
    return raw_values({key: text for key, text in values.items() if text is not None})
