"""The files that this program changes on a host, with and without its values, and its state file."""

from __future__ import annotations

import json
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import report
from .document import Document, Tree, Unreadable
from .edits import applied, reverted
from .files import read, sha256
from .report import Failure
from .rewrite import Refused, rewrite

Contents = Any
"""Path → bytes, or None for a file to delete."""
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_MANUALLY = (
    "add the lines yourself: without `hosts` in external_registry, they are the output registry_config"
)


class HostState:
    """The state of one host. `fields` is empty if this program has changed nothing there."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "state.json"
        self.fields: dict[str, Any] = json.loads(read(self.file) or "{}")

    @property
    def manager(self) -> tuple[Any, Any]:
        return self.fields.get("owner"), self.fields.get("resource")

    def contents(self, order: dict[str, Any]) -> Contents:
        """All desired files, the state first; and those at former paths, if the paths changed."""
        fields, path = self.fields, order["config"]
        contents: Contents = {str(self.file): None}
        same_path = fields.get("config") == path
        if fields and not same_path:
            contents.update(self.former_config())
        if fields and fields["certificate"] != order["certificate"]:
            contents.update(self.former_certificate())
        now = text(path)
        original = self._original(now) if same_path else now
        # If it was edited since, start from the current text, so that the edits stay as they are.
        start = original if same_path and self._unedited(now) else now
        new = rewritten(path, start, applied(tree(original), order["edits"]))
        certificate = order["certificate_text"].encode()
        contents[order["certificate"]] = certificate
        contents[path] = new.encode()
        contents[str(self.file)] = _json(
            {
                **{k: order[k] for k in ("owner", "resource", "config", "certificate", "edits")},
                "original": original,
                "written": sha256(new.encode()),
                "certificate_before": self._certificate_before(order),
                "certificate_written": sha256(certificate),
            }
        )
        return contents

    def trusting(self, bundle: str) -> Contents:
        """The certificate's file with these certificates, too, and the state; nothing if it has them."""
        path = self.fields["certificate"]
        now = (read(path) or b"").decode(errors="surrogateescape")
        present = fingerprints(now)
        if not fingerprints(bundle).keys() - present.keys():
            return {}
        kept = [pem for one, pem in present.items() if one not in fingerprints(bundle)]
        data = "\n".join([bundle.rstrip("\n"), *kept, ""]).encode() if kept else bundle.encode()
        return {path: data, str(self.file): _json({**self.fields, "certificate_written": sha256(data)})}

    def former_contents(self) -> Contents:
        """All files without this program's values."""
        return {**self.former_certificate(), **self.former_config(), str(self.file): None}

    def former_config(self) -> Contents:
        """Nothing if the file no longer exists."""
        path = self.fields["config"]
        return {} if read(path) is None else {path: self._original(text(path)).encode()}

    def former_certificate(self) -> Contents:
        """Nothing if it was replaced since."""
        path, before = self.fields["certificate"], self.fields["certificate_before"]
        now = read(path)
        if now is not None and sha256(now) != self.fields["certificate_written"]:
            return {}
        return {path: None if before is None else before.encode(errors="surrogateescape")}

    def _certificate_before(self, order: dict[str, Any]) -> str | None:
        """What is restored when the settings are removed: nothing that was replaced after a leak."""
        path: str = order["certificate"]
        if self.fields.get("certificate") == path:
            before = self.fields["certificate_before"]
        else:
            data = read(path)
            before = None if data is None else data.decode(errors="surrogateescape")
        if before and fingerprints(before).keys() & {*order["revoked"]}:
            return str(order["certificate_text"])
        return before  # type: ignore[no-any-return]

    def _unedited(self, now: str) -> bool:
        return bool(sha256(now.encode()) == self.fields["written"])

    def _original(self, now: str) -> str:
        """The configuration without this program's values: as it was, or with later edits."""
        if self._unedited(now):
            return str(self.fields["original"])
        without = reverted(tree(now), tree(self.fields["original"]), self.fields["edits"])
        return rewritten(self.fields["config"], now, without)


def text(path: str) -> str:
    """A configuration; its secrets are redacted from all output."""
    data = read(path)
    if data is None:
        raise Failure(
            "registry-config-missing",
            f"there is no {path}",
            cause="it should be the registry's configuration",
            remedy="check `config` of this host, then `pulumi up` again",
        )
    try:
        config = data.decode()
        report.redact_config(tree(config))
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8") from None
    except Unreadable as error:
        raise _refused(path, str(error)) from None
    return config


def rewritten(path: str, start: str, new: Tree) -> str:
    """The text with the values of `new`. Raises Failure if that is impossible."""
    try:
        return rewrite(start, new)
    except Refused as error:
        raise _refused(path, str(error)) from None


def _refused(path: str, why: str) -> Failure:
    what = f"{path} cannot be edited without changing more of it"
    return Failure("registry-config-not-editable", what, cause=why, remedy=_MANUALLY)


def fingerprints(text: str) -> dict[str, str]:
    """The certificates in a text: SHA-256 of the DER, in hex → PEM."""
    found = {}
    for pem in _CERTIFICATE.findall(text):
        with suppress(ValueError):
            found[sha256(ssl.PEM_cert_to_DER_cert(pem))] = pem
    return found


def tree(config: str) -> Tree:
    return Document(config).root.tree


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=1).encode()
