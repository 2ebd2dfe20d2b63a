"""Input names and types of a pulumi_aws resource, read from the Args classes of the installed Python SDK.

So a misspelt or mistyped input fails here as it fails in the real provider, without a copy of its schema.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import threading
import typing
from collections.abc import Iterator
from typing import Any

import pulumi
from pulumi import _types

from lab.providers.protocol import is_unknown

_SCALARS: dict[Any, tuple[type, ...]] = {
    str: (str, int, float, bool),  # the engine turns numbers and booleans into strings where one is wanted
    int: (int,),
    float: (int, float),
    bool: (bool,),
}
_loading = threading.Lock()  # pulumi_aws loads its modules lazily, and not thread-safely


def input_names(token: str) -> frozenset[str]:
    """The names of a resource type's inputs, as the protocol has them; token as "aws:s3/bucket:Bucket"."""
    return frozenset(_types.input_type_types(_args_class(token)))


def output_names(token: str) -> frozenset[str]:
    """The names of everything a resource type's state may hold."""
    with _loading:
        return frozenset(_types.input_type_types(_classes(token)[1]))


def problems(token: str, inputs: dict[str, Any]) -> list[tuple[str, str]]:
    """(property path, complaint) for each part of plain inputs that the type's Args class does not allow."""
    return list(_problems(inputs, _args_class(token), ""))


def _args_class(token: str) -> type:
    with _loading:
        return _classes(token)[0]


@functools.cache
def _classes(token: str) -> tuple[type, type]:
    import pulumi_aws

    _, where, name = token.split(":")
    # Through the package: importing a class by its own module breaks the lazy loading.
    resource = getattr(getattr(pulumi_aws, where.split("/")[0]), name)
    own = sys.modules[resource.__module__]
    # Where a nested type has the plain name, the generator calls the resource's arguments InitArgs.
    arguments = getattr(own, f"{name}InitArgs", None) or getattr(own, f"{name}Args")
    return arguments, getattr(own, f"_{name}State")


def _problems(value: Any, cls: Any, at: str) -> Iterator[tuple[str, str]]:
    if value is None or is_unknown(value):
        return
    origin = typing.get_origin(cls)
    if origin is typing.Union:
        yield from _union_problems(value, cls, at)
    elif origin in (list, collections.abc.Sequence):
        yield from _list_problems(value, typing.get_args(cls)[0], at)
    elif origin in (dict, collections.abc.Mapping):
        yield from _map_problems(value, typing.get_args(cls)[1], at)
    elif inspect.isclass(cls) and _types.is_input_type(cls):
        yield from _object_problems(value, cls, at)
    elif cls in _SCALARS and type(value) not in _SCALARS[cls]:
        yield at, f"expected {cls.__name__}, got {_kind(value)}"


def _union_problems(value: Any, cls: Any, at: str) -> Iterator[tuple[str, str]]:
    choices = [choice for choice in typing.get_args(cls) if choice is not type(None) and not _awaited(choice)]
    found = [list(_problems(value, choice, at)) for choice in choices]
    if found and all(found):
        yield from min(found, key=len)


def _list_problems(value: Any, item: Any, at: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield at, f"expected a list, got {_kind(value)}"
        return
    for index, one in enumerate(value):
        yield from _problems(one, item, f"{at}[{index}]")


def _map_problems(value: Any, item: Any, at: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield at, f"expected a map, got {_kind(value)}"
        return
    for key, one in value.items():
        yield from _problems(one, item, f"{at}.{key}")


def _object_problems(value: Any, cls: type, at: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield at, f"expected an object, got {_kind(value)}"
        return
    names, types = _types.input_type_py_to_pulumi_names(cls), _types.input_type_types(cls)
    for key, item in value.items():
        path = f"{at}.{key}" if at else key
        if key in types:
            yield from _problems(item, types[key], path)
        else:
            yield path, f"no such property; known: {', '.join(sorted(types))}"
    for parameter in inspect.signature(cls).parameters.values():
        name = names.get(parameter.name)
        if parameter.default is parameter.empty and name is not None and name not in value:
            yield f"{at}.{name}" if at else name, "Missing required argument"


def _kind(value: Any) -> str:
    # The value itself may be a secret, so only its kind is told.
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}.get(
        type(value), "a number"
    )


def _awaited(choice: Any) -> bool:
    return typing.get_origin(choice) in (collections.abc.Awaitable, pulumi.Output) or choice is pulumi.Output
