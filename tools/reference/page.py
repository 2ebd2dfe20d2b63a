"""The reference as a page: a section for each map of the configuration, a row for each key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel

from config.field_types import FieldHelp
from omnibus import versions
from tools.reference.shape import REF, Shape, shapes

INTRO = """\
# Configuration

<!-- Made by `make reference` from the models in config/; a test compares. Change those, not this page. -->

Every key of `Pulumi.STACK.yaml`, made by `make reference` from the typed models that read it. Keys of the top
level stand below `config:` with the project's name before them: `{namespace}:{first}`. Errors are reported
before anything is touched, first all wrong values, then all contradictions between right ones, each with its
key, its value, what is expected, why, and an example.

- **In your editor:** the line `# yaml-language-server: $schema=docs/stack.schema.json` on top of a file lets
  editors with the YAML language server (VS Code, Neovim, Emacs and others) complete keys, describe each key
  and mark errors.
- **Secrets:** set what is marked *secret* by `pulumi config set --secret --path`; it is encrypted in the file
  and in the stack's state, and shown nowhere. Any other string may be encrypted in the file; it is plain text
  in the state. Numbers, booleans, lists and maps cannot be.
- **Quotes:** put a string that looks like a number in quotes. Without them Pulumi reads `18.10` as 18.1.
- **Versions:** GitLab {oldest} or later; the description names keys that need another version.
"""

RENAMED = """\
## What GitLab has renamed

You write the names above. What stands on a node follows `gitlab_version`:

| name | until GitLab | name from then on | source |
|---|---|---|---|
"""
Row = TypeVar("Row", versions.Limit, versions.Renamed)
ROWS = "| key | type | default | description | expected | example |\n|---|---|---|---|---|---|"


class Page:
    """The walk through the model, from the top to each map below it."""

    def __init__(self, model: type[BaseModel], namespace: str) -> None:
        self.known = shapes(model)
        self.top = model.__name__
        self.namespace = namespace
        self.places: dict[str, list[str]] = {}
        """Model's name → the keys where it stands."""
        self.driver: dict[str, str] = {}
        self._visit(self.top, "", "")

    def _visit(self, name: str, path: str, driver: str) -> None:
        shape = self.known[name]
        driver = shape.get("x-driver", driver)
        self.driver.setdefault(name, driver)
        self.places.setdefault(name, []).append(path)
        for key, value in shape["properties"].items():
            for inner, suffix in _maps(value):
                self._visit(inner, f"{path}.{key}{suffix}".lstrip("."), driver)

    def text(self) -> str:
        first = next(iter(self.known[self.top]["properties"]))
        oldest = ".".join(map(str, versions.OLDEST))
        parts = [INTRO.format(namespace=self.namespace, first=first, oldest=oldest)]
        parts += [self._contents(), *map(self._section, self.places), _renamed()]
        return "\n".join(parts)

    def _heading(self, name: str) -> str:
        if name == self.top:
            return "Top level"
        place = self._place(name)
        # Two kinds of map at one place differ in their first key.
        first = next(other for other in self.places if other != self.top and self._place(other) == place)
        key = "" if name == first else f" with `{next(iter(self.known[name]['properties']))}`"
        return f"`{place}`{key}"

    def _place(self, name: str) -> str:
        return min(self.places[name], key=lambda path: path.count("."))

    def _link(self, name: str, words: str) -> str:
        # As GitHub and GitLab make it from a heading.
        return f"[{words}](#{re.sub(r'[^a-z0-9_ -]', '', self._heading(name).lower()).replace(' ', '-')})"

    def _contents(self) -> str:
        lines = [f"- {self._link(n, self._heading(n))}: {self._says(n)}" for n in self.places]
        return "\n".join(lines) + "\n"

    def _says(self, name: str) -> str:
        return str(self.known[name]["description"])

    def _section(self, name: str) -> str:
        shape = self.known[name]
        others = [f"`{path}`" for path in self.places[name] if path != self._place(name)]
        also = f" Also: {', '.join(others)}." if others else ""
        rows = [self._row(name, key, value) for key, value in shape["properties"].items()]
        return "\n".join([f"## {self._heading(name)}\n\n{self._says(name)}{also}\n", ROWS, *rows, ""])

    def _row(self, name: str, key: str, shape: Shape) -> str:
        about: FieldHelp = shape["x-help"]
        needed = key in self.known[name].get("required", ())
        cells = [
            f"`{key}`",
            self._type(shape),
            "required" if needed else _default(shape.get("x-default")),
            " ".join([_sentence(about.description), *_limits(self.driver[name], key)]),
            about.expectation,
            f"`{about.example}`",
        ]
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    def _type(self, shape: Shape) -> str:
        if "anyOf" in shape:
            return " or ".join(self._type(branch) for branch in shape["anyOf"])
        if "$ref" in shape:
            name = shape["$ref"].removeprefix(REF)
            return f"map {self._link(name, self._heading(name))}"
        if "const" in shape:
            return f"`{_yaml(shape['const'])}`"
        match shape["type"]:
            case "array":
                return f"list of {self._type(shape['items'])}"
            case "object":
                inner = next(iter(shape.get("patternProperties", {}).values()), shape["additionalProperties"])
                return f"map of names to {self._type(inner).removeprefix('map ')}"
        return f"{shape['type']}, *secret*" if shape.get("writeOnly") else str(shape["type"])


def _maps(shape: Shape) -> Iterator[tuple[str, str]]:
    """The models that a key's value may be, and what then comes between the key and theirs."""
    if "$ref" in shape:
        yield shape["$ref"].removeprefix(REF), ""
    for branch in shape.get("anyOf", ()):
        yield from _maps(branch)
    for inner in shape.get("patternProperties", {}).values():
        for name, suffix in _maps(inner):
            yield name, f".{re.findall('[A-Z][a-z0-9]*', name)[-1].upper()}{suffix}"
    if "items" in shape:
        for name, suffix in _maps(shape["items"]):
            yield name, f"[]{suffix}"


def _default(value: Any) -> str:
    return "" if value in (None, "", [], {}) else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("." if text and not text.endswith(".") else "")


def _limits(driver: str, key: str) -> Iterator[str]:
    """What a key has to do with GitLab's version and with other keys of its driver."""
    for limit in [*versions.LIMITS, *_rows(versions.Limit)]:
        if (limit.driver, limit.key) in ([(driver, key)] if driver else [(key, ""), ("registry", key)]):
            values = ", ".join(f"`{value}`" for value in limit.values)
            since = f"{values}: {limit.range}." if values else _sentence(limit.range)
            yield f"*{since}* Otherwise: {limit.way_out}."
    for pair in versions.EXCLUSIVES:
        if pair.driver == driver and key in pair.keys:
            [other] = set(pair.keys) - {key}
            yield f"Not beside `{other}`: {pair.why}."


def _renamed() -> str:
    lines = [
        f"| `{row.before}` | {row.since[0]}.{row.since[1]} | `{row.after}` | {row.source} |"
        for row in _rows(versions.Renamed)
    ]
    return RENAMED + "\n".join(lines) + "\n"


def _rows(kind: type[Row]) -> list[Row]:
    """What stands by itself in the table of versions."""
    return [row for row in vars(versions).values() if isinstance(row, kind)]
