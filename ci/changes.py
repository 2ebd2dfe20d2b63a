"""What a preview says, as data: the JSON of `pulumi preview --json` → `Preview`.

Values are taken from few places only: the settings that `components/node.py` shows, which refer to secrets by
name, and plain inputs of AWS resources. A command's `stdin` and `connection` are never read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = "[secret]"  # noqa: S105 (what the engine writes for one)
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine writes for a value that is not known yet (pulumi, sdk/go/common/resource/plugin/rpc.go)."""

NOTHING = ("same", "refresh", "read")
"""Operations that change nothing. With --refresh the engine lists every resource as `refresh`."""

_HIDDEN = re.compile(r"(?i)secret|password|passphrase|private|token|stdin|user_?data|credential|certificate")
_LONGEST_VALUE = 200


@dataclass(frozen=True)
class Change:
    """One resource that would change. `values`: input → (old, new) of what may be shown, None if absent."""

    op: str
    type: str
    name: str
    site: str = ""
    node: str = ""
    inputs: tuple[str, ...] = ()
    values: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    retained: bool = False
    protected: bool = False

    @property
    def component(self) -> bool:
        """One of the program's own groupings: nothing is behind it but its parts."""
        return self.type.startswith("gitlabgeo:")

    @property
    def dangerous(self) -> bool:
        return not self.component and any(word in self.op for word in ("delete", "replace", "discard"))


@dataclass(frozen=True)
class NodeSettings:
    """A node's lines of gitlab.rb, setting → Ruby; `old` is empty for a new node, `new` for one that goes."""

    site: str
    node: str
    roles: tuple[str, ...]
    old: Mapping[str, str]
    new: Mapping[str, str]

    @property
    def changed(self) -> list[str]:
        """The settings that differ, in the order of their names."""
        both = sorted({*self.old, *self.new})
        return [name for name in both if self.old.get(name) != self.new.get(name)]


@dataclass(frozen=True)
class Preview:
    """A whole preview; `errors` is not empty where it failed."""

    stack: str
    changes: tuple[Change, ...] = ()
    settings: tuple[NodeSettings, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def dangers(self) -> list[Change]:
        return [change for change in self.changes if change.dangerous]


def parse(text: str, stack: str, stderr: str = "") -> Preview:
    """Read the engine's JSON. What is no JSON is a preview that failed, for the reason in `stderr`."""
    try:
        document = json.loads(text)
        steps = [step for step in document.get("steps") or [] if step["op"] not in NOTHING]
    except (ValueError, TypeError, KeyError, AttributeError):
        said = stderr.strip() or text.strip() or "pulumi said nothing"
        return Preview(stack, errors=(said,))
    where = _Places(document.get("config") or {}, steps)
    diagnostics = document.get("diagnostics") or []
    return Preview(
        stack,
        tuple(_change(step, where) for step in steps),
        tuple(_settings(step, where) for step in steps if _type(step["urn"]) == "gitlabgeo:index:Node"),
        tuple(_messages(diagnostics, "error")),
        tuple(_messages(diagnostics, "warning")),
    )


class _Places:
    """Which site and node a resource belongs to. Unchanged resources are not in the JSON, parents included,
    so it is told from the names of parents, and the nodes' sites from the configuration.
    """

    # Parent's type → what its name has behind the name of the site or node (components/*.py).
    SUFFIXES: Mapping[str, str] = {
        "Host": "-host",
        "CreatedSite": "-hosts",
        "SiteNetwork": "-network",
        "SiteFirewall": "-firewall",
        "StorageAccess": "-registry",
    }

    def __init__(self, config: Mapping[str, str], steps: list[dict[str, Any]]) -> None:
        self.sites: set[str] = set()
        self.nodes: dict[str, str] = {}
        for key, value in config.items():
            if key.endswith(":sites"):
                self._configured(value)
        for step in steps:
            kind, name = _type(step["urn"]), _name(step["urn"])
            inputs = _inputs(step, "newState") or _inputs(step, "oldState")
            if kind in ("gitlabgeo:index:PrimarySite", "gitlabgeo:index:SecondarySite"):
                self.sites.add(name)
            elif kind == "gitlabgeo:index:Node":
                self.nodes[name] = str(inputs.get("site", ""))

    def _configured(self, text: str) -> None:
        try:
            sites = json.loads(text)
            self.nodes |= {node: site for site, of in sites.items() for node in of.get("nodes", {})}
            self.sites |= set(sites)
        except (ValueError, AttributeError):
            return  # the whole of it is a secret, or not what it should be: the engine's message tells

    def of(self, urn: str, parent: str) -> tuple[str, str]:
        """(site, node), either of them "" where it is about more than one."""
        for at in (urn, parent):
            name, kind = _name(at), _type(at).rpartition(":")[2]
            plain = name.removesuffix(self.SUFFIXES.get(kind, ""))
            if kind in ("Node", "Host"):
                return self.nodes.get(plain, ""), plain
            if kind in ("PrimarySite", "SecondarySite") or kind in self.SUFFIXES:
                return plain, self._node_of_address(urn)
            if kind == "RegistryBucket" and plain in self.sites:
                return plain, ""
        return "", ""

    def _node_of_address(self, urn: str) -> str:
        node = _name(urn).removesuffix("-address")
        return node if _type(urn).endswith(":Eip") and node in self.nodes else ""


def _change(step: Mapping[str, Any], where: _Places) -> Change:
    urn = step["urn"]
    state = step.get("newState") or step.get("oldState") or {}
    former = step.get("oldState") or {}
    old, new = _inputs(step, "oldState"), _inputs(step, "newState")
    site, node = where.of(urn, state.get("parent") or "")
    # Of both sides only: what is created or deleted differs in everything.
    names = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n)] if old and new else []
    told = [*(step.get("diffReasons") or []), *(step.get("replaceReasons") or [])]
    return Change(
        step["op"],
        _type(urn),
        _name(urn),
        site,
        node,
        tuple(dict.fromkeys([*names, *told])),
        dict(_shown(_type(urn), names, old, new)),
        bool(former.get("retainOnDelete")),
        bool(former.get("protect")),
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
    """A value in one short line, None for what is no plain value."""
    if isinstance(value, list):
        parts = [_plain(one) for one in value]
        return None if None in parts else ", ".join(part or "" for part in parts) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return None
    text = "(known afterwards)" if value == UNKNOWN else str(value).replace(SECRET, "(secret)")
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def _settings(step: Mapping[str, Any], where: _Places) -> NodeSettings:
    name = _name(step["urn"])
    old, new = _inputs(step, "oldState"), _inputs(step, "newState")
    return NodeSettings(
        where.nodes.get(name, ""),
        name,
        tuple((new or old).get("roles") or ()),
        old.get("settings") or {},
        {} if step["op"] == "delete" else new.get("settings") or {},
    )


def _messages(diagnostics: list[dict[str, Any]], severity: str) -> Iterator[str]:
    for one in diagnostics:
        text = re.sub(r"\x1b\[[0-9;]*m", "", one.get("message", "")).strip().removeprefix("error: ")
        # What the engine adds to every failure, and what says nothing to a person.
        said_already = text in ("preview failed", "update failed") or "program exited with non-zero" in text
        if one.get("severity") == severity and text and not said_already:
            yield text


def _inputs(step: Mapping[str, Any], side: str) -> dict[str, Any]:
    found: dict[str, Any] = (step.get(side) or {}).get("inputs") or {}
    return found


def _type(urn: str) -> str:
    """`urn:pulumi:dev::project::gitlabgeo:index:Hosts$aws:ec2/eip:Eip::name` → `aws:ec2/eip:Eip`."""
    parts = urn.split("::", 3)
    return parts[2].rpartition("$")[2] if len(parts) == 4 else ""


def _name(urn: str) -> str:
    return urn.split("::", 3)[-1]
