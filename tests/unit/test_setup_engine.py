"""Which Pulumi engine is used, and how it is made where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tools import engine, golang
from tools.progress import SetupError
from tools.virtualenv import pinned

ROOT = Path(__file__).resolve().parents[2]


def fake(directory: Path, name: str, output: str = "") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\necho {output}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user without pulumi."""
    made = {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    return made


def test_the_engine_and_the_pinned_sdk_are_of_one_release() -> None:
    assert pinned(ROOT, "pulumi") == engine.VERSION


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("3.259.0", True),
        ("3.260.1", True),
        ("4.0.0", True),
        ("3.1000.0", True),
        ("3.99.0", False),
        ("3.258.9", False),
        ("3.259.0-alpha.1", False),
        ("3.260.0-alpha.1", True),
        ("3.259.0+dirty.5", True),
        ("0", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, enough: bool) -> None:
    assert engine.new_enough(version, "3.259.0") is enough


def test_a_new_enough_pulumi_on_path_is_used(environ: dict[str, str], tmp_path: Path) -> None:
    fake(tmp_path / "bin", "pulumi", "v3.300.0")
    fake(tmp_path / "bin", "pulumi-language-python")
    assert engine.on_path() == engine.Engine(str(tmp_path / "bin"), "3.300.0", "from PATH")


def test_an_old_pulumi_on_path_is_passed_over_and_named(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(tmp_path / "bin", "pulumi", "v3.100.0")
    fake(tmp_path / "bin", "pulumi-language-python")
    assert engine.on_path() is None
    assert "v3.100.0, older than" in capsys.readouterr().out


def test_a_pulumi_without_its_language_host_is_no_engine(environ: dict[str, str], tmp_path: Path) -> None:
    fake(tmp_path / "bin", "pulumi", "v3.300.0")
    assert engine.on_path() is None


def test_our_own_engine_on_path_is_not_taken_for_the_users(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside the lab it is on PATH; it must keep its origin."""
    own = engine.cache_dir() / "engine" / "bin"
    fake(own, "pulumi", "v3.300.0")
    fake(own, "pulumi-language-python")
    monkeypatch.setenv("PATH", str(own))
    assert engine.on_path() is None


@pytest.fixture
def made(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """How engines were made; at first the installer cannot be reached and Go builds one."""
    ways: list[str] = []
    (tmp_path / ".venv").mkdir()

    def installer(home: Path, log: Path) -> None:
        ways.append("installer")

    def go(home: Path, python: Path, log: Path) -> engine.Engine:
        ways.append("go")
        fake(home / "bin", "pulumi", f"v{engine.VERSION}")
        (home / "origin").write_text("built from Go modules")
        return engine.Engine(str(home / "bin"), engine.VERSION, "built from Go modules")

    monkeypatch.setattr(engine, "_installed", installer)
    monkeypatch.setattr(engine, "_built", go)
    return ways


def ensure(tmp_path: Path) -> engine.Engine:
    return engine.ensure_engine(Path("python"), tmp_path / "log", tmp_path)


def test_the_installer_is_tried_before_go(made: list[str], tmp_path: Path) -> None:
    assert ensure(tmp_path).origin == "built from Go modules"
    assert made == ["installer", "go"]


def test_the_users_own_engine_comes_first(made: list[str], tmp_path: Path) -> None:
    fake(tmp_path / "bin", "pulumi", "v3.300.0")
    fake(tmp_path / "bin", "pulumi-language-python")
    assert ensure(tmp_path).origin == "from PATH"
    assert made == []


def test_the_choice_is_recorded_for_the_lab(made: list[str], tmp_path: Path) -> None:
    chosen = ensure(tmp_path)
    assert engine.recorded(tmp_path) == chosen
    assert engine.bin_dir(tmp_path) == Path(chosen.bin_dir)


def test_an_unreachable_installer_is_passed_over_in_silence(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake(tmp_path / "bin", "curl", "; exit 6")
    assert engine._installed(tmp_path / "cache" / "v1", tmp_path / "log") is None
    assert capsys.readouterr() == ("", "")


def serve_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A curl that fetches `script` as the official installer."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    curl = tmp_path / "bin" / "curl"
    curl.write_text(f"#!/bin/sh\ncat <<'END'\n{script}\nEND\n")
    curl.chmod(0o755)


def test_the_installer_puts_the_engine_into_the_cache_and_nowhere_else(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is asked for our version and our directory, and its HOME is not the user's."""
    script = """
        [ "$1 $2 $3 $5" = "--version VERSION --install-root --no-edit-path" ] || exit 1
        mkdir -p "$4/bin" "$HOME/.pulumi"
        printf '#!/bin/sh\\necho vVERSION\\n' > "$4/bin/pulumi"
        chmod +x "$4/bin/pulumi"
    """
    serve_installer(tmp_path, monkeypatch, script.replace("VERSION", engine.VERSION))
    home = tmp_path / ".cache" / "engine" / "v1"
    home.parent.mkdir(parents=True)
    installed = engine._installed(home, tmp_path / "log")
    assert installed == engine.Engine(str(home / "bin"), engine.VERSION, "from the official installer")
    assert engine.cached(home) == installed
    assert not (tmp_path / ".pulumi").exists()
    assert [path.name for path in home.parent.iterdir()] == ["v1"]


@pytest.mark.parametrize("script", ["exit 1", "mkdir -p $4/bin; ln -s /bin/true $4/bin/pulumi"])
def test_an_installer_that_fails_is_named_and_leaves_no_engine(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    script: str,
) -> None:
    serve_installer(tmp_path, monkeypatch, script)
    home = tmp_path / ".cache" / "engine" / "v1"
    assert engine._installed(home, tmp_path / "log") is None
    assert engine.cached(home) is None
    assert "the installer did not succeed" in capsys.readouterr().out


def test_an_engine_of_another_version_than_was_asked_for_is_not_kept(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """A build that went wrong in silence, or an installer that knows better."""
    unfinished, home = tmp_path / "unfinished", tmp_path / "v1"
    fake(unfinished / "bin", "pulumi", "v3.1.0")
    with pytest.raises(
        SetupError, match=rf"says that it is v3\.1\.0 instead of v{engine.VERSION}: .*unfinished"
    ):
        engine._finish(unfinished, home, "from a test")
    assert engine.cached(home) is None


def test_a_go_that_cannot_download_is_told_in_its_own_words(environ: dict[str, str], tmp_path: Path) -> None:
    """In the output, not in the log."""
    fake(tmp_path / "bin", "go", "; echo 'dial tcp: lookup proxy.example.com: no such host' >&2; exit 1")
    go = golang.Go(str(tmp_path / "bin/go"), {}, tmp_path / "log")
    with pytest.raises(
        SetupError, match=r"go mod download -json x@v1 failed: dial tcp: lookup .* no such host"
    ):
        go.source("x@v1")


@pytest.mark.parametrize("content", [None, "", "[]", '{"unknown": 1}'])
def test_without_set_up_the_message_names_the_command(tmp_path: Path, content: str | None) -> None:
    (tmp_path / ".venv").mkdir()
    if content is not None:
        (tmp_path / engine.RECORD).write_text(content)
    with pytest.raises(SetupError, match="make setup"):
        engine.bin_dir(tmp_path)


# The build from Go modules ------------------------------------------------------------------------------


def test_go_writes_nothing_outside_its_work_directory(tmp_path: Path) -> None:
    user = {"HOME": "/home/ann", "GOPATH": "/home/ann/go", "GOCACHE": "/elsewhere", "GOFLAGS": "-mod=vendor"}
    environ = golang.go_environment(user, tmp_path)
    written = ("GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR", "TMPDIR", "XDG_CONFIG_HOME")
    assert all(Path(environ[name]).is_relative_to(tmp_path) for name in written)
    assert "vendor" not in environ["GOFLAGS"]


def test_go_keeps_the_users_own_settings(tmp_path: Path) -> None:
    """A proxy of your own is set with `go env -w`, in a file that GOENV names."""
    assert golang.go_environment({"HOME": "/home/ann"}, tmp_path)["GOENV"] == "/home/ann/.config/go/env"
    assert golang.go_environment({"HOME": "/h", "GOENV": "/my/env"}, tmp_path)["GOENV"] == "/my/env"


def test_a_full_disk_is_noticed_before_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Full:
        free = 10**9

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Full)
    with pytest.raises(SetupError, match=r"needs 5 GB for a while, and .* has 1 GB free"):
        golang.build(
            "3.259.0", tmp_path / "bin", work=tmp_path / "go", python=Path("python"), log=tmp_path / "log"
        )


def test_an_engine_that_is_not_there_yet_or_no_longer_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="There is no Pulumi engine yet: run `make setup`"):
        engine.bin_dir(tmp_path)
    record = tmp_path / engine.RECORD
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"bin_dir": str(tmp_path / "gone"), "version": "1", "origin": "x"}))
    with pytest.raises(SetupError, match=r"is no longer in .*gone: run `make setup`"):
        engine.bin_dir(tmp_path)
