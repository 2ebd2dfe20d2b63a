"""The plugins as the engine finds and starts them: which one is taken, how fast it is, when it ends."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.providers import install
from tests.lab.providers.stacks import Stack, engine_folder

VERSIONS = {name: importlib.metadata.version(f"pulumi_{name}") for name in ("command", "aws")}


@pytest.fixture(autouse=True)
def no_real_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PULUMI_HOME", "PULUMI_REAL_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def plugin(home: Path, name: str) -> Path:
    return home / "plugins" / f"resource-{name}-v{VERSIONS[name]}" / f"pulumi-resource-{name}"


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

    def test_a_plugin_whose_download_was_cut_off_is_not_taken(self, tmp_path: Path) -> None:
        """The engine leaves this mark beside the folder until the plugin is whole, and passes over it."""
        real = installed(tmp_path / "home" / ".pulumi", "command")
        mark = real.parent.parent / f"{real.parent.name}.partial"
        mark.touch()
        assert all("stand-in" in line for line in install(tmp_path / "lab"))
        mark.unlink()
        assert "the real plugin" in install(tmp_path / "lab")[0]

    def test_a_plugin_that_was_removed_meanwhile_makes_room_for_the_stand_in(self, tmp_path: Path) -> None:
        """A kept PULUMI_HOME then has a link to nothing."""
        real = installed(tmp_path / "home" / ".pulumi", "command")
        install(tmp_path / "lab")
        real.unlink()
        assert all("stand-in" in line for line in install(tmp_path / "lab"))
        assert plugin(tmp_path / "lab", "command").is_file()


def installed(home: Path, name: str) -> Path:
    """A plugin as `pulumi plugin install` leaves it in `home`: its program, beside other files and folders."""
    real = plugin(home, name)
    (real.parent / "licenses").mkdir(parents=True)
    for file, text in {"PulumiPlugin.yaml": "runtime: go\n", "README.md": "", "licenses/a": ""}.items():
        (real.parent / file).write_text(text)
    # Any program that speaks the protocol does; without its mark the stand-in is one.
    install(home / "stand-ins")
    stand_in = plugin(home / "stand-ins", name).read_text()
    real.write_text(stand_in.replace("# A stand-in of the lab.\n", ""))
    real.chmod(0o755)
    return real


class TestEngine:
    """What counts is what the engine itself sees and starts."""

    PROGRAM = """
import pulumi
from pulumi_command import remote

connection = remote.ConnectionArgs(host="192.0.2.1")
pulumi.export("said", remote.Command("nothing", connection=connection).stdout)
"""

    def listed(self, home: Path) -> dict[str, str]:
        environment = {**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
        command = [str(engine_folder() / "pulumi"), "plugin", "ls", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return {found["name"]: found["version"] for found in json.loads(done.stdout)}

    def test_it_lists_the_stand_ins(self, tmp_path: Path) -> None:
        install(tmp_path / "lab")
        assert self.listed(tmp_path / "lab") == VERSIONS

    def test_it_lists_and_starts_a_plugin_that_the_user_has(self, tmp_path: Path) -> None:
        real = installed(tmp_path / "home" / ".pulumi", "command")
        stack = Stack(tmp_path, self.PROGRAM)
        assert self.listed(tmp_path / "pulumi") == VERSIONS
        stack.up()
        assert stack.outputs() == {"said": ""}
        assert plugin(tmp_path / "pulumi", "command").resolve() == real
        stack.run("destroy", "--yes", "--skip-preview")
        real.unlink()
        assert "1 errored" in stack.up(check=False)


@pytest.mark.parametrize("name", VERSIONS)
class TestPlugin:
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
