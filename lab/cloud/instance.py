"""An instance as a host of the lab: its disk from an image, its first boot, its power."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from lab.cloud import routing
from lab.cloud.cloud_init import FirstBoot
from lab.host import Host
from lab.rootfs import write
from lab.services import wait_for
from lab.sites import Layout, Node

DISK = "size=96m,mode=755"
"""Size of a host's disk: enough for GitLab's files and small images, and quickly filled."""
BOOT_SECONDS = "1"
"""Time from an instance that is "running" to an sshd that answers; half a minute on EC2."""


class Instance(Host):
    """A host that the program created. `name` is its tag, `address` its address from outside."""

    def __init__(self, lab_dir: Path, facts: dict[str, Any]) -> None:
        node = Node(facts["name"], facts["public"] or facts["private"], runs=())
        super().__init__(lab_dir, Layout(()), None, node, facts["id"])
        self.id: str = facts["id"]
        self.region: str = facts["region"]
        self.image: str = facts["image"]
        self.private_address: str = facts["private"]
        self.public_address: str | None = facts["public"]
        self._vpc: str = facts["vpc"]
        self._resolver: str = facts["resolver"]

    def create(self, image: Path, key: str, user_data: bytes) -> None:
        """Create its disk from the image's files, and do all that cloud-init does before sshd starts."""
        self.dir.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "lab", str(self.dir)], check=True)
        subprocess.run(["cp", "--archive", f"{image}/.", str(self.dir)], check=True)
        write(self.dir / "etc/resolv.conf", f"nameserver {self._resolver}\n")
        hostname = f"ip-{self.private_address.replace('.', '-')}"
        FirstBoot(self.dir, hostname, key, user_data).prepare()

    def destroy(self) -> None:
        """Cut the power and remove its files."""
        self.stop()
        subprocess.run(["umount", "--lazy", str(self.dir)], check=True)
        self.dir.rmdir()

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until it has booted, including the first boot, and its runit services run and answer."""
        wait_for(self.is_up, f"the power of {self.name}", seconds)
        wait_for(Path(f"/proc/{self._pid()}/root/run/sshd.pid").exists, f"sshd on {self.name}", seconds)
        finished = self.dir / "var/lib/cloud/instance/boot-finished"
        wait_for(finished.exists, f"the first boot of {self.name}", seconds)
        wait_for(lambda: not self.services_down(), f"GitLab on {self.name}", seconds)
        conf = "/var/opt/gitlab/nginx/conf"
        if self.exists(f"{conf}/gitlab-http.conf") or self.exists(f"{conf}/service_conf/gitlab-rails.conf"):
            wait_for(self._answers, f"GitLab's answer on {self.name}", seconds)

    def services_down(self) -> list[str]:
        """Services that gitlab-ctl has enabled but that do not run."""
        return [
            service.name
            for service in (self.dir / "opt/gitlab/sv").glob("*")
            if not (service / "down").exists()
            and self._text(f"opt/gitlab/sv/{service.name}/supervise/stat").strip() != "run"
        ]

    def _answers(self) -> bool:
        """Checked on the host, because its security groups may block others. Any answer but "bad gateway"."""
        url = "--url http://localhost/-/readiness --url https://localhost/-/readiness"
        ask = f"curl -sk --max-time 5 -o /dev/null -w '%{{http_code}}\\n' {url}"
        codes = self.run(ask, check=False).stdout.split()
        return any(code not in {"000", "502"} for code in codes) and "502" not in codes

    def _plug(self, connected: bool) -> None:
        cable = routing.device("h", self.id)
        routing.run("ip", "-n", self._vpc, "link", "set", cable, "up" if connected else "down")

    def _boot_environment(self) -> dict[str, str]:
        return {"BOOT_SECONDS": BOOT_SECONDS}
