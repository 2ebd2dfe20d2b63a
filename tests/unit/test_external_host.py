"""What the program does on the host of an external registry: all of it, or nothing; and back again."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hosts.external_registry import causes, main, probes, report, service, verification
from hosts.external_registry import files as registry_files
from hosts.external_registry.report import Failure
from tests.configurations import certificate
from tests.external_host import REALM, SECRET, Host, running
from tests.failures import of_registries


@pytest.fixture(autouse=True)
def _unknowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with no secret known."""
    monkeypatch.setattr(report, "_secrets", set())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Host, Any]]:
    with running(tmp_path) as found:
        yield found


@pytest.fixture
def host(served: tuple[Host, Any]) -> Host:
    return served[0]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on only by waiting, and then at once; what was waited for."""
    waited: list[float] = []
    clock = SimpleNamespace(sleep=waited.append, monotonic=lambda: sum(waited))
    monkeypatch.setattr(probes, "time", clock)
    return waited


def reported(capsys: pytest.CaptureFixture[str], host: Host, command: str = "apply", **changes: Any) -> str:
    """What the person sees of a run that fails."""
    with pytest.raises((Failure, OSError)) as failed:
        host.program(**changes).run(command)
    report.failure(host.order, Failure.of(failed.value))
    return capsys.readouterr().err


def test_a_registry_is_given_its_values_and_proven(host: Host) -> None:
    """The file is edited, the certificate written, the registry restarted once; then it asks for GitLab's tokens."""
    done = host.apply()
    assert done["restarted"] is True
    assert done["proof"] == {
        f"every user of this host can read {host.config}": "yes: check its mode, it contains secrets",
        "registry asks for GitLab's tokens": "401",
    }
    assert list(host.says["auth"]) == ["token"]
    assert [e["name"] for e in host.says["notifications"]["endpoints"]] == ["audit", "geo_event"]
    assert b"  - name: audit  # do not remove\n" in host.config.read_bytes()
    assert host.certificate.read_text() == "CERTIFICATE\n"
    modes = {p: (host.dir / p).stat().st_mode & 0o777 for p in ("gitlab.crt", "own", "own/state.json")}
    assert modes == {"gitlab.crt": 0o644, "own": 0o700, "own/state.json": 0o600}
    assert [path.name for path in (host.dir / "own").iterdir()] == ["state.json"]
    assert (host.restarts, host.untidy()) == (1, [])


def test_what_is_there_already_is_not_restarted_but_proven(host: Host) -> None:
    """A second run; then one whose certificate alone is new, which the registry must read; then another stack's name."""
    first = host.apply()
    again = host.apply()
    assert (again["restarted"], again["proof"], host.restarts) == (False, first["proof"], 1)
    assert host.apply(certificate_text="ANOTHER\n")["restarted"] is True
    assert (host.certificate.read_text(), host.restarts) == ("ANOTHER\n", 2)
    assert host.apply(certificate_text="ANOTHER\n", resource="secondary/london-images")["restarted"] is False
    assert host.restarts == 2
    assert host.undo(resource="primary/london-images") == {"node": "london-images", "undone": False}
    assert host.undo(resource="secondary/london-images")["undone"] is True


def test_everything_is_given_back_byte_for_byte(host: Host) -> None:
    """The file with its mode behind its link, the certificate that was there, and nothing of this program."""
    there = host.dir / "images/real.yml"
    host.config.rename(there)
    host.config.symlink_to(there)
    there.chmod(0o640)  # as it should be: nothing is said of it
    host.certificate.write_bytes(b"the administrator's \xff\n")
    host.certificate.chmod(0o600)
    assert not any("every user" in check for check in host.apply()["proof"])
    assert host.config.is_symlink() and there.stat().st_mode & 0o777 == 0o640
    assert there.read_bytes() != host.original
    assert host.undo() == {"node": "london-images", "undone": True}
    assert host.config.is_symlink() and there.read_bytes() == host.original
    assert host.certificate.read_bytes() == b"the administrator's \xff\n"
    assert host.certificate.stat().st_mode & 0o777 == 0o600
    assert not (host.dir / "own").exists()
    assert (host.restarts, host.untidy()) == (2, [])
    assert host.undo()["undone"] is False


def test_a_rotation_begins_with_both_certificates_and_nothing_else(host: Host) -> None:
    """The registry is restarted once for both steps, and not again if it trusts them already."""
    old, new = (certificate("registry")["certificate"] for _ in range(2))
    host.apply(certificate_text=old)
    config = host.config.read_bytes()
    both = {"certificate_text": new + old, "edits": [], "challenge": {}}
    assert host.trust(**both) == {"node": "london-images", "proof": {}}
    assert (host.certificate.read_text(), host.config.read_bytes(), host.restarts) == (new + old, config, 2)
    host.trust(**both)
    assert host.apply(certificate_text=new + old)["restarted"] is False
    assert host.restarts == 2
    assert host.apply(certificate_text=new)["restarted"] is True
    host.trust(certificate_text=old)
    assert host.certificate.read_text() == f"{old}{new}", "a certificate is only added"
    host.undo()
    assert not host.certificate.exists()


def test_a_host_without_settings_has_nothing_to_add_to(host: Host) -> None:
    """A host that joins during a rotation gets both certificates with its settings."""
    assert host.trust(certificate_text=certificate("registry")["certificate"])["proof"] == {}
    assert (host.certificate.exists(), host.restarts, host.untidy()) == (False, 0, [])


def test_a_registry_that_ends_with_both_certificates_gets_the_former_one_back(
    host: Host, hurried: list[float]
) -> None:
    """It is restarted with the former one, and the step is repeated by the next `up`."""
    old, new = (certificate("registry")["certificate"] for _ in range(2))
    host.apply(certificate_text=old)
    host.fails("auth")
    with pytest.raises(Failure):
        host.trust(certificate_text=new + old)
    assert host.certificate.read_text() == old
    (host.dir / "fails").unlink()
    host.trust(certificate_text=new + old)
    assert host.certificate.read_text() == new + old


def test_a_certificate_that_leaked_does_not_come_back(host: Host) -> None:
    """Where it was there before the program, the one in use stays when the settings are removed."""
    leaked, new = (certificate("registry")["certificate"] for _ in range(2))
    host.certificate.write_text(leaked)
    host.apply(certificate_text=leaked)
    der = ssl.PEM_cert_to_DER_cert(leaked)
    host.apply(certificate_text=new, revoked=[hashlib.sha256(der).hexdigest()])
    host.undo()
    assert host.certificate.read_text() == new


def test_what_was_edited_since_stays_when_ours_goes_or_changes(host: Host) -> None:
    """A new log level and another endpoint; our own values are what they were before, or what is wanted now."""
    host.apply()
    text = host.config.read_text().replace("  - name: audit", "  - {name: mirror, url: x}\n  - name: audit")
    text = text.replace(
        'issuer: "omnibus-gitlab-issuer"', "issuer: omnibus-gitlab-issuer  # as it is everywhere"
    )
    host.config.write_text(text + "log: {level: debug}  # for a while\n")
    assert host.apply()["restarted"] is False
    assert "issuer: omnibus-gitlab-issuer  # as it is everywhere" in host.config.read_text()
    assert host.config.read_text().endswith("log: {level: debug}  # for a while\n")
    edits = [e for e in host.order["edits"] if {"name": "geo_event"} not in e["path"]]
    absent = {"path": ["notifications", "endpoints", {"name": "geo_event"}], "absent": True}
    host.apply(edits=[*edits, absent])
    assert [e["name"] for e in host.says["notifications"]["endpoints"]] == ["mirror", "audit"]
    host.config.write_text(host.config.read_text() + "# and this\n")
    host.certificate.write_text("put there manually\n")
    host.undo()
    assert host.says["auth"] == {"htpasswd": {"realm": "basic", "path": "/etc/htpasswd"}}
    assert [e["name"] for e in host.says["notifications"]["endpoints"]] == ["mirror", "audit"]
    assert host.config.read_text().endswith("log: {level: debug}  # for a while\n# and this\n")
    assert host.certificate.read_text() == "put there manually\n"


def test_values_of_a_former_part_go_with_it(host: Host) -> None:
    """From primary to secondary and back to keeping its storage: always from the file as it was."""
    s3 = [{"path": ["storage"], "only": ["s3"]}, {"path": ["storage", "s3"], "value": {"bucket": "acme"}}]
    place = {"driver": "s3", "place": [None, "acme", ""], "shown": "s3://acme"}
    host.apply(edits=[*host.order["edits"], *s3], storage=place)
    assert host.says["storage"] == {"s3": {"bucket": "acme"}}
    host.apply(data_moved=True)
    assert b"  # a disk of its own\n" in host.config.read_bytes()
    host.apply(edits=host.order["edits"][:-1])
    assert [e["name"] for e in host.says["notifications"]["endpoints"]] == ["audit"]
    host.undo()
    assert host.config.read_bytes() == host.original and not host.certificate.exists()


def test_a_host_with_other_paths_gives_the_former_files_back(host: Host) -> None:
    """Another config.yml is the registry's now: one file is edited, and it is that."""
    host.apply()
    other, certificate = host.dir / "images/config.yml", host.dir / "images/gitlab.crt"
    other.write_bytes(host.original)
    paths = {"config": str(other), "certificate": str(certificate)}
    host.apply(**paths, challenge={}, events=None)
    assert host.config.read_bytes() == host.original
    assert not host.certificate.exists()
    assert REALM in other.read_text() and certificate.exists()
    host.undo(**paths)
    assert other.read_bytes() == host.original and not certificate.exists()


def test_a_restart_that_fails_leaves_the_former_files_at_work(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cause, state and remedy are reported, no secret is; the next run, with the cause fixed, goes through."""
    host.config.write_text(host.config.read_text() + "redis: {password: password-of-the-database}\n")
    before = host.config.read_bytes()
    host.fails("geo_event")
    said = reported(capsys, host)
    assert re.search(r"^london-images \(site london\): .+ \[registry-restart-failed\]$", said, re.MULTILINE)
    assert f"cause: {host.order['restart']} ended with status 3\n         setting up; [secret]\n" in said
    assert "Authorization: [" in said and "[secret]" in said and SECRET not in said
    assert "         the registry panicked\n" in said
    assert "state: the former files are restored, and the registry answers with them" in said
    assert f"do:    run `{host.order['restart']}` on this host" in said
    assert (host.config.read_bytes(), host.restarts, host.untidy()) == (before, 2, [])
    assert not (host.dir / "own").exists() and not host.certificate.exists()
    (host.dir / "fails").unlink()
    assert host.apply()["restarted"] is True


def test_a_command_that_never_works_is_told_as_well(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """The former files are back, which is said; the journal stays, so that the next run restarts."""
    said = reported(capsys, host, restart="/no/such/command --now")
    assert "cause: /no/such/command --now: No such file or directory" in said
    assert "state: the former files are restored, but a restart with them failed as well" in said
    assert host.config.read_bytes() == host.original
    assert host.apply()["restarted"] is True
    assert host.untidy() == []


def test_a_restart_without_end_is_ended(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that it has started; a service that holds on to its output is not waited for."""
    monkeypatch.setattr(service, "SECONDS", 1)
    (host.dir / "restart").write_text("#!/bin/sh\nsleep 7654 & echo $! > ${0%/*}/images/pid\nwait\n")
    said = reported(capsys, host)
    assert f"{host.order['restart']}: did not end within 1 s" in said
    assert host.config.read_bytes() == host.original
    child = Path("/proc", (host.dir / "images/pid").read_text().strip(), "stat")
    for _ in range(100):
        if not child.exists() or child.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        raise AssertionError("what the restart had started goes on")
    monkeypatch.setattr(service, "SECONDS", 30)
    (host.dir / "restart").write_text("#!/bin/sh\nsleep 40 &\ncp ${0%/*}/config.yml ${0%/*}/running.yml\n")
    assert host.apply()["restarted"] is True


def test_a_registry_that_is_not_the_one_restarted_is_found_out(
    host: Host, hurried: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on asking for another realm: the former files come back."""
    (host.dir / "restart").write_text("#!/bin/sh\n")
    said = reported(capsys, host)
    assert "[registry-auth-not-in-effect]" in said
    assert f"was answered with 401 (realm x); 401 (realm {REALM}" in said
    assert "the former files are restored" in said
    assert 30 <= sum(hurried) < 40
    assert host.config.read_bytes() == host.original


def test_a_registry_that_does_not_answer_is_found_out(
    host: Host, hurried: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither where it listens nor, as the site's only one, at the site's URL."""
    text = host.config.read_text()
    nowhere = text.replace(text.split("addr: ")[1].split("\n")[0], "127.0.0.1:1")
    host.config.write_text(nowhere)
    said = reported(capsys, host, registry_url="http://127.0.0.1:1")
    assert "[registry-not-answering]" in said
    assert (
        "GET http://127.0.0.1:1/v2/ was not answered (127.0.0.1:1 refuses the connection: nothing listens there"
        in said
    )
    assert "the registry does not answer with them" in said
    # In a container it has an address of its own, but the site's URL leads to it.
    assert host.apply()["proof"]["registry asks for GitLab's tokens"] == "401"
    said = reported(capsys, host, alone=False)
    assert "[registry-not-answering]" in said


def test_verification_asks_gitlab_and_changes_nothing(
    served: tuple[Host, Any], hurried: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal is final, since GitLab's nodes have the secret by then; one that starts is waited for."""
    host, gitlab = served
    host.apply()
    before = (host.config.read_bytes(), host.restarts)
    assert host.verify()["proof"] == {
        "notification endpoint accepts the secret": "yes",
        "notification endpoint refuses a wrong one": "401",
    }
    gitlab.accepted = "former"
    said = reported(capsys, host, "verify")
    assert "[notifications-not-accepted]" in said
    assert "was answered with 401" in said and SECRET not in said
    assert "state: the settings are in effect on this host, and nothing is rolled back" in said
    assert sum(hurried) == 0
    gitlab.accepted = "any"
    assert "[notification-secret-not-checked]" in reported(capsys, host, "verify")
    gitlab.accepted = "starting"
    said = reported(capsys, host, "verify")
    assert "(answered with 502), at most 300 s" in said and "was answered with 502" in said
    assert 300 <= sum(hurried) < 310
    assert (host.config.read_bytes(), host.restarts) == before


def test_verification_gives_gitlabs_nginx_a_moment_to_read_its_certificates(
    host: Host, hurried: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No longer: a certificate does not become right by waiting."""
    wrong = probes.Answer(0, "self-signed", {}, causes.Cause("self-signed", "add its CA", final=True))
    answers = [wrong] * 3
    event = verification._event

    def answered(url: str, secret: str) -> probes.Answer:
        return answers.pop() if answers else event(url, secret)

    monkeypatch.setattr(verification, "_event", answered)
    assert host.verify()["proof"]["notification endpoint accepts the secret"] == "yes"
    answers = [wrong] * 100
    assert "was not answered (self-signed)" in reported(capsys, host, "verify")
    assert 10 <= sum(hurried) < 13


def cut_off(monkeypatch: pytest.MonkeyPatch, host: Host, command: str, **changes: Any) -> None:
    """End the program as a loss of power would, after all files are written."""
    with monkeypatch.context() as cut:
        cut.setattr(main, "restart", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            host.program(**changes).run(command)


def test_a_run_that_was_cut_off_is_taken_back_by_the_next(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then it is done again, with the restart that was owed; an undo finds the file as it was before."""
    cut_off(monkeypatch, host, "apply")
    assert host.config.read_bytes() != host.original
    assert host.undo()["undone"] is True
    assert "an earlier run was interrupted" in capsys.readouterr().err
    assert (host.config.read_bytes(), host.restarts, host.untidy()) == (host.original, 1, [])
    assert not (host.dir / "own").exists() and not host.certificate.exists()
    cut_off(monkeypatch, host, "apply")
    assert host.apply()["restarted"] is True
    cut_off(monkeypatch, host, "undo")
    assert host.undo()["undone"] is True
    assert (host.config.read_bytes(), host.untidy()) == (host.original, [])


def test_a_restart_that_is_owed_is_not_forgotten(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry may run with what was rolled back: also where the next runs come to nothing."""
    host.apply()
    cut_off(monkeypatch, host, "apply", certificate_text="NEW\n")
    for nowhere in ("config", "certificate"):
        with pytest.raises((Failure, OSError)):
            host.apply(**{nowhere: str(host.dir / "none/file")})
    assert host.restarts == 1
    assert host.apply()["restarted"] is True
    assert host.apply()["restarted"] is False
    assert host.certificate.read_text() == "CERTIFICATE\n"


def test_what_an_administrator_writes_after_a_cut_off_run_is_theirs(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we put in is still known, so that it can be removed."""
    cut_off(monkeypatch, host, "apply")
    host.config.write_text(host.config.read_text() + "# mine\n")
    assert host.apply()["restarted"] is True
    host.undo()
    assert host.says == {**host.says, "auth": {"htpasswd": {"realm": "basic", "path": "/etc/htpasswd"}}}
    assert host.config.read_text().endswith("# mine\n")
    assert host.untidy() == []


def test_a_full_disk_leaves_everything_as_it_was(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever of the files it is that does not fit."""
    real = os.fsync
    for number in range(1, 5):
        left = [number]

        def full(handle: int, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device", "/etc")
            real(handle)

        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full)
            disk.setattr(registry_files, "_sync", lambda _: None)
            said = reported(capsys, host)
        assert "[file-not-written]\n  cause: No space left on device (/etc)" in said
        assert "state: nothing was changed on this host" in said
        assert (host.config.read_bytes(), host.untidy()) == (host.original, [])
        assert not (host.dir / "own").exists() and not host.certificate.exists()
    assert host.apply()["restarted"] is True


def test_another_stacks_host_is_left_alone(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """It learns which stack has it, and how to take it over."""
    host.apply()
    said = reported(capsys, host, owner="acme/gitlab-geo-registry/dev")
    assert "the stack acme/gitlab-geo-registry/prod [managed-by-another-stack]" in said
    assert "nothing was changed on this host" in said
    assert host.undo(owner="acme/gitlab-geo-registry/dev")["undone"] is False


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"auth: {htpasswd: \xff}\n", "it is not UTF-8"),
        (b"auth: {}\nauth: {}\n", "auth is a duplicate key, the second time in line 2"),
        (b"auth: &a {token: {}}\nhttp: {headers: *a}\n", "referenced elsewhere"),
        (b"a: b: c\n", "mapping values are not allowed here in line 1"),
    ],
)
def test_a_file_that_cannot_be_edited_is_refused_and_the_way_out_told(
    host: Host, capsys: pytest.CaptureFixture[str], text: bytes, why: str
) -> None:
    """Nothing is changed, and the lines can be had without us."""
    host.config.write_bytes(text)
    said = reported(capsys, host)
    assert str(host.config) in said and "[registry-config-not-editable]" in said and why in said
    assert "they are the output registry_config" in said
    assert (host.config.read_bytes(), host.restarts, host.untidy()) == (text, 0, [])


def test_a_file_that_is_not_there_is_named(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """And one whose directory for the certificate is not."""
    missing = reported(capsys, host, config=str(host.dir / "none.yml"))
    assert f"{host.dir}/none.yml [registry-config-missing]" in missing
    nowhere = reported(capsys, host, certificate=str(host.dir / "none/gitlab.crt"))
    assert "[file-not-written]" in nowhere and "No such file or directory" in nowhere
    assert host.config.read_bytes() == host.original


S3 = {"driver": "s3", "place": [None, "acme", ""], "shown": "s3://acme"}
MOVE = [{"path": ["storage"], "only": ["s3"]}, {"path": ["storage", "s3"], "value": {"bucket": "acme"}}]


def test_a_registry_with_images_is_not_moved_to_another_storage(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless the configuration says that they were copied; an empty one is moved."""
    order: dict[str, Any] = {"edits": [*host.order["edits"], *MOVE], "storage": S3}
    repositories = host.dir / "images/docker/registry/v2/repositories/group"
    repositories.mkdir(parents=True)
    said = reported(capsys, host, **order)
    assert f"from filesystem {str(host.dir)[1:]}/images to s3://acme [storage-would-move]" in said
    assert "the registry holds images; after the change it would not find them" in said
    assert "storage.data_moved true" in said and "nothing was changed" in said
    repositories.rmdir()
    assert host.apply(**order)["restarted"] is True
    # A directory that is not there may be a container's own.
    host.undo()
    elsewhere = host.original.replace(b"/images}", b"/no-such-place}")
    host.config.write_bytes(elsewhere)
    assert "it is unknown whether the registry holds images" in reported(capsys, host, **order)
    host.config.write_bytes(host.original)
    host.apply(**order)
    # And back: what is in a bucket cannot be seen without its key.
    said = reported(capsys, host)
    assert "from s3 acme to what its configuration said before [storage-would-move]" in said
    assert "it is unknown whether the registry holds images" in said
    assert host.apply(data_moved=True)["restarted"] is True


def test_a_storage_that_is_merged_from_elsewhere_is_not_guessed(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """YAML's << would have to be resolved to know where the images are."""
    host.config.write_bytes(host.config.read_bytes() + b"<<: {log: {level: info}}\n")
    said = reported(capsys, host, "inspect_storage")
    assert "[storage-undetermined]" in said and "write the storage out" in said


def test_an_error_that_nobody_has_foreseen_is_a_failure_too(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line of the program, to be reported."""
    monkeypatch.setattr(main, "verify", lambda order: order["none"])
    with pytest.raises(KeyError) as error:
        host.program().run("verify")
    report.failure(host.order, Failure.of(error.value))
    assert "[program-stopped]\n  cause: KeyError: 'none' (" in capsys.readouterr().err


def test_every_failure_of_the_source_is_asserted_above() -> None:
    """By its code."""
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [
        failure for failure in of_registries() if f"[{failure.code}]" not in tests.replace("\\", "")
    ] == []


def test_a_destroy_says_where_images_stay(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """The registry is on its former storage afterwards."""
    host.apply(edits=[*host.order["edits"], *MOVE], storage=S3)
    host.undo()
    assert (
        "uses its former storage again (filesystem); the images in s3://acme remain there"
        in capsys.readouterr().err
    )
    assert host.config.read_bytes() == host.original


def test_two_programs_on_one_host_wait_for_each_other(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For as long as a reconfigure may take; then the second gives up, having touched nothing."""
    waited: list[float] = []
    monkeypatch.setattr(main, "time", SimpleNamespace(sleep=waited.append, monotonic=lambda: sum(waited)))
    with (host.dir / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = reported(capsys, host)
    assert said.count("waiting for another run") == 1
    assert "[another-run-in-progress]" in said
    assert 60 <= sum(waited) < 62
    assert host.config.read_bytes() == host.original


def test_the_state_can_be_read_by_nobody_else_and_holds_the_original(host: Host) -> None:
    """From it an undo knows everything, also when the order of then is lost."""
    host.apply()
    state = json.loads((host.dir / "own/state.json").read_text())
    assert state["original"].encode() == host.original
    assert state["owner"] == "acme/gitlab-geo-registry/prod"


def test_whatever_is_shown_is_utf_8() -> None:
    """In any locale: the provider can pass on nothing else, and fails the run after it has ended well."""
    source = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from hosts.external_registry import report\n"
        r"report.say('f\u00fcr \udcfc'); report.result({'f\u00fcr': '\udcfc'})"
    )
    root = str(Path(__file__).resolve().parents[2])
    for encoding in ("utf-8", "iso-8859-1"):
        # As a locale of that encoding has it; -I ignores the variable, so that is not taken here.
        done = subprocess.run(
            [sys.executable, "-c", source, root],
            env={"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert done.stderr.decode() == "f\u00fcr \\udcfc\n"
        assert json.loads(done.stdout.decode()) == {"f\u00fcr": "\udcfc"}
