"""The JSON schema of a whole `Pulumi.STACK.yaml`, for editors.

It takes what the program takes, as far as one value at a time shows it; what keys say together is found by
`pulumi preview`. Draft 7, which editors know best. How a file's values reach the program was tried with
Pulumi 3.259: an encrypted one arrives as text, and of the top level all but mappings and lists does.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from config.field_types import FieldHelp
from tools.reference.shape import REF, Shape, shapes

WIDTH = 110
SECURE: Shape = {
    "description": "A value that `pulumi config set --secret` has encrypted.",
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}
OF_THE_ENGINE: Shape = {
    "secretsprovider": {"type": "string", "description": "What encrypts the stack's secrets."},
    "encryptionsalt": {"type": "string", "description": "Written by Pulumi, for a passphrase."},
    "encryptedkey": {"type": "string", "description": "Written by Pulumi, for a key of a cloud."},
    "environment": {"description": "Environments of Pulumi ESC, which may hold any of the keys."},
}


def schema(model: type[BaseModel], namespace: str) -> Shape:
    """For the stacks of the project `namespace`, whose configuration is `model`."""
    known = shapes(model)
    top = known.pop(model.__name__)
    needed = [
        {"anyOf": [{"required": [f"{namespace}:{key}"]}, {"required": [key]}]} for key in top["required"]
    ]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Made from config/model.py by `make reference`.",
        "title": f"A stack of {namespace}",
        "type": "object",
        "properties": {"config": _config(top, namespace), **OF_THE_ENGINE},
        "if": {"required": ["environment"]},
        "else": {"required": ["config"], "properties": {"config": {"allOf": needed}}},
        "definitions": {
            "secure": SECURE,
            **{
                name: {"description": shape["description"], **_rule(shape)}
                for name, shape in sorted(known.items())
            },
        },
    }


def _config(top: Shape, namespace: str) -> Shape:
    """Our keys, with the project's name before them or without, and any of other namespaces."""
    keys = {f"{namespace}:{key}": _of_the_top(shape) for key, shape in top["properties"].items()}
    bare = {
        f"^{key}$": {"$ref": f"#/properties/config/properties/{namespace}:{key}"} for key in top["properties"]
    }
    return {
        "type": "object",
        "properties": keys,
        "patternProperties": {**bare, f"^(?!{namespace}:)[^:]+:": {}},
        "additionalProperties": False,
    }


def _of_the_top(shape: Shape) -> Shape:
    """A key that Pulumi keeps as text: `pulumi config set` writes `"false"`, and nothing arrives as "".

    A number is taken as text only by a key without a form: `18.10` would arrive as 18.1.
    """
    shape = {key: value for key, value in shape.items() if key != "x-nullable"}
    match shape.get("type"):
        case "boolean":
            return _value(shape, {"enum": ["true", "false"]})
        case "integer":
            return _value(shape, {"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"})
        case "string" if not {"pattern", "enum", "const"} & shape.keys():
            return _value(shape, {"type": ["number", "boolean"]})
    return _value(shape)


def _value(shape: Shape, *others: Shape) -> Shape:
    """A key's value: its rule, and beside it what is encrypted, nothing at all, or `others`."""
    options = [_rule(branch) for branch in shape.get("anyOf", [shape])]
    if any(option.get("type") == "string" for option in options):
        options.append({"$ref": f"{REF}secure"})
    options += [{"type": "null"}] if shape.get("x-nullable") else []
    options += others
    notes = _notes(shape)
    if len(options) > 1:
        return notes | {"anyOf": options}
    # What stands beside a reference is not read in draft 7.
    return notes | {"allOf": options} if notes and "$ref" in options[0] else notes | options[0]


def _rule(shape: Shape) -> Shape:
    """What a value must be, less what is said about it."""
    said = {"description", "format", "writeOnly", "propertyNames"}
    rule = {key: shape[key] for key in ("type", *shape) if key in shape.keys() - said and key[:2] != "x-"}
    for key in ("properties", "patternProperties"):
        if key in rule:
            rule[key] = {name: _value(inner) for name, inner in rule[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(rule.get(key), dict):
            rule[key] = _value(rule[key])
    if "$ref" in rule and len(rule) > 1:
        rule = {"allOf": [{"$ref": rule.pop("$ref")}], **rule}
    return rule


def _notes(shape: Shape) -> dict[str, Any]:
    """What an editor shows of a key."""
    about: FieldHelp | None = shape.get("x-help")
    default = shape.get("x-default")
    notes: Shape = {}
    # What has no description is the item of a list, or an entry of a map.
    if about and about.description:
        lines = [
            about.description,
            about.expectation and f"Expected: {about.expectation}",
            f"Why: {about.consequence}",
        ]
        lines += ["Secret: pulumi config set --secret --path"] if shape.get("writeOnly") else []
        notes["description"] = "\n".join(filter(None, [*lines, f"Example: {about.example}"]))
    return notes | ({"default": default} if default not in (None, "", [], {}) else {})


def text(value: Any, indent: str = "") -> str:
    """JSON with a line for all that fits on one, so that people can read what changed."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent + short) <= WIDTH or not isinstance(value, dict | list) or not value:
        return short
    deeper = indent + "  "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(key)}: {text(inner, deeper)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + text(inner, deeper) for inner in value) + f"\n{indent}]"
