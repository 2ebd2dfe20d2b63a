"""The Debian packages that the lab needs: installed when root, asked for in one line otherwise.

Standard library only: this runs before `.venv` exists.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.progress import SetupError, run, say, step

VARIABLE = "GITLAB_REGISTRY"
"""With the program of GitLab's own registry, for the lab's hosts: docs/real-registry.md."""

# Package → a program it brings. Programs are looked for rather than packages: a machine with nginx-full
# needs no nginx-light.
PROGRAMS: Mapping[str, str] = {
    "openssh-server": "sshd",
    "openssh-client": "ssh",
    "openssl": "openssl",
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "ruby": "ruby",
    "runit": "runsvdir",
    "nginx-light": "nginx",
    "nftables": "nft",
    "sudo": "sudo",
    "iproute2": "ip",
    "uidmap": "newuidmap",
    "curl": "curl",
    "dnsmasq-base": "dnsmasq",
    "shellcheck": "shellcheck",
    "rubocop": "rubocop",
}
# Programs that Debian keeps apart from PATH, for several versions side by side.
APART: Mapping[str, str] = {"postgresql": "postgresql/*/bin/postgres"}
LIBRARIES = Path("/usr/lib")
# The hosts of the lab see the system's directories only, so a ruby of rbenv is of no use to them.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# Services that come with the packages. On the user's machine they neither start now nor at the next boot.
SERVICES: Mapping[str, tuple[str, ...]] = {
    "openssh-server": ("ssh.service", "ssh.socket"),
    "docker-registry": ("docker-registry.service",),
    "nginx-light": ("nginx.service",),
    "postgresql": ("postgresql.service",),
}

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "# from the setup of gitlab-geo-registry: lets packages be installed without starting services"

FIRST_SUBORDINATE_ID = 100_000
SUBORDINATE_IDS = 65_536


def missing_packages(
    find: Callable[[str], str | None] = lambda program: shutil.which(program, path=SYSTEM_PATH),
    certificates: Path = Path("/etc/ssl/certs/ca-certificates.crt"),
    libraries: Path = LIBRARIES,
) -> list[str]:
    """The names of the packages that still have to be installed, in the order of the tables."""
    packages = [package for package, program in PROGRAMS.items() if find(program) is None]
    packages += [package for package, program in APART.items() if not any(libraries.glob(program))]
    if not certificates.exists():
        packages.append("ca-certificates")
    # Debian's Python has `venv`, but without this package no pip to put into one.
    if importlib.util.find_spec("ensurepip") is None and sys.base_prefix == "/usr":
        packages.append(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    return packages


def install_line(packages: Iterable[str]) -> str:
    """The one command that installs `packages`, to be shown to a non-root user."""
    return f"sudo apt-get install --no-install-recommends {' '.join(packages)}"


def ensure_packages(log: Path, *, root: bool) -> None:
    """Installs what is missing. As a non-root user: raises SetupError with the line that does it."""
    if root:
        _remove_own_policy()
    packages = missing_packages()
    if not packages:
        return
    if not root:
        raise SetupError(
            f"The lab needs Debian packages that are not installed ({len(packages)} missing). "
            f"Nothing has been changed. Run this, then try again:\n  {install_line(packages)}"
        )
    if shutil.which("apt-get") is None:
        raise SetupError(f"The lab needs Debian or Ubuntu: no apt-get here to install {' '.join(packages)}.")
    with step(f"Debian packages: {' '.join(packages)}"):
        with _services_stay_down():
            _apt_install(packages, log)
        _disable_services(packages, log)
    still = missing_packages()
    if still:
        raise SetupError(f"apt-get succeeded, yet these packages are still missing: {' '.join(still)}")


def _apt_install(packages: list[str], log: Path) -> None:
    env = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        # Ubuntu's needrestart would restart services of the machine that have nothing to do with us.
        "NEEDRESTART_SUSPEND": "1",
    }
    options = ["-y", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold"]
    install = ["apt-get", *options, "install", "--no-install-recommends", *packages]
    try:
        run(install, log=log, env=env, detached=True)
    except SetupError:
        # A new machine has no package lists, an old one lists of packages long gone; and an installation
        # that was killed leaves packages half configured.
        say("    once more with fresh package lists")
        run(["dpkg", "--configure", "-a"], log=log, env=env, detached=True)
        run(["apt-get", *options, "update"], log=log, env=env, detached=True)
        run(install, log=log, env=env, detached=True)


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """While packages are installed, no service of theirs may start. A policy of the machine's own stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(f"#!/bin/sh\n{POLICY_MARK}\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        _remove_own_policy()


def _remove_own_policy() -> None:
    """Also removes what a killed setup has left behind, but never another policy."""
    if POLICY.is_file() and POLICY_MARK in POLICY.read_text(errors="replace"):
        POLICY.unlink()


def _disable_services(packages: Iterable[str], log: Path) -> None:
    units = [unit for package in packages for unit in SERVICES.get(package, ())]
    if units and shutil.which("systemctl"):
        for unit in units:
            try:
                run(["systemctl", "disable", unit], log=log, detached=True)
            except SetupError:
                continue  # not every release has each of these units


def ensure_namespaces(*, root: bool) -> None:
    """Raises SetupError, with the remedy in one line, where the lab cannot make its namespaces."""
    error = _try_namespaces([] if root else ["--user", "--map-root-user", "--map-auto"])
    if error is None:
        return
    if root:
        raise SetupError(
            f"The lab needs network namespaces, which this machine forbids: {error}\n"
            "Run it on a machine of its own, or in a container that may have them (--privileged)."
        )
    user = pwd.getpwuid(os.getuid()).pw_name
    remedy = namespace_remedy(user, os.getuid())
    if not remedy:
        raise SetupError(
            f"The lab makes its hosts in user namespaces, which are refused here ({error}) though the\n"
            "kernel allows them: by a container's runtime, most likely. Run it on a machine of its own, or "
            "as root in a container that may have them (--privileged)."
        )
    raise SetupError(
        "The lab makes its hosts in user namespaces, which this user cannot have yet "
        f"({error}). Nothing has been changed. Run this, then try again:\n  {remedy}"
    )


def _try_namespaces(mapping: list[str]) -> str | None:
    """None if it works, else the reason."""
    probe = ["unshare", *mapping, "--net", "--mount", "--pid", "--fork", "true"]
    # An unshare that is refused leaves a helper behind, which waits forever for ids to map and would keep a
    # pipe open: hence a file for the output, and an end for all of the probe's process group.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            probe, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        status = process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        return None if status == 0 else output.read().decode(errors="replace").strip()


def namespace_remedy(user: str, uid: int, etc: Path = Path("/etc"), proc: Path = Path("/proc/sys")) -> str:
    """The command that lets `user` have user namespaces with subordinate ids, "" where none would help."""
    if not all(_has_subordinate_ids(etc / name, user, uid) for name in ("subuid", "subgid")):
        first = next_subordinate_id(etc / "subuid", etc / "subgid")
        ids = f"{first}-{first + SUBORDINATE_IDS - 1}"
        return f"sudo usermod --add-subuids {ids} --add-subgids {ids} {user}"
    if _value(proc / "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    if _value(proc / "kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    many = _value(proc / "user/max_user_namespaces")
    return "" if many and many != "0" else "sudo sysctl user.max_user_namespaces=10000"


def next_subordinate_id(*files: Path) -> int:
    """The first id beyond every range that any user has."""
    text = "\n".join(file.read_text() for file in files if file.exists())
    ends = [int(start) + int(count) for start, count in re.findall(r"(?m)^[^:\n]+:(\d+):(\d+)$", text)]
    return max([FIRST_SUBORDINATE_ID, *ends])


def _has_subordinate_ids(file: Path, user: str, uid: int) -> bool:
    owners = {line.partition(":")[0] for line in file.read_text().splitlines()} if file.exists() else set()
    return not owners.isdisjoint({user, str(uid)})


def _value(file: Path) -> str | None:
    return file.read_text().strip() if file.exists() else None
