"""Process 1 of a lab: creates everything, runs the command, and removes everything when it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from lab import gitlab_registry, network, project, rootfs, services
from lab.api import Lab
from lab.authority import Authority
from lab.host import REGISTRY, RUN, Host
from lab.layouts import LAYOUTS
from lab.services import Credentials
from lab.site_credentials import SiteCredentials
from lab.sites import Layout
from lab.workstation import make_home, make_workstation

DISK = "size=96m,mode=755"
"""Size of a host's disk: enough for GitLab's files and small images, and quickly filled."""
GRACE = 5.0
"""Seconds within which a command must end after SIGTERM."""


class Progress:
    """A line per step on stderr, with the seconds since the lab started."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(f"[dim]lab {seconds:5.1f} s[/dim]  {text}", soft_wrap=True)


def build(lab_dir: Path, sites: str, progress: Progress) -> dict[str, str]:
    """Start the whole lab and return the environment of its command. Slow parts run side by side."""
    layout = LAYOUTS[sites]
    for name in ("ca", "home", "logs", "tmp"):
        (lab_dir / name).mkdir()
    _mount_disks(lab_dir, layout)
    version = _install_registry(lab_dir, progress)
    authority = Authority()
    site_credentials = SiteCredentials(layout, authority)
    site_credentials.write_trust(lab_dir / "ca")
    authority.save(RUN / "authority.pem")
    operator_key = make_home(lab_dir / "home", layout)
    make_workstation(lab_dir, project.TMP)
    network.create(layout)
    logs = lab_dir / "logs"
    wait_for_aws = services.start_aws(lab_dir, logs / "moto.log")
    services.start_agent(lab_dir / "home/.ssh/id_ed25519", project.AGENT)
    services.start_dns(layout, logs / "dnsmasq.log")
    progress(f"network and DNS, {sites} sites")

    hosts = [Host(lab_dir, layout, site, node) for site, node in layout.nodes()]

    def bring_up(host: Host) -> None:
        rootfs.make(host.dir, host.site, host.node, authority, operator_key)
        site_credentials.write_files(host.dir, host.site, host.node)
        if host.site is not None:
            host.install(version)
        host.start()
        if host.site is not None:
            host.run(["gitlab-ctl", "reconfigure"])
        host.wait_ready()
        progress(f"host {host.name} at {host.address}, {', '.join(host.node.runs) or 'SSH only'}")

    def aws() -> Credentials:
        services.start_front(authority, RUN / "front", logs / "front.log")
        wait_for_aws()
        credentials = services.reset_aws()
        progress("S3 and IAM (moto), keys and policies enforced")
        return credentials

    engine_dirs = project.engine_path()
    outer = dict(os.environ)

    def stacks() -> None:
        project.make(lab_dir, version)
        for line in project.install_providers(lab_dir):
            progress(line)
        env = project.environment(lab_dir, Credentials("", ""), engine_dirs, outer)
        names = project.init_stacks(lab_dir, env)
        progress(f"stacks {', '.join(names)}" if names else "no Pulumi engine yet, so no stacks")

    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(stacks), *(pool.submit(bring_up, host) for host in hosts)]
        credentials = pool.submit(aws).result()
        for job in waiting:
            job.result()
    lab = Lab(lab_dir, sites, credentials)
    lab.save()
    lab.snapshot()
    progress("ready")
    return project.environment(lab_dir, credentials, engine_dirs, outer)


def _install_registry(lab_dir: Path, progress: Progress) -> str:
    """Install GitLab's own registry, if there is one, for the hosts; returns the hosts' GitLab version."""
    registry = gitlab_registry.chosen()
    if registry is not None:
        # A copy, so that every user on a host can read it.
        shutil.copyfile(registry.path, lab_dir / REGISTRY)
        (lab_dir / REGISTRY).chmod(0o755)
    progress(f"registry: {registry or gitlab_registry.STAND_IN}")
    return gitlab_registry.gitlab_version(registry)


def _mount_disks(lab_dir: Path, layout: Layout) -> None:
    """A tmpfs per host: it can be filled, can contain files of any owner, and leaves nothing behind."""
    disks = {lab_dir / "hosts" / node.name: DISK for _, node in layout.nodes()}
    disks |= {lab_dir / "factory": "mode=755", lab_dir / "db": "mode=755", Path("/run"): "mode=755"}
    for directory, options in disks.items():
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "lab", str(directory)], check=True)
    RUN.mkdir()
    (RUN / "front").mkdir()
    for name in ("primary", *(f"{site.name}-geo" for site in layout.sites)):
        (lab_dir / "db" / name).mkdir()
        (lab_dir / "db" / name).chmod(0o1777)
    # A secondary's directory is read-only: without it, its PostgreSQL could not have its socket there.
    (lab_dir / "db/primary/.s.PGSQL.5432").symlink_to("/run/registry-postgresql/.s.PGSQL.5432")


def run_command(command: list[str], env: dict[str, str], cwd: Path, stopped: threading.Event) -> int:
    """Run the command and reap orphaned processes meanwhile; returns the command's exit status."""
    process = subprocess.Popen(command, env=env, cwd=cwd)

    def stop() -> None:
        stopped.wait()
        process.terminate()
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == process.pid:
            code = os.waitstatus_to_exitcode(status)
            process.returncode = code  # Or Popen would wait for it again.
            return code if code >= 0 else 128 - code


def main() -> NoReturn:
    """Arguments come as JSON from lab.launch."""
    options = json.loads(sys.argv[1])
    lab_dir = Path(options["lab_dir"])
    stopped = threading.Event()
    begun = threading.Event()

    def lifeline() -> None:
        os.read(options["lifeline"], 1)
        stopped.set()
        if not begun.is_set():
            os._exit(1)

    threading.Thread(target=lifeline, daemon=True).start()
    # While the command runs, it handles Ctrl-C: the terminal has signaled it too. Before that, lab.launch
    # handles it, because the parts that are being started die of it as well.
    signal.signal(signal.SIGINT, lambda *_: None if begun.is_set() else os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    progress = Progress(options["quiet"])
    try:
        env = build(lab_dir, options["sites"], progress)
    except Exception as error:  # noqa: BLE001 - process 1 must end with a message in any case
        Console(stderr=True).print(f"lab: could not start: {error}", markup=False, soft_wrap=True)
        _collect_logs(lab_dir)
        os._exit(1)
    begun.set()
    os.write(options["begun"], b".")
    try:
        status = run_command(options["command"], env, Path(options["cwd"] or lab_dir / "project"), stopped)
    except OSError as error:
        print(f"lab: {options['command'][0]}: {error.strerror}", file=sys.stderr)
        status = 127
    if status or options["keep_state"]:
        _collect_logs(lab_dir)
    os._exit(status)


def _collect_logs(lab_dir: Path) -> None:
    """Copy the hosts' logs to a directory that outlives the hosts, owned by the user."""
    for host in (lab_dir / "hosts").glob("*"):
        command = ["cp", "--recursive", str(host / "var/log"), str(lab_dir / "logs" / host.name)]
        subprocess.run(command, check=False, capture_output=True)


if __name__ == "__main__":
    main()
