"""What is wrong with a configuration, in the words of the person who wrote it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from omnibus import versions
from omnibus.fields import Doc
from omnibus.model import Deployment


@dataclass(frozen=True)
class Problem:
    """One refused value: where it stands, what it is, what it would do, what would be right."""

    key: str
    value: str
    consequence: str
    example: str

    def __str__(self) -> str:
        return f"{self.key}: {self.value}\n    why:     {self.consequence}\n    example: {self.example}"


def report(source: str, problems: Sequence[Problem]) -> str:
    """All problems at once, for a terminal. `source` is the file they stand in."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    listed = "\n".join(f"  {p}".replace("\n", "\n  ") for p in problems)
    return f"{source} has {count}; nothing was touched.\n{_hidden(listed)}"


def _hidden(text: str) -> str:
    """URLs without what belongs into none: a name with its password, and a signature behind the `?`."""
    return re.sub(
        r"(://[^\s'\"?]*)\?[^\s'\"]*", r"\1?[secret]", re.sub(r"://[^/\s@]*:[^/\s@]*@", "://[secret]@", text)
    )


def from_validation(error: ValidationError, model: type[BaseModel] = Deployment) -> list[Problem]:
    """pydantic's errors as problems, one for each place (a union reports each of its branches)."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        problem = _problem(detail, model)
        found.setdefault(problem.key, problem)
    # A key that is needed and misspelt is one mistake.
    meant = {
        ".".join([*p.key.split(".")[:-1], p.example.split()[0]])
        for p in found.values()
        if p.example.endswith(_MEANT)
    }
    return [p for p in found.values() if p.value != "missing" or p.key not in meant]


_MEANT = "(did you mean this?)"


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    where = place(detail)
    key = ".".join(str(part) for part in where) or "(top level)"
    doc, owner = _find(model, where, {*detail["loc"]} - {*where})
    consequence, example = (
        (doc.consequence, doc.example) if doc else ("the program would not know what is meant", "")
    )
    match detail["type"]:
        case "extra_forbidden":
            if (no_use := versions.UNREAD.get(str(where[-1]))) is not None:
                return Problem(key, f"is read by {no_use.by}", no_use.why, no_use.way_out)
            known = sorted(owner.model_fields) if owner else []
            near = difflib.get_close_matches(str(where[-1]).lower(), known, 1)
            return Problem(
                key,
                "unknown key",
                "it would be ignored without a word",
                f"{near[0]} {_MEANT}" if near else "known here: " + ", ".join(known),
            )
        case "missing":
            return Problem(key, "missing", consequence, example)
        case "empty" | "not_in_yaml":
            return Problem(key, detail["msg"], consequence, example)
        case kind:
            value = "[secret]" if _secret(owner, where) else _shown(detail)
            return Problem(key, f"{value} {_complaint(kind, detail['msg'])}", consequence, example)


def _secret(owner: type[BaseModel] | None, where: Sequence[int | str]) -> bool:
    field = owner.model_fields.get(str(where[-1])) if owner and where else None
    return field is not None and "SecretStr" in str(field.annotation)


def _complaint(kind: str, message: str) -> str:
    if kind in ("string_pattern_mismatch", "value_error"):
        return "is not of the right form"
    if kind in _OF_MAPPINGS:
        return "is refused: input should be a mapping"
    return f"is refused: {message[0].lower()}{message[1:]}"


_OF_MAPPINGS = {"model_type", "model_attributes_type", "dict_type"}


def _shown(detail: ErrorDetails) -> str:
    """The bad value, short; never one that may be secret."""
    value = detail["input"]
    secret = any(word in str(detail["loc"][-1:]) for word in ("private_key", "secret")) or (
        # One that was pasted where it does not belong.
        isinstance(value, str) and "PRIVATE KEY" in value
    )
    if secret or isinstance(value, SecretStr):
        return "[secret]"
    if isinstance(value, dict | list):  # may hold a secret further down
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and detail["type"] in _OF_MAPPINGS:  # may be the secret that belongs into it
        return "a text"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def place(detail: ErrorDetails) -> list[int | str]:
    """Where a refused value stands, in the user's keys alone.

    pydantic adds `[key]` behind a key that is itself refused, and behind `sites.NAME.storage` the form that
    it took the value for: only there, since a user may have written the same words elsewhere.
    """
    where = [*detail["loc"]]
    if where[-1:] == ["[key]"] and detail["type"] != "extra_forbidden":
        del where[-1]
    if where[:1] == ["sites"] and where[2:3] == ["storage"]:
        del where[3:4]
    return where


def document(model: type[BaseModel], key: str) -> Doc | None:
    """What a refusal of that key says, whatever is wrong with its value."""
    return _find(model, [key], set())[0]


def _find(
    model: type[BaseModel], where: Sequence[int | str], forms: set[int | str]
) -> tuple[Doc | None, type[BaseModel] | None]:
    """The `Doc` at a location and the model that the last key stands in, which of a union's is in `forms`."""
    doc: Doc | None = None
    at: Any = model
    owner: type[BaseModel] | None = None
    for part in where:
        models = list(_models(at))
        models = [m for m in models if m.__name__ in forms] or models
        owner = next((m for m in models if part in m.model_fields), models[0] if models else None)
        if owner is not None and part in owner.model_fields:
            field = owner.model_fields[str(part)]
            doc = _nearest(field.metadata) or _doc_of(field.annotation) or doc
            at = field.annotation
        elif owner is None:
            at = _inside(at)
            doc = _doc_of(at) or doc
    return doc, owner


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for arg in get_args(annotation):
            yield from _models(arg)


def _inside(annotation: Any) -> Any:
    """The type of a mapping's values or a list's items."""
    args = [a for a in get_args(annotation) if a is not type(None)]
    return args[-1] if args else None


def _doc_of(annotation: Any) -> Doc | None:
    if get_origin(annotation) in (Union, UnionType):  # `X | None` is documented where X is
        return next((doc for arg in get_args(annotation) if (doc := _doc_of(arg))), None)
    return _nearest(getattr(annotation, "__metadata__", ()))


def _nearest(metadata: Sequence[Any]) -> Doc | None:
    """The field's own stands after that of the kind of value it is."""
    return next((one for one in reversed(metadata) if isinstance(one, Doc)), None)
