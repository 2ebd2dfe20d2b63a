"""Copying a file, a text or a directory to a host, as remote.CopyToRemote does it."""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import Any

import paramiko


def copy(transport: paramiko.Transport, source: dict[str, Any], destination: str) -> None:
    """Copies an asset or archive (plain, with "text" or "path").

    A file goes into an existing directory, a directory without trailing slash too; with one, its content goes
    there.  Parents are made.  Raises RuntimeError for what cannot be written.
    """
    client = transport.open_sftp_client()
    if client is None:
        raise RuntimeError("the server has no sftp subsystem")
    with client:
        if "text" in source:
            _text(client, source["text"], destination)
        elif Path(source["path"]).is_dir():
            _directory(client, source["path"], destination)
        else:
            if _is_directory(client, destination):
                destination = posixpath.join(destination, Path(source["path"]).name)
            _make_directories(client, posixpath.dirname(destination))
            _file(client, source["path"], destination)


def _text(client: paramiko.SFTPClient, text: str, destination: str) -> None:
    if _is_directory(client, destination):
        raise RuntimeError(
            f"remote path {destination} is a directory; "
            "when using a text asset, remotePath must be a file path"
        )
    _make_directories(client, posixpath.dirname(destination))
    try:
        with client.open(destination, "w") as file:
            file.write(text)
    except OSError as problem:
        raise RuntimeError(f"failed to create remote file {destination}: {problem}") from problem


def _directory(client: paramiko.SFTPClient, source: str, destination: str) -> None:
    if not source.endswith("/"):
        destination = posixpath.join(destination, Path(source).name)
    for root, _, files in os.walk(source):
        at = posixpath.normpath(posixpath.join(destination, os.path.relpath(root, source)))
        existing = _stat(client, at)
        if existing is not None and not stat.S_ISDIR(existing.st_mode or 0):
            raise RuntimeError(f"remote path {at} exists but is not a directory")
        _make_directories(client, at)
        for name in files:
            _file(client, str(Path(root) / name), posixpath.join(at, name))


def _file(client: paramiko.SFTPClient, source: str, destination: str) -> None:
    try:
        client.put(source, destination, confirm=False)
    except OSError as problem:
        raise RuntimeError(f"failed to create remote file {destination}: {problem}") from problem


def _stat(client: paramiko.SFTPClient, path: str) -> paramiko.SFTPAttributes | None:
    try:
        return client.stat(path)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise RuntimeError(f"failed to stat remote path {path}: {problem}") from problem


def _is_directory(client: paramiko.SFTPClient, path: str) -> bool:
    found = _stat(client, path)
    return found is not None and stat.S_ISDIR(found.st_mode or 0)


def _make_directories(client: paramiko.SFTPClient, path: str) -> None:
    if not path or _stat(client, path) is not None:
        return
    _make_directories(client, posixpath.dirname(path))
    try:
        client.mkdir(path)
    except OSError as problem:
        raise RuntimeError(f"failed to create parent directories for {path}: {problem}") from problem
