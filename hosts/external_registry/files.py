"""Writes files atomically, and changes several of them in a transaction that can be rolled back."""

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
    """Replace a file atomically; owner, mode, ACL and SELinux context stay. `mode`: of a new file.

    A link's target is replaced, the link stays.
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
    """Including its metadata. The copy is never readable by anyone who cannot read the source."""
    try:
        remove(copy)
        with open(copy, "xb", opener=_private) as file:
            file.write(source.read_bytes())
        status = source.stat()
        os.chown(copy, status.st_uid, status.st_gid)
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


class FileTransaction:
    """Changes several files together, with a journal in `directory` until it is committed.

    A run that finds a journal rolls it back first. That only renames copies that were made beforehand, so it
    needs no space on a full disk.
    """

    def __init__(self, directory: Path, files: list[dict[str, Any]]) -> None:
        self._journal = directory / "journal.json"
        self._directory, self.files = directory, files

    @classmethod
    def write(
        cls, directory: Path, contents: dict[str, bytes | None], modes: dict[str, int]
    ) -> FileTransaction:
        """Path → bytes, or None to delete; `modes`: of new files. Raises OSError with no file changed."""
        transaction, incomplete = cls(directory, []), read(directory / "journal.json") is not None
        try:
            for path, data in contents.items():
                transaction.files.append(_prepared(path, data))
            transaction.save_journal()
            for path, data in contents.items():
                if data is None:
                    remove(path)
                else:
                    write(path, data, modes.get(path, 0o600))
        except OSError:
            transaction.rollback()
            transaction.commit()
            if incomplete:
                with suppress(OSError):
                    cls(directory, []).save_journal()
            raise
        return transaction

    @classmethod
    def interrupted(cls, directory: Path) -> FileTransaction | None:
        """The transaction of an interrupted run (power, kill -9), if there is one."""
        journal = read(directory / "journal.json")
        return None if journal is None else cls(directory, json.loads(journal))

    def save_journal(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(self._journal, json.dumps(self.files).encode(), 0o600)

    @property
    def edited(self) -> bool:
        """Whether one of the files was edited since: then all of them stay as they are."""
        now = [(read(file["path"]), file) for file in self.files]
        return any(data is not None and sha256(data) not in (f["written"], f["before"]) for data, f in now)

    def rollback(self) -> None:
        for file in self.files:
            if file["former"] is None:
                remove(file["path"])
            elif Path(file["former"]).exists():
                Path(file["former"]).replace(file["path"])

    def commit(self) -> None:
        remove(self._journal)
        for file in self.files:
            if file["former"]:
                remove(file["former"])
        with suppress(OSError):
            self._directory.rmdir()  # unless it contains the state file


def _prepared(path: str, data: bytes | None) -> dict[str, Any]:
    target = Path(path).resolve()
    written = None if data is None else sha256(data)
    if not target.exists():
        return {"path": path, "former": None, "before": None, "written": written}
    former = target.with_name(f".{target.name}.geo-registry-former")
    clone(target, former)
    before = sha256(former.read_bytes())
    return {"path": str(target), "former": str(former), "before": before, "written": written}
