"""What is wrong with a configuration, by the keys that the user wrote."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from config.created_database import CreatedMetadataDatabase
from config.field_types import FieldHelp
from config.metadata_database import MetadataDatabase
from config.model import Deployment
from omnibus import versions


@dataclass(frozen=True)
class ConfigError:
    """One refused value: where it is, what it is, what is expected, what it would break, a valid one.

    `code` names the kind of mistake, for tests, documentation and searches: it stays when words change.
    """

    code: str
    key: str
    value: str
    _: KW_ONLY
    expectation: str
    consequence: str
    example: str
    """A valid value, or the change that resolves a contradiction."""

    def __str__(self) -> str:
        parts = {"expected": self.expectation, "why": self.consequence, "example": self.example}
        return "\n".join(
            [f"{self.key}: {self.value} [{self.code}]", *(f"    {f'{k}:':9} {v}" for k, v in parts.items())]
        )


def report(source: str, errors: Sequence[ConfigError]) -> str:
    """All errors in one text, for a terminal. `source` is the file that has them."""
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    listed = "\n".join(f"  {error}".replace("\n", "\n  ") for error in errors)
    return f"{source} has {count}; nothing was touched.\n{_redact_urls(listed)}"


def _redact_urls(text: str) -> str:
    """URLs without user name, password and signature (behind the `?`)."""
    return re.sub(
        r"(://[^\s'\"?]*)\?[^\s'\"]*", r"\1?[secret]", re.sub(r"://[^/\s@]*:[^/\s@]*@", "://[secret]@", text)
    )


def from_pydantic(error: ValidationError, model: type[BaseModel] = Deployment) -> list[ConfigError]:
    """pydantic's errors, one per key (for a union, pydantic reports each of its branches)."""
    errors: dict[str, ConfigError] = {}
    for detail in error.errors(include_url=False):
        one = _config_error(detail, model)
        errors.setdefault(one.key, one)
    # A required key that is misspelled is one mistake.
    meant = {
        ".".join([*e.key.split(".")[:-1], e.example.split()[0]])
        for e in errors.values()
        if e.example.endswith(_MEANT)
    }
    return [e for e in errors.values() if e.code != "key-missing" or e.key not in meant]


_MEANT = "(did you mean this?)"


def _config_error(detail: ErrorDetails, model: type[BaseModel]) -> ConfigError:
    path = user_path(detail)
    key = ".".join(str(part) for part in path) or "(top level)"
    branches = {*detail["loc"]} - {*path}
    about, owner = _find_field(model, path, branches, of_name=_is_name(detail))
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(key, str(path[-1]), owner)
        case "missing":
            value = "missing"
        case "empty" | "not_in_yaml":
            value = detail["msg"]
        case _:
            value = "[secret]" if _is_secret(owner, path) else _shown(detail)
    return ConfigError(
        "name-invalid" if _is_name(detail) else CODES.get(detail["type"], "value-invalid"),
        key,
        value,
        expectation=about.expectation or _message(detail),
        consequence=about.consequence,
        example=about.example,
    )


def _unknown_key(key: str, name: str, owner: type[BaseModel] | None) -> ConfigError:
    if (unread := versions.UNREAD.get(name)) is not None:
        return ConfigError(
            "key-not-read",
            key,
            f"is read by {unread.by}",
            expectation="a key that the registry reads",
            consequence=unread.why,
            example=unread.way_out,
        )
    if owner is CreatedMetadataDatabase and name in MetadataDatabase.model_fields:
        return ConfigError(
            "database-created-and-existing",
            key,
            "provided together with create",
            expectation="create alone, or the address and login of a PostgreSQL that exists",
            consequence="the program could not tell which database the registry is to use",
            example="remove it, or remove create",
        )
    known = sorted(owner.model_fields) if owner else []
    near = difflib.get_close_matches(name.lower(), known, 1)
    return ConfigError(
        "key-unknown",
        key,
        "unknown key",
        expectation=f"one of {', '.join(known)}",
        consequence="the program would ignore it without a warning",
        example=f"{near[0]} {_MEANT}" if near else "remove it",
    )


_OF_MAPS = {"model_type", "model_attributes_type", "dict_type"}
_TYPES = {
    "bool_type": "true or false, without quotes",
    "string_type": "a string",
    "int_type": "a whole number",
    "list_type": "a list",
} | dict.fromkeys(_OF_MAPS, "a map")
_UNIONS = ("storage", "metadata_database")
CODES = {
    "missing": "key-missing",
    "empty": "value-empty",
    "not_in_yaml": "value-not-in-yaml",
} | dict.fromkeys(_TYPES, "value-type")


def _message(detail: ErrorDetails) -> str:
    """What pydantic expects if no `FieldHelp` says it: `Input should be 'a' or 'b'`."""
    return _TYPES.get(detail["type"], detail["msg"].removeprefix("Input should be "))


def _is_secret(owner: type[BaseModel] | None, path: Sequence[int | str]) -> bool:
    field = owner.model_fields.get(str(path[-1])) if owner and path else None
    return field is not None and "SecretStr" in str(field.annotation)


def _shown(detail: ErrorDetails) -> str:
    """The bad value, short; never one that may be secret."""
    value = detail["input"]
    secret = any(word in str(detail["loc"][-1:]) for word in ("private_key", "secret")) or (
        # A key that was pasted into the wrong place.
        isinstance(value, str) and "PRIVATE KEY" in value
    )
    if secret or isinstance(value, SecretStr):
        return "[secret]"
    if isinstance(value, dict | list):  # may contain a secret further down
        return f"{'a' if value else 'an empty'} {'map' if isinstance(value, dict) else 'list'}"
    if isinstance(value, str) and detail["type"] in _OF_MAPS:  # may be the secret that belongs in the map
        return "a string"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _is_name(detail: ErrorDetails) -> bool:
    """Whether the name of an entry in a map is wrong, as `sites.NAME`: pydantic puts `[key]` behind it."""
    return detail["loc"][-1:] == ("[key]",) and detail["type"] != "extra_forbidden"


def user_path(detail: ErrorDetails) -> list[int | str]:
    """The path of a refused value, in the user's keys only.

    pydantic appends `[key]` to a refused name, and to `_UNIONS` of a site the branch of the union that it
    tried: removed only there, since a user may have written the same words elsewhere.
    """
    path = [*detail["loc"]]
    if _is_name(detail):
        del path[-1]
    if path[:1] == ["sites"] and len(path) > 3 and path[2] in _UNIONS:
        del path[3]
    return path


def field_help(model: type[BaseModel], key: str) -> FieldHelp:
    """The help of a model's field, completed by that of its type."""
    return _help_of(model.model_fields[key].annotation, model.model_fields[key].metadata)


def _find_field(
    model: type[BaseModel], path: Sequence[int | str], branches: set[int | str], *, of_name: bool
) -> tuple[FieldHelp, type[BaseModel] | None]:
    """The help at a path, and the model that has the last key; for a union, the model in `branches`.

    With `of_name`, the last part is the name of an entry, and the help is about the name.
    """
    about = FieldHelp()
    kind: Any = model
    owner: type[BaseModel] | None = None
    for number, part in enumerate(path, start=1):
        models = list(_models(kind))
        models = [m for m in models if m.__name__ in branches] or models
        owner = next((m for m in models if part in m.model_fields), models[0] if models else None)
        if owner is not None and part in owner.model_fields:
            about = field_help(owner, str(part))
            kind = owner.model_fields[str(part)].annotation
        elif owner is None:
            kind = _inside(kind, 0 if of_name and number == len(path) else -1)
            # The field's expectation is about the whole list or map.
            about = _help_of(kind).over(replace(about, expectation=""))
    return about, owner


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for arg in get_args(annotation):
            yield from _models(arg)


def _inside(annotation: Any, position: int) -> Any:
    """The type of a list's items, of a map's values (position -1) or of its keys (0)."""
    args = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) in (Union, UnionType):  # `list[X] | None`
        return _inside(args[0], position)
    return args[position] if args else None


def _help_of(annotation: Any, metadata: Sequence[Any] = ()) -> FieldHelp:
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*inner, *metadata]
    about = FieldHelp()
    if get_origin(annotation) in (Union, UnionType):  # `X | None` has the help of X
        about = next((one for arg in get_args(annotation) if (one := _help_of(arg)) != about), about)
    for one in metadata:
        if isinstance(one, FieldHelp):
            about = one.over(about)
    return about
