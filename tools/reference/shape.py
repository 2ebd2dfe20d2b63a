"""The typed model as pydantic's JSON schema, brought to one simple form that page and schema are made from.

Beside JSON schema's own words a node may have `x-help` (its `FieldHelp`), `x-nullable`, `x-default` (what
leaving it out means, where that is a value) and, of a driver's model, `x-driver` (its name).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

Shape: TypeAlias = dict[str, Any]

REF = "#/definitions/"


class _Generator(GenerateJsonSchema):
    """pydantic's own, less the titles, more on defaults, names in mappings and what a function chooses."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> Shape:
        found = super().model_schema(schema)
        del found["title"]
        found["description"] = " ".join(found["description"].split())
        driver = getattr(schema["cls"], "driver", None)
        return found | ({"x-driver": driver} if driver else {})

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Shape:
        return self.generate_inner(schema["schema"]) | {"x-nullable": True}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Shape:
        default = schema["default"] if "default" in schema else schema["default_factory"]()  # type: ignore[call-arg]
        # A model that may be left out has all its keys' defaults, which stand at the keys.
        says_something = default is not None and not isinstance(default, BaseModel)
        return self.generate_inner(schema["schema"]) | ({"x-default": default} if says_something else {})

    def dict_schema(self, schema: core_schema.DictSchema) -> Shape:
        found = super().dict_schema(schema)
        # pydantic leaves a name that matches no pattern to the validator, which takes it.
        return found | ({"additionalProperties": False} if "patternProperties" in found else {})

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> Shape:
        """Every branch, and an empty mapping in that one alone which the discriminator puts it in."""
        choose = schema["discriminator"]
        empty = choose({}) if callable(choose) else None
        branches = []
        for tag, choice in schema["choices"].items():
            branch = self.generate_inner(choice)
            branches.append(branch if tag == empty or "$ref" not in branch else branch | {"minProperties": 1})
        return {"anyOf": branches}


def shapes(model: type[BaseModel]) -> dict[str, Shape]:
    """Each model's name → its shape, with `model`'s own first."""
    found = model.model_json_schema(ref_template=REF + "{model}", schema_generator=_Generator)
    others: dict[str, Shape] = found.pop("$defs", {})
    return {model.__name__: found, **others}
