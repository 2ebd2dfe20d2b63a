"""Pulumi property maps as plain Python values, and the functions of the lab's providers on them.

On the wire a property map is a protobuf `Struct`.  Here it is a dict of JSON values. What JSON cannot express
stays in Pulumi's form: an object whose key `SIGNATURE` names the kind (secret, asset, archive), and one of
the `UNKNOWN` strings for a value that a preview does not know yet.  `plain` unwraps secrets for *use*; what
goes back to the engine must keep its wrapping, or it lands in the state as plain text.

The constants are those of pulumi/sdk/go/common/resource/plugin/rpc.go and .../sig.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format, struct_pb2

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""An unknown string, which is also how the Python SDK sends an unknown of any type."""
_UNKNOWNS = frozenset(
    {
        UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)

PropertyMap = dict[str, Any]


def load(struct: struct_pb2.Struct) -> PropertyMap:
    """A property map from the wire; whole numbers come back as int (the wire knows only doubles)."""
    return {key: _value(value) for key, value in struct.fields.items()}


def _value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return load(value.struct_value)
    if kind == "list_value":
        return [_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in (None, "null_value") else getattr(value, kind)


def dump(properties: PropertyMap) -> struct_pb2.Struct:
    """The wire form of a property map."""
    struct: struct_pb2.Struct = json_format.ParseDict(properties, struct_pb2.Struct())
    return struct


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def secret(value: Any) -> Any:
    """The value marked as a secret; a marked value is returned unchanged."""
    return value if is_secret(value) else {SIGNATURE: SECRET, "value": value}


def has_secret(value: Any) -> bool:
    """Whether the value, or any part of it, is marked as a secret."""
    if isinstance(value, dict):
        return is_secret(value) or any(map(has_secret, value.values()))
    return isinstance(value, list) and any(map(has_secret, value))


def plain(value: Any) -> Any:
    """The value without secret and output wrappers, at every depth."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) in (SECRET, OUTPUT):
            return plain(value.get("value", UNKNOWN))
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def is_unknown(value: Any) -> bool:
    return isinstance(value, str) and value in _UNKNOWNS


def is_asset(value: Any) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == ASSET


def is_archive(value: Any) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == ARCHIVE


def differences(old: Any, new: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """All differences of two plain values: (property path, "add", "delete" or "update")."""
    if _is_object(old) and _is_object(new):
        for key in sorted(old.keys() | new.keys()):
            path = _member(at, key)
            if key not in old or key not in new:
                yield path, "add" if key not in old else "delete"
            else:
                yield from differences(old[key], new[key], path)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            path = f"{at}[{index}]"
            if index >= len(old) or index >= len(new):
                yield path, "add" if index >= len(old) else "delete"
            else:
                yield from differences(old[index], new[index], path)
    elif _comparable(old) != _comparable(new):
        yield at, "update"


def top(path: str) -> str:
    """The top-level property of a path of `differences`."""
    if path.startswith('["'):
        return path[2:].split('"]', 1)[0].replace('\\"', '"')
    return path.split(".", 1)[0].split("[", 1)[0]


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and SIGNATURE not in value


def _comparable(value: Any) -> Any:
    # Assets with the same hash are equal, regardless of the path.
    if (is_asset(value) or is_archive(value)) and value.get("hash"):
        return value["hash"]
    # bool is an int in Python, but `true` is not 1 in a property map.
    return (type(value), value) if isinstance(value, bool) else value


def _member(at: str, key: str) -> str:
    if not any(character in key for character in '."[]'):
        return f"{at}.{key}" if at else key
    escaped = key.replace('"', '\\"')
    return f'{at}["{escaped}"]'
