"""What we have put on a host: the two files with our values in them, and what they would be without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import report
from .document import Document, Tree, Unreadable
from .edits import applied, reverted
from .files import read, sha256
from .report import Failure
from .rewrite import Refused, rewrite

Contents = Any
"""path → its bytes, or None where there is to be no such file."""
_BY_HAND = (
    "put the lines in by hand: without `hosts` in external_registry they come as the output registry_config"
)


class Held:
    """The state of one host. `fields` is empty where nothing is ours."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "state.json"
        self.fields: dict[str, Any] = json.loads(read(self.file) or "{}")

    @property
    def holder(self) -> tuple[Any, Any]:
        return self.fields.get("owner"), self.fields.get("resource")

    def contents(self, order: dict[str, Any]) -> Contents:
        """All files as the order wants them, the state first; former ones too, where its paths are others."""
        fields, path = self.fields, order["config"]
        found: Contents = {str(self.file): None}
        here = fields.get("config") == path
        if fields and not here:
            found.update(self.former_config())
        if fields and fields["certificate"] != order["certificate"]:
            found.update(self.former_certificate())
        now = text(path)
        original = self._original(now) if here else now
        # Edited by somebody since: from the text as it is now, so that what they did stays as they did it.
        start = original if here and self._unedited(now) else now
        new = rewritten(path, start, applied(tree(original), order["edits"]))
        certificate = order["certificate_text"].encode()
        found[order["certificate"]] = certificate
        found[path] = new.encode()
        found[str(self.file)] = _json(
            {
                **{k: order[k] for k in ("owner", "resource", "config", "certificate", "edits")},
                "original": original,
                "written": sha256(new.encode()),
                "certificate_before": self._certificate_before(order["certificate"]),
                "certificate_written": sha256(certificate),
                "agreed": agreement(order),
            }
        )
        return found

    def former_contents(self) -> Contents:
        """All files without us."""
        return {**self.former_certificate(), **self.former_config(), str(self.file): None}

    def former_config(self) -> Contents:
        """Nothing where the file is gone."""
        path = self.fields["config"]
        return {} if read(path) is None else {path: self._original(text(path)).encode()}

    def former_certificate(self) -> Contents:
        """Nothing where somebody has put another there since."""
        path, before = self.fields["certificate"], self.fields["certificate_before"]
        there = read(path)
        if there is not None and sha256(there) != self.fields["certificate_written"]:
            return {}
        return {path: None if before is None else before.encode(errors="surrogateescape")}

    def _certificate_before(self, path: str) -> str | None:
        if self.fields.get("certificate") == path:
            return self.fields["certificate_before"]  # type: ignore[no-any-return]
        found = read(path)
        return None if found is None else found.decode(errors="surrogateescape")

    def _unedited(self, now: str) -> bool:
        return bool(sha256(now.encode()) == self.fields["written"])

    def _original(self, now: str) -> str:
        """What the configuration would be without us: as it was, or with what was edited since."""
        if self._unedited(now):
            return str(self.fields["original"])
        without = reverted(tree(now), tree(self.fields["original"]), self.fields["edits"])
        return rewritten(self.fields["config"], now, without)


def agreement(order: dict[str, Any]) -> list[str]:
    """What GitLab's nodes must be told too: where this differs from the last proof, they may be underway."""
    events = order["events"]
    return [events["url"], sha256(events["secret"].encode())] if events else []


def text(path: str) -> str:
    """A configuration; what is secret in it is never shown."""
    data = read(path)
    if data is None:
        raise Failure(
            f"there is no {path}",
            cause="it should be the registry's configuration",
            remedy="check `config` of this host, then `pulumi up` again",
        )
    try:
        found = data.decode()
        report.learn_from(tree(found))
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8") from None
    except Unreadable as error:
        raise _refused(path, str(error)) from None
    return found


def rewritten(path: str, start: str, new: Tree) -> str:
    """The text made to say `new`, as a Failure where that cannot be done."""
    try:
        return rewrite(start, new)
    except Refused as error:
        raise _refused(path, str(error)) from None


def _refused(path: str, why: str) -> Failure:
    return Failure(f"{path} cannot be edited without changing more of it", cause=why, remedy=_BY_HAND)


def tree(of: str) -> Tree:
    return Document(of).root.tree


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=1).encode()
