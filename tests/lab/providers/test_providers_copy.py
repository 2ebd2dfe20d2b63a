"""remote.CopyToRemote: what arrives where, and what is copied again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.providers.protocol import ARCHIVE, ASSET, SIGNATURE
from tests.lab.providers.harness import Provider, Sshd

pytestmark = pytest.mark.lab
COPY = "command:remote:CopyToRemote"


class TestCopy:
    def copied(self, provider: Provider, sshd: Sshd, source: dict[str, Any], to: Path) -> None:
        provider.made(COPY, {"connection": sshd.connection(), "source": source, "remotePath": str(to)})

    def test_a_text_a_file_and_a_folder_arrive(self, commands: Provider, sshd: Sshd, tmp_path: Path) -> None:
        here, there = tmp_path / "here", tmp_path / "there"
        (here / "sub").mkdir(parents=True)
        (here / "sub" / "file").write_bytes(b"\x00\xff")
        self.copied(commands, sshd, {SIGNATURE: ASSET, "text": "hello", "hash": "1"}, there / "deep" / "text")
        self.copied(
            commands, sshd, {SIGNATURE: ASSET, "path": str(here / "sub" / "file"), "hash": "2"}, there
        )
        self.copied(commands, sshd, {SIGNATURE: ARCHIVE, "path": str(here), "hash": "3"}, there)
        self.copied(commands, sshd, {SIGNATURE: ARCHIVE, "path": f"{here}/", "hash": "4"}, there / "content")
        assert (there / "deep" / "text").read_text() == "hello"
        for name in ("file", "here/sub/file", "content/sub/file"):
            assert (there / name).read_bytes() == b"\x00\xff"

    def test_only_another_content_or_place_is_copied_again(
        self, commands: Provider, sshd: Sshd, tmp_path: Path
    ) -> None:
        target = tmp_path / "file"
        source = {SIGNATURE: ASSET, "text": "one", "hash": "1"}
        inputs = {"connection": sshd.connection(), "source": source, "remotePath": str(target)}
        made, state, inputs = commands.made(COPY, inputs)
        target.write_text("changed by hand")
        commands.update(COPY, made, state, inputs)
        assert target.read_text() == "changed by hand"
        commands.update(COPY, made, state, {**inputs, "source": {**source, "text": "two", "hash": "2"}})
        assert target.read_text() == "two"

    def test_a_text_cannot_take_the_place_of_a_folder(
        self, commands: Provider, sshd: Sshd, tmp_path: Path
    ) -> None:
        with pytest.raises(grpc.RpcError, match="when using a text asset, remotePath must be a file path"):
            self.copied(commands, sshd, {SIGNATURE: ASSET, "text": "x"}, tmp_path)
