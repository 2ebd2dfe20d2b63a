"""A preview as data: the JSON of `pulumi preview --json` → `Preview`.

Values are taken from few inputs only: the settings of `components/node.py`, which refer to secrets by name,
and plain inputs of AWS resources. A command's `stdin` and `connection` are never read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.comment.resource_index import EXTERNAL, ResourceIndex, inputs_of, name_of, type_of
from tools.comment.sanitize import cut, masked

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The engine's placeholder for an unknown value (pulumi, sdk/go/common/resource/plugin/rpc.go)."""

NOTHING = ("same", "refresh", "read")
"""Operations that change nothing. With --refresh the engine lists every resource as `refresh`."""

FILES = {"gitlabgeo:index:Node": "gitlab.rb", EXTERNAL: "config.yml"}
"""The resources with settings, and the file of the settings."""

_HIDDEN = re.compile(r"(?i)secret|password|passphrase|private|token|stdin|user_?data|credential|certificate")
_LONGEST_VALUE = 200
_STEP = re.compile(r"-(existing-storage|verification|key-in-use|trust-\d+)$")
_NOT_ENDED = re.compile(
    r"Detected that (?:\S*/)?(\S+) exited prematurely(?:.*?streams of the plugin:)?(.*)", re.DOTALL
)


@dataclass(frozen=True)
class Change:
    """One resource that would change. `values`: input → (old, new) if shown; None for an absent side."""

    op: str
    type: str
    name: str
    site: str = ""
    node: str = ""
    inputs: tuple[str, ...] = ()
    values: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    retained: bool = False
    protected: bool = False
    external: bool = False
    """Whether it belongs to an external registry."""

    @property
    def component(self) -> bool:
        """A component, a provider, or what neither changes anything nor takes anything back when it goes."""
        return self.type.startswith(("gitlabgeo:", "pulumi:providers:")) or bool(_STEP.search(self.name))

    @property
    def dangerous(self) -> bool:
        return not self.component and any(word in self.op for word in ("delete", "replace"))


@dataclass(frozen=True)
class NodeSettings:
    """A node's lines of gitlab.rb, setting → Ruby, or an external registry's of config.yml, path → value.

    `old` is empty for a new node, `new` for a removed one.
    """

    site: str
    node: str
    roles: tuple[str, ...]
    old: Mapping[str, str]
    new: Mapping[str, str]
    file: str = "gitlab.rb"

    @property
    def changed(self) -> list[str]:
        """The settings that differ, sorted by name."""
        both = sorted({*self.old, *self.new})
        return [name for name in both if self.old.get(name) != self.new.get(name)]


@dataclass(frozen=True)
class Preview:
    """A whole preview; `errors` is not empty if it failed."""

    stack: str
    changes: tuple[Change, ...] = ()
    settings: tuple[NodeSettings, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def dangers(self) -> list[Change]:
        return [change for change in self.changes if change.dangerous]


def parse(text: str, stack: str, stderr: str = "") -> Preview:
    """Read the engine's JSON. Anything else is a failed preview, with the reason in `stderr`."""
    try:
        return _read(json.loads(text), stack)
    except (ValueError, TypeError, KeyError, AttributeError):
        message = stderr.strip() or text.strip() or "pulumi printed nothing"
        return Preview(stack, errors=(masked(message),))


def _read(document: Mapping[str, Any], stack: str) -> Preview:
    steps = [step for step in document.get("steps") or [] if step["op"] not in NOTHING]
    index = ResourceIndex(document.get("config") or {}, steps)
    diagnostics = document.get("diagnostics") or []
    return Preview(
        stack,
        tuple(_change(step, index) for step in steps),
        tuple(_settings(step, index) for step in steps if type_of(step["urn"]) in FILES),
        tuple(_messages(diagnostics, "error")),
        (*_messages(diagnostics, "warning"), *_not_ended(diagnostics)),
    )


def _change(step: Mapping[str, Any], index: ResourceIndex) -> Change:
    urn = step["urn"]
    state = step.get("newState") or step.get("oldState") or {}
    former = step.get("oldState") or {}
    old, new = inputs_of(step, "oldState"), inputs_of(step, "newState")
    site, node = index.of(urn, state.get("parent") or "")
    # Only with both sides: for a created or deleted resource every input differs.
    names = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n)] if old and new else []
    reasons = [*(step.get("diffReasons") or []), *(step.get("replaceReasons") or [])]
    return Change(
        step["op"],
        type_of(urn),
        name_of(urn),
        site,
        node,
        tuple(dict.fromkeys([*names, *reasons])),
        dict(_shown(type_of(urn), names, old, new)),
        bool(former.get("retainOnDelete")),
        bool(former.get("protect")),
        f"{EXTERNAL}$" in urn,
    )


def _shown(
    kind: str, names: list[str], old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    if not kind.startswith(("aws:", "gitlabgeo:")):
        return
    for name in names:
        if name != "settings" and not _HIDDEN.search(name):
            pair = _plain(old.get(name)), _plain(new.get(name))
            if pair != (None, None) and not any(side and "{" in side for side in pair):
                yield name, pair


def _plain(value: object) -> str | None:
    """A value in one short line, None if it is not a plain value."""
    if isinstance(value, list):
        parts = [_plain(one) for one in value]
        return None if None in parts else ", ".join(part or "" for part in parts) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return None
    return cut(_known(value), _LONGEST_VALUE)


def _known(value: object) -> str:
    return "(known after apply)" if value == UNKNOWN else masked(str(value))


def _settings(step: Mapping[str, Any], index: ResourceIndex) -> NodeSettings:
    old, new = inputs_of(step, "oldState"), inputs_of(step, "newState")
    return NodeSettings(
        *index.of(step["urn"], ""),
        tuple((new or old).get("roles") or ()),
        _lines(old),
        {} if step["op"] == "delete" else _lines(new),
        FILES[type_of(step["urn"])],
    )


def _lines(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The settings; none if they are not known yet."""
    value = inputs.get("settings")
    known = value if isinstance(value, dict) else {}
    return {key: _known(value) for key, value in known.items()}


def _words(diagnostic: Mapping[str, Any]) -> str:
    """The engine's message, without colors."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", str(diagnostic.get("message") or ""))
    return masked(message).strip().removeprefix("error: ")


def _messages(diagnostics: list[dict[str, Any]], severity: str) -> Iterator[str]:
    for one in diagnostics:
        text = _words(one)
        # Messages that the engine adds to every failure, without information.
        generic = text in ("preview failed", "update failed") or "program exited with non-zero" in text
        if one.get("severity") == severity and text and not generic and not _NOT_ENDED.match(text):
            yield text


def _not_ended(diagnostics: list[dict[str, Any]]) -> Iterator[str]:
    """The plugins that "exited prematurely" according to the engine, as one warning.

    The engine reports this, as an error and with exit status 0, for all plugins that do not end within five
    seconds after their work, even if it is complete (pulumi, pkg/host/host.go, `ReleaseContext`). A failure
    during the work has a separate error.
    """
    plugins: dict[str, str] = {}
    for one in diagnostics:
        if found := _NOT_ENDED.match(_words(one)):
            plugins[found[1]] = found[2].strip() or plugins.get(found[1], "")
    if plugins:
        named = ", ".join(f"{name}: {words}" if words else name for name, words in plugins.items())
        yield f"plugins that the engine could not stop cleanly: {named}"
