"""Files that are there whole or not at all, and a change of several of them that can be taken back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any


def read(path: Path | str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: Path | str, data: bytes, mode: int) -> None:
    """At once, with owner, mode, ACL and SELinux context of what is there; `mode` is for what is new.

    Where a link points, not over it.
    """
    target = Path(path).resolve()
    copy = target.with_name(f".{target.name}.geo-registry-new")
    try:
        new = not target.exists()
        if not new:
            clone(target, copy)
        with open(copy, "wb", opener=_private) as file:
            file.write(data)
            if new:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        copy.replace(target)
        _sync(target.parent)
    except OSError:
        remove(copy)
        raise


def clone(source: Path, copy: Path) -> None:
    """With all that belongs to it; at no moment can somebody read it who cannot read the source."""
    try:
        remove(copy)
        with open(copy, "xb", opener=_private) as file:
            file.write(source.read_bytes())
        its = source.stat()
        os.chown(copy, its.st_uid, its.st_gid)
        shutil.copystat(source, copy)
    except OSError:
        remove(copy)
        raise


def remove(path: Path | str) -> None:
    with suppress(FileNotFoundError):
        Path(path).unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(handle)
        os.close(handle)


class Change:
    """Several files changed together, with a journal in `directory` while it has not come to its end.

    Whoever finds a journal takes the change back first. That only renames copies made beforehand, so it needs
    no space on a full disk.
    """

    def __init__(self, directory: Path, files: list[dict[str, Any]]) -> None:
        self._journal = directory / "journal.json"
        self._directory, self.files = directory, files

    @classmethod
    def make(cls, directory: Path, contents: dict[str, bytes | None], modes: dict[str, int]) -> Change:
        """path → its bytes, or None to delete it; `modes` of new files. Raises OSError with all as it was."""
        change, owed = cls(directory, []), read(directory / "journal.json") is not None
        try:
            for path, data in contents.items():
                change.files.append(_prepared(path, data))
            change.keep()
            for path, data in contents.items():
                if data is None:
                    remove(path)
                else:
                    write(path, data, modes.get(path, 0o600))
        except OSError:
            change.take_back()
            change.end()
            if owed:
                with suppress(OSError):
                    cls(directory, []).keep()
            raise
        return change

    @classmethod
    def left(cls, directory: Path) -> Change | None:
        """A change that was cut off (power, kill -9), if there is one."""
        journal = read(directory / "journal.json")
        return None if journal is None else cls(directory, json.loads(journal))

    def keep(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(self._journal, json.dumps(self.files).encode(), 0o600)

    @property
    def edited(self) -> bool:
        """Whether somebody has changed one of the files since: then they are theirs."""
        now = [(read(file["path"]), file) for file in self.files]
        return any(data is not None and sha256(data) not in (f["written"], f["before"]) for data, f in now)

    def take_back(self) -> None:
        for file in self.files:
            if file["former"] is None:
                remove(file["path"])
            elif Path(file["former"]).exists():
                Path(file["former"]).replace(file["path"])

    def end(self) -> None:
        remove(self._journal)
        for file in self.files:
            if file["former"]:
                remove(file["former"])
        with suppress(OSError):
            self._directory.rmdir()  # unless our state is in it


def _prepared(path: str, data: bytes | None) -> dict[str, Any]:
    target = Path(path).resolve()
    written = None if data is None else sha256(data)
    if not target.exists():
        return {"path": path, "former": None, "before": None, "written": written}
    former = target.with_name(f".{target.name}.geo-registry-former")
    clone(target, former)
    before = sha256(former.read_bytes())
    return {"path": str(target), "former": str(former), "before": before, "written": written}
