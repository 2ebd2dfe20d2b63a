"""Input names and types of pulumi_aws resources, as `shape` reads them from the installed Python SDK.

A misspelled or mistyped input fails as in the real provider, without a copy of its schema. Reading the shapes
takes 0.6 s in each provider process that an engine starts, so they are cached in the checkout for the
installed version.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lab.providers.protocol import is_unknown

_KEPT = Path(__file__).resolve().parents[3] / ".lab" / "cache"
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "str": (
        str,
        int,
        float,
        bool,
    ),  # the engine converts numbers and booleans to strings
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}
_known: dict[str, dict[str, Any]] = {}


def prepare(tokens: Iterable[str]) -> None:
    """Load the shapes of these resource types: from the cache file, else read and cached."""
    wanted = sorted(tokens)
    if set(wanted) <= _known.keys():
        return
    own = Path(__file__).with_name("shape.py").read_bytes()
    version = importlib.metadata.version("pulumi_aws")
    digest = hashlib.sha256(own + "\n".join(wanted).encode()).hexdigest()[:16]
    file = _KEPT / f"pulumi_aws-{version}-{digest}.json"
    try:
        _known.update(json.loads(file.read_text()))
    except (OSError, ValueError):
        _known.update({token: _read(token) for token in wanted})
        _keep(file, json.dumps({token: _known[token] for token in wanted}))


def _keep(file: Path, text: str) -> None:
    mine = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):  # without the file, the next process reads them again
        file.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text(text)
        mine.replace(file)


def _read(token: str) -> dict[str, Any]:
    from lab.providers.aws import shape

    return shape.of(token)


@functools.cache
def _shape(token: str) -> dict[str, Any]:
    return _known.get(token) or _read(token)


@functools.cache
def input_names(token: str) -> frozenset[str]:
    """The names of a resource type's inputs, as the protocol has them; token as "aws:s3/bucket:Bucket"."""
    return frozenset(_shape(token)["inputs"]["object"])


@functools.cache
def output_names(token: str) -> frozenset[str]:
    """The names of everything a resource type's state may hold."""
    return frozenset(_shape(token)["outputs"])


def problems(token: str, inputs: dict[str, Any]) -> list[tuple[str, str]]:
    """(property path, error) for each part of plain inputs that the type's Args class does not allow."""
    return list(_problems(inputs, _shape(token)["inputs"], ""))


def _problems(value: Any, shape: Any, at: str) -> Iterator[tuple[str, str]]:
    if value is None or is_unknown(value):
        return
    if isinstance(shape, str):
        if shape in _ACCEPTED and type(value) not in _ACCEPTED[shape]:
            yield at, f"expected {shape}, got {_kind(value)}"
    elif "one" in shape:
        found = [list(_problems(value, choice, at)) for choice in shape["one"]]
        if found and all(found):
            yield from min(found, key=len)
    elif "list" in shape:
        yield from _list_problems(value, shape["list"], at)
    elif "map" in shape:
        yield from _map_problems(value, shape["map"], at)
    else:
        yield from _object_problems(value, shape, at)


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


def _object_problems(value: Any, shape: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield at, f"expected an object, got {_kind(value)}"
        return
    types = shape["object"]
    for key, item in value.items():
        path = f"{at}.{key}" if at else key
        if key in types:
            yield from _problems(item, types[key], path)
        else:
            yield path, f"no such property; known: {', '.join(sorted(types))}"
    for name in shape["required"]:
        if name not in value:
            yield f"{at}.{name}" if at else name, "Missing required argument"


def _kind(value: Any) -> str:
    # The value itself may be a secret, so only its kind is reported.
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}.get(
        type(value), "a number"
    )
