"""Which registry the lab's hosts run: GitLab's own where GITLAB_REGISTRY names one, and nothing else under that name."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lab import gitlab_registry, launch, setup
from lab.gitlab_registry import VARIABLE, GitLabRegistry, chosen, in_stack
from tools.progress import SetupError

ROOT = Path(__file__).resolve().parents[2]
GITLABS = "/opt/gitlab/embedded/bin/registry github.com/docker/distribution v4.39.0-gitlab"


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A program that says that it is GitLab's registry."""
    return program(tmp_path, GITLABS)


def program(directory: Path, said: str, status: int = 0) -> Path:
    path = directory / "registry"
    path.write_text(
        f"#!/bin/sh\necho 'maxprocs: Leaving GOMAXPROCS=2' >&2\necho {shlex.quote(said)}\nexit {status}\n"
    )
    path.chmod(0o755)
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(SetupError) as error:
        chosen({VARIABLE: str(path)})
    return str(error.value)


@pytest.mark.parametrize(
    ("said", "version", "gitlab"),
    [
        ("v4.39.0-gitlab", "4.39.0", "18.11.0"),
        ("v4.32.0-gitlab", "4.32.0", "18.7.0"),
        ("v3.86.0-gitlab", "3.86.0", "16.6.0"),
        ("v4.31.1-gitlab", "4.31.1", "18.6.0"),
        ("v4.0.0-gitlab", "4.0.0", "17.0.0"),
        ("v4.37.0-gitlab", "4.37.0", "18.9.0"),
        ("v4.99.0-gitlab", "4.99.0", "19.3.0"),
        ("v3.1.0-gitlab", "3.1.0", "16.0.0"),
        ("v4.39.0-3-gabc123.m", "4.39.0", "18.11.0"),
    ],
)
def test_a_registry_of_gitlabs_is_used_with_its_gitlab(
    tmp_path: Path, said: str, version: str, gitlab: str
) -> None:
    """By what `--version` says; the lab's hosts have the GitLab whose registry it is."""
    path = program(tmp_path, f"registry github.com/docker/distribution {said}")
    registry = chosen({VARIABLE: str(path)})
    assert registry == GitLabRegistry(path, version)
    assert gitlab_registry.gitlab_version(registry) == gitlab
    assert str(registry) == f"GitLab's own {version} ({path}), of GitLab {'.'.join(gitlab.split('.')[:2])}"


@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}])
def test_without_one_the_stand_in_is_used(environ: dict[str, str]) -> None:
    """And hosts have the version of the committed stacks."""
    assert chosen(environ) is None
    version = gitlab_registry.gitlab_version(None)
    for stack in ("existing", "replicated", "dev"):
        text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
        assert in_stack(text, version) == text


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("docker-registry github.com/docker/distribution 2.8.2+ds1", "this is Distribution and not GitLab's"),
        ("registry github.com/distribution/distribution/v3 v3.0.0", "this is Distribution and not GitLab's"),
        ("GNU bash, version 5.2.15", "this is not a registry: `--version` says GNU bash"),
        ("", "this is not a registry: `--version` says"),
    ],
)
def test_another_program_is_refused(tmp_path: Path, said: str, why: str) -> None:
    """With what it says of itself, and where GitLab's is."""
    message = refused(program(tmp_path, said))
    assert why in message
    assert "/opt/gitlab/embedded/bin/registry" in message
    assert f"without {VARIABLE} the lab uses Debian's registry" in message


def test_what_is_not_a_program_is_refused(tmp_path: Path, named: Path) -> None:
    """Missing, a folder, not executable, of another architecture; the same file, executable, is taken."""
    assert "there is no such file" in refused(tmp_path / "nothing")
    assert "you cannot execute this file" in refused(tmp_path)
    named.chmod(0o644)
    assert "you cannot execute this file" in refused(named)
    named.chmod(0o755)
    assert chosen({VARIABLE: str(named)})
    named.write_bytes(b"\x7fELF\2\1\1\0" + bytes(60))
    assert "it does not run on this machine: Exec format error" in refused(named)


def test_set_up_and_the_lab_refuse_it_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/registry")
    monkeypatch.setattr("tools.debian.ensure_packages", lambda *_, **__: pytest.fail("went on"))
    assert setup.main() == 1
    assert "GITLAB_REGISTRY=/nowhere/registry: there is no such file." in capsys.readouterr().err
    with pytest.raises(launch.CannotStart, match="GITLAB_REGISTRY=/nowhere/registry: there is no such file"):
        launch.check_machine()


@pytest.mark.parametrize("own", [True, False])
def test_set_up_ends_with_the_registry_and_the_plugins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: Path, own: bool
) -> None:
    monkeypatch.setenv(VARIABLE, str(named) if own else "")
    for done in (
        "tools.debian.ensure_packages",
        "tools.debian.ensure_namespaces",
        "tools.virtualenv.ensure_venv",
    ):
        monkeypatch.setattr(done, lambda *_, **__: named)
    monkeypatch.setattr("lab.storage_servers.ensure", lambda _: None)
    monkeypatch.setattr("tools.engine.ensure_engine", lambda *_: "Pulumi v3")
    assert setup.main() == 0
    said = capsys.readouterr().out
    assert f"registry {chosen({VARIABLE: str(named)}) if own else gitlab_registry.STAND_IN}" in said
    assert "plugins  command" in said and "aws" in said


def test_stacks_state_the_version_of_the_hosts() -> None:
    """A created site's to the patch, as its images have it; nothing else in the file changes."""
    text = '# GitLab\n  gitlab-geo-registry:gitlab_version: "18.11"\n  other: "18.11"\n'
    assert in_stack(text, "16.6.0") == text.replace('version: "18.11"', 'version: "16.6"')
    text = text.replace('version: "18.11"', 'version: "18.11.1"')
    assert in_stack(text, "16.6.0") == text.replace("18.11.1", "16.6.1")
