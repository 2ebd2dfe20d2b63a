"""The plugins as the engine finds and starts them: which one is taken, how fast it is, when it ends."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from lab.providers import install

pytestmark = pytest.mark.lab
VERSIONS = {name: importlib.metadata.version(f"pulumi_{name}") for name in ("command", "aws")}


@pytest.fixture(autouse=True)
def no_real_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PULUMI_HOME", "PULUMI_REAL_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def plugin(home: Path, name: str) -> Path:
    return home / "plugins" / f"resource-{name}-v{VERSIONS[name]}" / f"pulumi-resource-{name}"


def started(path: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([path, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


class TestInstall:
    def test_without_real_plugins_there_are_stand_ins_and_it_says_so(self, tmp_path: Path) -> None:
        lines = install(tmp_path / "lab")
        assert [line.split(":")[0] for line in lines] == [f"provider {n} {v}" for n, v in VERSIONS.items()]
        assert all("stand-in" in line for line in lines)
        assert all(os.access(plugin(tmp_path / "lab", name), os.X_OK) for name in VERSIONS)

    def test_it_can_be_done_again(self, tmp_path: Path) -> None:
        assert install(tmp_path / "lab") == install(tmp_path / "lab")

    @pytest.mark.parametrize("where", ["HOME", "PULUMI_HOME", "PULUMI_REAL_PLUGINS"])
    def test_a_real_plugin_goes_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        home = tmp_path / "home" / ".pulumi" if where == "HOME" else tmp_path / "other"
        real = plugin(home, "command")
        real.parent.mkdir(parents=True)
        real.write_bytes(b"\x7fELF")
        if where != "HOME":
            monkeypatch.setenv(where, str(home / "plugins" if where == "PULUMI_REAL_PLUGINS" else home))
        install(tmp_path / "lab")
        lines = install(tmp_path / "lab")
        assert "the real plugin" in lines[0]
        assert "stand-in" in lines[1]
        assert plugin(tmp_path / "lab", "command").read_bytes() == b"\x7fELF"

    def test_the_users_own_plugins_are_never_removed(self, tmp_path: Path) -> None:
        real = plugin(tmp_path / "lab", "command")
        real.parent.mkdir(parents=True)
        real.write_bytes(b"\x7fELF")
        assert "the real plugin" in install(tmp_path / "lab")[0]
        assert real.read_bytes() == b"\x7fELF"

    def test_a_stand_in_is_not_taken_for_a_real_plugin(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(tmp_path / "other")
        monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "other"))
        assert all("stand-in" in line for line in install(tmp_path / "lab"))


@pytest.mark.parametrize("name", VERSIONS)
class TestPlugin:
    def test_it_answers_with_its_version(self, tmp_path: Path, name: str) -> None:
        install(tmp_path)
        process, port = started(plugin(tmp_path, name))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            assert stub.GetPluginInfo(empty_pb2.Empty()).version == VERSIONS[name]
        stop(process)

    def test_modules_of_the_program_do_not_get_in_its_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """The engine starts plugins in the program's directory."""
        for module in ("lab.py", "grpc.py", "command.py", "config.py"):
            (tmp_path / module).write_text("raise SystemExit('imported the program')\n")
        install(tmp_path / "lab")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        process, _ = started(plugin(tmp_path / "lab", name))
        stop(process)

    def test_it_ends_quietly_when_the_engine_ends_it(self, tmp_path: Path, name: str) -> None:
        install(tmp_path)
        process = subprocess.Popen(
            [plugin(tmp_path, name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[1] == ""

    def test_it_does_not_outlive_an_engine_that_was_killed(self, tmp_path: Path, name: str) -> None:
        install(tmp_path)
        engine = subprocess.Popen(
            [sys.executable, "-c", _ENGINE, str(plugin(tmp_path, name))], stdout=subprocess.PIPE, text=True
        )
        assert engine.stdout
        child = int(engine.stdout.readline())
        stop(engine)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)


_ENGINE = """
import subprocess, sys, time
plugin = subprocess.Popen(sys.argv[1], stdout=subprocess.PIPE)
plugin.stdout.readline()
print(plugin.pid, flush=True)
time.sleep(60)
"""
