"""YAML as administrators write it: forms mixed by chance, comments, several kinds of line ends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(["addr", "url", "level", "enabled", "s3", "token", "X-Opt", "a b", "http", "cache"])
TEXTS = st.sampled_from(
    [
        "info", "yes", "168h", ":443", "0644", "1:30", "", " padded ", "# no comment", "a: b", "it's", 'q"q', "[x",
        "ümläut", "http://x/y?z#w", "two\nlines\n", "ends\n\n\n", "- dash", "null", "~", "{}", "tab\there",
    ]
)  # fmt: skip
SCALARS = st.one_of(TEXTS, st.integers(-5, 5000), st.booleans(), st.none())
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.dictionaries(NAMES, inner, max_size=3), st.lists(inner, max_size=3)),
    max_leaves=8,
)
ENDPOINTS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["audit", "geo_event", "mirror"]), "url": TEXTS}),
    max_size=3,
    unique_by=lambda endpoint: endpoint["name"],
)
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=4)
DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just(0.1)},
    optional={
        "storage": MAPPINGS,
        "auth": MAPPINGS,
        "http": MAPPINGS,
        "notifications": st.fixed_dictionaries({"endpoints": st.one_of(ENDPOINTS, VALUES)}),
        "log": VALUES,
    },
).filter(bool)


class Writer:
    """Writes one value, each part of it in a form drawn by chance."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw, self.comments = draw, 0

    def document(self, value: dict[str, Any]) -> str:
        lines = [*self.remarks(0), *(self.mapping(value, 0) if value else ["{}"]), *self.remarks(0)]
        head = self._draw(st.sampled_from([[], ["---"], ["%YAML 1.1", "---"]]))
        foot = self._draw(st.sampled_from([[], [], ["..."]]))
        text = "\n".join([*head, *lines, *foot]) + self._draw(st.sampled_from(["\n", "", "\n\n"]))
        mark = self._draw(st.sampled_from(["", "", "\ufeff"])) if not head else ""
        return mark + text.replace("\n", self._draw(st.sampled_from(["\n", "\n", "\r\n"])))

    def mapping(self, value: dict[str, Any], indent: int) -> list[str]:
        lines = []
        for name, its in value.items():
            lines += [
                *self.remarks(indent),
                *self.entry(" " * indent + self.key(name) + ":", its, indent, ""),
            ]
        return lines

    def sequence(self, value: list[Any], indent: int) -> list[str]:
        lines = []
        for its in value:
            lines += [*self.remarks(indent), *self.entry(" " * indent + "-", its, indent, "- ")]
        return lines

    def entry(self, head: str, value: Any, indent: int, dash: str) -> list[str]:
        """A key or a dash, and its value beside or below it."""
        if not isinstance(value, dict | list) or not value or self._draw(st.booleans()):
            return self.beside(head, value, indent)
        deeper = indent + self._draw(st.sampled_from([2, 4, 3]))
        if isinstance(value, list):
            deeper = deeper if dash else self._draw(st.sampled_from([indent, deeper]))
            below = self.sequence(value, deeper)
        else:
            below = self.mapping(value, deeper)
        if dash and below[0].lstrip().startswith("#") is False and self._draw(st.booleans()):
            return [head + below[0][indent + 1 :], *below[1:]]
        return [head + self.remark(), *below]

    def beside(self, head: str, value: Any, indent: int) -> list[str]:
        if value is None and self._draw(st.booleans()):
            return [head + self.remark()]
        if isinstance(value, str) and "\n" in value and self._draw(st.booleans()):
            return self.literal(head, value, indent)
        return [head + self._draw(st.sampled_from([" ", "   "])) + self.flow(value) + self.remark()]

    def literal(self, head: str, value: str, indent: int) -> list[str]:
        content = value.rstrip("\n")
        ends = len(value) - len(content)
        sign = {0: "-", 1: ""}.get(ends, "+")
        body = [" " * (indent + 2) + line for line in content.split("\n")]
        return [f"{head} |{sign}{self.remark()}", *body, *[""] * max(0, ends - 1)]

    def flow(self, value: Any) -> str:
        space = self._draw(st.sampled_from(["", " "]))
        if isinstance(value, dict):
            inner = ", ".join(f"{self.key(k)}: {self.flow(v)}" for k, v in value.items())
            return "{" + space + inner + space + "}"
        if isinstance(value, list):
            return "[" + space + ", ".join(self.flow(v) for v in value) + space + "]"
        return self.scalar(value)

    def scalar(self, value: Any) -> str:
        if isinstance(value, bool):
            return self._draw(st.sampled_from(["true", "yes", "on"] if value else ["false", "no"]))
        if not isinstance(value, str):
            return json.dumps(value)
        plain = value in {"info", "168h", "it's", "ümläut"}
        single = "'" + value.replace("'", "''") + "'"
        quoted = [json.dumps(value, ensure_ascii=False)] + ([single] if "\n" not in value else [])
        return self._draw(st.sampled_from(quoted + ([value] if plain else [])))

    def key(self, name: str) -> str:
        return self._draw(st.sampled_from([name, json.dumps(name), f"'{name}'"]))

    def remark(self) -> str:
        if not self._draw(st.sampled_from([False, False, True])):
            return ""
        self.comments += 1
        return f"  # {self.comments} beside"

    def remarks(self, indent: int) -> list[str]:
        """Lines that say nothing: comments, commented-out settings, empty ones."""
        lines = []
        for form in self._draw(st.lists(st.sampled_from(["", "#", " # ", "#\t", "#x: "]), max_size=2)):
            self.comments += 1
            lines.append(f"{' ' * indent}{form}{self.comments} alone" if form else "")
        return lines


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A configuration file."""
    return Writer(draw).document(draw(DOCUMENTS))
