"""One host of the lab: its power, its files, and commands that run on it without SSH."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import network
from lab.services import CLEAN, http_status, spawn, wait_for
from lab.sites import Layout, Node, Site

BOOT = Path(__file__).parent / "scripts/boot-host.sh"
RUN = Path("/run/lab")
"""Pid files and sockets, in the lab's own mount namespace."""

REGISTRY = "registry"
"""GitLab's own registry, in the lab's directory; without it, the hosts run the stand-in on their disks."""
AUTH_LOG = "var/log/auth.log"
RUNIT_SERVICES = {
    "rails": ("puma", "nginx"),
    "sidekiq": ("sidekiq",),
    "registry": ("registry", "nginx"),
    "distribution": ("docker-registry", "image-audit"),
}
VERSION_FILE = "/opt/gitlab/embedded/service/gitlab-rails/VERSION"
"""The Linux package's version file; the lab's GitLab behaves like that version."""
LINES_OF_A_FAILURE = 60
"""The reason of a failed reconfigure is at the end of the output, after every file that it changed."""
SERVICE_DIRECTORIES = ("opt/gitlab/sv", "etc/sv")
"""runit's service directories: GitLab's, and those that an administrator has created."""


class Host:
    """A host of the running lab. `dir` is its file tree, `dir/"etc"` its /etc, and so on."""

    def __init__(
        self, lab_dir: Path, layout: Layout, site: Site | None, node: Node, id: str | None = None
    ) -> None:
        self.node, self.site = node, site
        self.name, self.address, self.ssh_port = node.name, node.address, node.ssh_port
        self._id = id or node.name
        self.dir = lab_dir / "hosts" / self._id
        self._lab_dir = lab_dir
        self._layout = layout
        self._pid_file = RUN / f"{self._id}.pid"

    @property
    def address6(self) -> str:
        """Its IPv6 address, if the kernel supports IPv6; created hosts have none."""
        return self.node.address6

    # -- power

    def start(self) -> None:
        """Boot, and return when sshd listens; GitLab's services may still be starting."""
        if self.is_up():
            return
        self.power_on()
        # Written when sshd listens on all its addresses.
        wait_for(Path(f"/proc/{self._pid()}/root/run/sshd.pid").exists, f"sshd on {self.name}", 15)
        wait_for(self._runit_listens, f"runit on {self.name}", 15)

    def power_on(self) -> None:
        """Switch it on without waiting for it."""
        if self.is_up():
            return
        self._pid_file.unlink(missing_ok=True)
        console = self._lab_dir / "logs" / f"{self.name}.console"
        # setsid --fork: the host outlives the process that starts it, and the lab's pid 1 reaps it.
        namespaces = ["setsid", "--fork", "nsenter", f"--net=/run/netns/{self._id}", "unshare", "--mount"]
        namespaces += ["--pid", "--uts", "--ipc", "--fork", "--kill-child", "--propagation", "private"]
        boot = [str(BOOT), str(self.dir), str(self._pid_file), *self._databases()]
        # GitLab's own registry, if the lab has it.
        registry = self._lab_dir / REGISTRY
        environment = {"REGISTRY": str(registry)} if registry.exists() else {}
        spawn([*namespaces, *boot], console, environment | self._boot_environment()).wait()
        try:
            wait_for(self._pid_file.exists, f"host {self.name}", 15)
        except TimeoutError as error:
            raise RuntimeError(f"{error}; its console:\n{console.read_text()}") from error
        self._plug(connected=True)

    def _databases(self) -> list[str]:
        """The path of the databases and their mode; empty: on the host's own disk."""
        if self.site is None or self.node.runs == ("registry",):
            return ["", "", ""]
        mode = "rw" if self.site.role == "primary" else "ro"
        databases = self._lab_dir / "db"
        return [str(databases / "primary"), mode, str(databases / f"{self.site.name}-geo")]

    def _plug(self, connected: bool) -> None:
        network.plug(self._layout, self.node, connected=connected)

    def _boot_environment(self) -> dict[str, str]:
        return {}

    def stop(self) -> None:
        """Cut the power: every process ends immediately, and the address no longer answers."""
        if not self.is_up():
            return
        pid = self._pid()
        self._plug(connected=False)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.is_up(), f"the end of {self.name}", 15, step=0.005)
        self._pid_file.unlink()

    def is_up(self) -> bool:
        """Whether the host is on."""
        return self._pid_file.exists() and Path(f"/proc/{self._pid()}").exists()

    def reset(self) -> None:
        """Restore the factory state: the files from just before the lab's command started, and a reboot."""
        self.stop()
        self.restore()
        self.start()
        self.wait_ready()

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until runit has every service of this node running and its GitLab and registry answer."""
        try:
            wait_for(lambda: not self.services_down(), "GitLab", seconds)
        except TimeoutError as error:
            down = ", ".join(self.services_down())
            raise RuntimeError(f"{self.name}: {down} not up after {seconds:g} s") from error
        for url in self._urls():
            wait_for(lambda: 200 <= http_status(url, self.address) < 500, f"{url} on {self.name}", seconds)  # noqa: B023

    def _urls(self) -> list[str]:
        """The URL of this host's site or registry that this host answers."""
        site = self.site or self._layout.registry_of(self.node)
        if site is None:
            return []
        registry = f"{site.registry_url}/v2/"
        known = {
            "rails": f"{site.external_url}/-/readiness",
            "registry": registry,
            "distribution": registry,
        }
        return [known[part] for part in self.node.runs if part in known]

    def services_down(self) -> list[str]:
        """Services that this node should run but that do not run."""
        wanted = [service for part in self.node.runs for service in RUNIT_SERVICES[part]]
        return [name for name in dict.fromkeys(wanted) if self._supervised(name, "stat") != "run"]

    def _supervised(self, service: str, file: str) -> str:
        """runit's status of a service; "" for an unknown one."""
        found = (self._text(f"{sv}/{service}/supervise/{file}").strip() for sv in SERVICE_DIRECTORIES)
        return next(filter(None, found), "")

    def _runit_listens(self) -> bool:
        services = [service for sv in SERVICE_DIRECTORIES for service in (self.dir / sv).glob("*")]
        return all((service / "supervise/ok").exists() for service in services)

    def _pid(self) -> int:
        return int(self._pid_file.read_text())

    # -- commands

    def run(
        self,
        command: str | Sequence[str],
        input: str | None = None,
        check: bool = True,
        user: str = "root",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line (or an argv) on the host, entering its namespaces rather than over SSH.

        CalledProcessError shows stdout and stderr if `check`; TimeoutExpired after `timeout` seconds.
        """
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        uid, home = self._account(user)
        enter = ["nsenter", f"--target={self._pid()}", "--mount", "--net", "--pid", "--uts", "--ipc"]
        enter += [f"--setuid={uid}", f"--setgid={uid}", "--", "env", f"HOME={home}", f"USER={user}"]
        process = subprocess.Popen(
            [*enter, *argv],
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=CLEAN,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            # The whole process group: nsenter's child would continue, and keep the pipes open.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if check and process.returncode:
            raise CommandFailed(process.returncode, argv, stdout, stderr)
        return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)

    def _account(self, user: str) -> tuple[int, str]:
        for line in (self.dir / "etc/passwd").read_text().splitlines():
            name, _, uid, _, _, home, _ = line.split(":")
            if name == user:
                return int(uid), home
        raise KeyError(f"{self.name} has no user {user!r}")

    def processes(self, environ: bool = False) -> list[str]:
        """The command line of every process on the host now, with its environment behind it if `environ`."""
        namespace = Path(f"/proc/{self._pid()}/ns/pid").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/pid").readlink() != namespace:
                    continue
                text = (process / "cmdline").read_bytes()
                if environ:
                    text += b"\0" + (process / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # It has ended meanwhile.
            found.append(text.replace(b"\0", b" ").decode(errors="replace").strip())
        return found

    def ssh_sessions(self) -> int:
        """How many SSH logins the host has accepted since its factory state."""
        return len(re.findall(r"^Accepted ", self._text(AUTH_LOG), re.MULTILINE))

    def reconfigures(self) -> int:
        """How many times `gitlab-ctl reconfigure` has run on this host; once in the factory state."""
        return len(list((self.dir / "var/log/gitlab/reconfigure").glob("*.log")))

    # -- GitLab

    @property
    def gitlab_version(self) -> str:
        """The version of GitLab that is installed, "18.11.0"."""
        return self.read(VERSION_FILE).decode().strip().partition("-")[0]

    def upgrade(self, version: str) -> None:
        """Install another version of GitLab, "19.0.0"; like the package, this reconfigures the node."""
        self.install(version)
        self.run(["gitlab-ctl", "reconfigure"])

    def install(self, version: str) -> None:
        """Only write another GitLab version to the host's disk."""
        self.write(VERSION_FILE, f"{version}-ee\n")

    # -- files

    def path(self, path: str) -> Path:
        """The host's absolute `path` on the workstation; links in it are not followed."""
        below = path.lstrip("/")
        return self.dir / ("usr-local" + below[9:] if below.startswith("usr/local") else below)

    def read(self, path: str) -> bytes:
        """The content of a file on the host."""
        return self.path(path).read_bytes()

    def write(self, path: str, data: bytes | str, mode: int | None = None) -> None:
        """Write a file on the host in place; an existing file keeps its mode unless `mode` is set."""
        target = self.path(path)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        if mode is not None:
            target.chmod(mode)

    def exists(self, path: str) -> bool:
        """Whether the host has this path; a dangling link counts."""
        return os.path.lexists(self.path(path))

    def fill_disk(self) -> None:
        """Fill the host's disk: /etc, /var, /opt and the homes; /tmp and /run are not on that disk."""
        fill_disk(self.dir / ".filler")

    def free_disk(self) -> None:
        """Undo `fill_disk`."""
        (self.dir / ".filler").unlink(missing_ok=True)

    def snapshot(self) -> None:
        """Save the current files as the factory state."""
        replace_tree(self.dir, self._lab_dir / "factory/hosts" / self.name)

    def restore(self) -> None:
        """Restore the files of the factory state; the host must be off."""
        replace_tree(self._lab_dir / "factory/hosts" / self.name, self.dir)

    def _text(self, path: str) -> str:
        file = self.dir / path
        return file.read_text(errors="replace") if file.exists() else ""


class CommandFailed(subprocess.CalledProcessError):
    """A CalledProcessError that shows the end of the command's output, so that a failed test shows the
    reason.
    """

    def __str__(self) -> str:
        said = [*self.stdout.splitlines(), *self.stderr.splitlines()]
        return "\n".join([super().__str__(), *said[-LINES_OF_A_FAILURE:]])


def fill_disk(filler: Path) -> None:
    """Fill the disk that this file is on, with the file."""
    with filler.open("ab", buffering=0) as file:
        block = bytes(1 << 20)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]


def replace_tree(source: Path, target: Path) -> None:
    """Make `target` an exact copy of `source`: owners, modes, links, fifos."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in target.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    subprocess.run(["cp", "--archive", f"{source}/.", str(target)], check=True)
