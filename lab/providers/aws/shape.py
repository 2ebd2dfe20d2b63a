"""The shape of a pulumi_aws resource, read from the Args and State classes of the installed Python SDK.

A shape is JSON, so that it can be cached in a file. A scalar is its name ("str", "int", "float", "bool",
"any"); others are {"list": shape}, {"map": shape}, {"one": [shapes]}, {"object": {name: shape}, "required":
[names]}.
"""

from __future__ import annotations

import collections.abc
import inspect
import sys
import threading
import typing
from typing import Any

import pulumi
from pulumi import _types

_SCALARS = {str: "str", int: "int", float: "float", bool: "bool"}
_loading = threading.Lock()  # pulumi_aws loads its modules lazily, and not thread-safely


def of(token: str) -> dict[str, Any]:
    """{"inputs": the shape of the inputs, "outputs": the names of all that a state may hold}."""
    with _loading:
        arguments, state = _classes(token)
        return {"inputs": _shape(arguments), "outputs": sorted(_types.input_type_types(state))}


def _classes(token: str) -> tuple[type, type]:
    import pulumi_aws

    _, where, name = token.split(":")
    # Through the package: importing a class by its own module breaks the lazy loading.
    resource = getattr(getattr(pulumi_aws, where.split("/")[0]), name)
    own = sys.modules[resource.__module__]
    # If a nested type has the plain name, the generator names the resource's arguments InitArgs.
    arguments = getattr(own, f"{name}InitArgs", None) or getattr(own, f"{name}Args")
    return arguments, getattr(own, f"_{name}State")


def _shape(cls: Any) -> Any:
    origin = typing.get_origin(cls)
    if origin is typing.Union:
        choices = [one for one in typing.get_args(cls) if one is not type(None) and not _awaited(one)]
        return _shape(choices[0]) if len(choices) == 1 else {"one": [_shape(one) for one in choices]}
    if origin in (list, collections.abc.Sequence):
        return {"list": _shape(typing.get_args(cls)[0])}
    if origin in (dict, collections.abc.Mapping):
        return {"map": _shape(typing.get_args(cls)[1])}
    if inspect.isclass(cls) and _types.is_input_type(cls):
        return _object(cls)
    return _SCALARS.get(cls, "any")


def _object(cls: type) -> dict[str, Any]:
    names = _types.input_type_py_to_pulumi_names(cls)
    parameters = inspect.signature(cls).parameters.values()
    required = [names[one.name] for one in parameters if one.default is one.empty and one.name in names]
    shapes = {name: _shape(item) for name, item in _types.input_type_types(cls).items()}
    return {"object": shapes, "required": required}


def _awaited(choice: Any) -> bool:
    return typing.get_origin(choice) in (collections.abc.Awaitable, pulumi.Output) or choice is pulumi.Output
