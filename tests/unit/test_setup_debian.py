"""The Debian packages of the lab: installed when root, asked for otherwise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import ci_setup, debian
from tools.progress import SetupError

LOG = Path("setup.log")


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /usr/sbin/policy-rc.d."""
    file = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "POLICY", file)
    return file


class Machine:
    """A machine on which some packages are missing; `ran` holds the commands, with the policy at that time."""

    def __init__(self, missing: list[str], policy: Path, *, without_lists: bool = False) -> None:
        self.missing = missing
        self.policy = policy
        self.without_lists = without_lists
        self.ran: list[str] = []
        self.policies: list[bool] = []

    def run(self, argv: Sequence[object], **_: object) -> None:
        command = " ".join(map(str, argv))
        self.ran.append(command)
        self.policies.append(self.policy.exists())
        if command.endswith(" update"):
            self.without_lists = False
        elif " install " in command:
            if self.without_lists:
                raise SetupError("Unable to locate package")
            self.missing = []


def machine(
    monkeypatch: pytest.MonkeyPatch, policy: Path, missing: Sequence[str], *, without_lists: bool = False
) -> Machine:
    made = Machine(list(missing), policy, without_lists=without_lists)
    monkeypatch.setattr(debian, "run", made.run)
    monkeypatch.setattr(debian, "missing_packages", lambda: made.missing)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    return made


def test_only_packages_whose_program_is_missing_count(tmp_path: Path) -> None:
    certificates = tmp_path / "ca-certificates.crt"
    certificates.touch()
    there = set(debian.PROGRAMS.values()) - {"skopeo", "runsvdir"}
    postgresql(tmp_path)
    found = debian.missing_packages(
        lambda program: program if program in there else None, certificates, tmp_path
    )
    assert found == ["skopeo", "runit"]


def postgresql(libraries: Path) -> None:
    """Install it where Debian has it."""
    (libraries / "postgresql/15/bin").mkdir(parents=True)
    (libraries / "postgresql/15/bin/postgres").touch()


def test_postgresql_is_looked_for_where_debian_has_it(tmp_path: Path) -> None:
    """Its programs are not on PATH. Its client alone is not enough."""
    certificates = tmp_path / "ca-certificates.crt"
    certificates.touch()

    def missing() -> list[str]:
        return debian.missing_packages(lambda program: program, certificates, tmp_path)

    (tmp_path / "postgresql/14/bin").mkdir(parents=True)
    (tmp_path / "postgresql/14/bin/psql").touch()
    assert missing() == ["postgresql"]
    postgresql(tmp_path)
    assert missing() == []


def test_a_failed_installation_is_tried_once_more_with_fresh_lists(
    monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    made = machine(monkeypatch, policy, ["skopeo"], without_lists=True)
    debian.ensure_packages(LOG, root=True)
    assert [command.split()[-1] for command in made.ran] == ["skopeo", "-a", "update", "skopeo"]


def test_services_of_the_packages_neither_start_nor_are_enabled(
    monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    """While apt-get runs a policy forbids every start; it is gone afterwards."""
    made = machine(monkeypatch, policy, ["nginx-light", "skopeo", "postgresql"])
    debian.ensure_packages(LOG, root=True)
    assert made.policies[0]
    assert not policy.exists()
    assert made.ran[1:] == ["systemctl disable nginx.service", "systemctl disable postgresql.service"]


def test_a_service_that_was_there_before_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    made = machine(monkeypatch, policy, ["skopeo"])
    debian.ensure_packages(LOG, root=True)
    assert not any("systemctl" in command for command in made.ran)


def test_the_policy_goes_away_also_after_a_failure(monkeypatch: pytest.MonkeyPatch, policy: Path) -> None:
    machine(monkeypatch, policy, ["skopeo"])

    def broken(*_: object, **__: object) -> None:
        raise SetupError("no space left on device")

    monkeypatch.setattr(debian, "run", broken)
    with pytest.raises(SetupError, match="no space left"):
        debian.ensure_packages(LOG, root=True)
    assert not policy.exists()


def test_a_policy_left_by_a_killed_set_up_is_removed(monkeypatch: pytest.MonkeyPatch, policy: Path) -> None:
    machine(monkeypatch, policy, [])
    policy.write_text(f"#!/bin/sh\n{debian.POLICY_MARK}\nexit 101\n")
    debian.ensure_packages(LOG, root=True)
    assert not policy.exists()


def test_a_policy_of_the_machine_itself_stays(monkeypatch: pytest.MonkeyPatch, policy: Path) -> None:
    machine(monkeypatch, policy, ["skopeo"])
    policy.write_text("#!/bin/sh\nexit 101\n")
    debian.ensure_packages(LOG, root=True)
    assert policy.read_text() == "#!/bin/sh\nexit 101\n"


def test_packages_that_apt_did_not_bring_are_named(monkeypatch: pytest.MonkeyPatch, policy: Path) -> None:
    machine(monkeypatch, policy, ["skopeo"])
    monkeypatch.setattr(debian, "run", lambda *_, **__: None)
    with pytest.raises(SetupError, match="still missing: skopeo"):
        debian.ensure_packages(LOG, root=True)


# User namespaces -----------------------------------------------------------------------------------------


def test_a_user_without_subordinate_ids_gets_a_range_that_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("ann:100000:65536\n")
    (tmp_path / "subgid").write_text("ann:100000:65536\nbob:165536:65536\n")
    assert debian.namespace_remedy("carl", 1003, tmp_path, tmp_path) == (
        "sudo usermod --add-subuids 231072-296607 --add-subgids 231072-296607 carl"
    )


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("unprivileged_userns_clone", "1", "user.max_user_namespaces=10000"),
    ],
)
def test_a_kernel_that_forbids_user_namespaces_has_its_own_remedy(
    tmp_path: Path, setting: str, value: str, remedy: str
) -> None:
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("1000:100000:65536\n")
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / setting).write_text(f"{value}\n")
    assert debian.namespace_remedy("ann", 1000, tmp_path, tmp_path) == f"sudo sysctl {remedy}"


@pytest.mark.parametrize(("many", "helps"), [("0", True), ("96364", False)])
def test_a_limit_that_is_not_reached_is_not_raised(tmp_path: Path, many: str, helps: bool) -> None:
    """A container's runtime refuses them then, which no setting of the kernel changes."""
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("1000:100000:65536\n")
    (tmp_path / "user").mkdir()
    (tmp_path / "user/max_user_namespaces").write_text(f"{many}\n")
    assert bool(debian.namespace_remedy("ann", 1000, tmp_path, tmp_path)) is helps


def test_what_is_missing_is_told_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where there is no apt-get, on what it runs."""
    monkeypatch.setattr(debian, "missing_packages", lambda: ["runit", "skopeo"])
    monkeypatch.setattr(debian, "_remove_own_policy", lambda: None)
    with pytest.raises(SetupError, match=r"\(2 missing\)[\s\S]*apt-get install .*runit skopeo"):
        debian.ensure_packages(tmp_path / "log", root=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="needs Debian or Ubuntu: no apt-get here to install runit skopeo"):
        debian.ensure_packages(tmp_path / "log", root=True)


def test_a_machine_that_forbids_namespaces_is_told_of_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As root and as an non-root user, with a line that helps or where none would."""
    monkeypatch.setattr(debian, "_try_namespaces", lambda _: "Operation not permitted")
    with pytest.raises(SetupError, match=r"needs network namespaces[\s\S]*--privileged"):
        debian.ensure_namespaces(root=True)
    monkeypatch.setattr(debian, "namespace_remedy", lambda *_: "")
    with pytest.raises(SetupError, match=r"by a container's runtime[\s\S]*--privileged"):
        debian.ensure_namespaces(root=False)
    monkeypatch.setattr(debian, "namespace_remedy", lambda *_: "sudo sysctl x=1")
    with pytest.raises(SetupError, match=r"Run this, then try again:\n  sudo sysctl x=1"):
        debian.ensure_namespaces(root=False)


def test_a_job_that_is_not_root_is_told_the_line_for_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the lab's packages those alone that the CI's own setup needs."""
    monkeypatch.setattr(debian, "missing_packages", lambda: [*ci_setup.NEEDED, "skopeo"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ci_setup.main(tmp_path) == 1
    reported = capsys.readouterr().err
    assert "Debian packages are missing. Run this, then try again:" in reported
    assert reported.rstrip().endswith(" ".join(ci_setup.NEEDED)) and "skopeo" not in reported
