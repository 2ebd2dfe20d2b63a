"""User data at an instance's first boot, as cloud-init does it (canonical/cloud-init, cloudinit/config).

Simulated: host keys, accounts and their keys, files, host name, commands, scripts, and their order; unknown
keys are only logged. Files are written from outside, before the host boots; commands run on the host.
"""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from lab.rootfs import write

USER = "ubuntu"
KNOWN = {
    *("ssh_keys", "ssh_deletekeys", "ssh_genkeytypes", "ssh_authorized_keys", "disable_root", "hostname"),
    *("fqdn", "preserve_hostname", "users", "write_files", "bootcmd", "runcmd", "manage_etc_hosts"),
    # Known, but without an effect on these hosts.
    *("ssh_quiet_keygen", "ssh_pwauth", "package_update", "package_upgrade", "timezone", "locale", "output"),
    *("ssh_publish_hostkeys", "final_message"),
}
DISABLED_ROOT = (
    "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as the user"
    f' \\"{USER}\\" rather than the user \\"root\\".\';echo;sleep 10;exit 142" '
)
FINAL = "var/lib/cloud/final"
KEY_TYPES = ("rsa", "ecdsa", "ed25519")


class FirstBoot:
    """Prepares the files of one host, `root`, for its first boot."""

    def __init__(self, root: Path, hostname: str, key: str, data: bytes) -> None:
        self._root = root
        self._hostname = hostname
        self._key = key
        self._script = ""
        self._config: dict[str, Any] = {}
        self._log: list[str] = []
        self._parse(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)

    def prepare(self) -> None:
        """Everything that happens before sshd starts; the rest goes into the script of the final stage."""
        self._files()
        self._host_keys()
        self._name()
        self._accounts()
        self._final()
        write(self._root / "var/log/cloud-init.log", "".join(self._log), 0o640)

    def _note(self, module: str, level: str, text: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        self._log.append(f"{now} - {module}[{level}]: {text}\n")

    def _parse(self, data: bytes) -> None:
        text = data.decode(errors="replace")
        self._note("user_data.py", "DEBUG", f"{len(data)} bytes of user data")
        if text.startswith("#!"):
            self._script = text
        elif text.startswith("#cloud-config"):
            self._parse_config(text)
        elif text.strip():
            self._note("__init__.py", "WARNING", "Unhandled non-multipart (text/x-not-multipart) userdata")

    def _parse_config(self, text: str) -> None:
        try:
            config = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            self._note("util.py", "WARNING", f"Failed at merging in cloud config part: {error}")
            return
        if not isinstance(config, dict):
            self._note("util.py", "WARNING", "Failed at merging in cloud config part: not a dictionary")
            return
        self._config = config
        if unknown := sorted(str(key) for key in config if key not in KNOWN):
            hint = "You may run 'sudo cloud-init schema --system' to check the details."
            self._note("schema.py", "WARNING", f"cloud-config failed schema validation! {hint}")
            self._note("schema.py", "DEBUG", f"Additional properties are not allowed: {', '.join(unknown)}")

    # -- the init stage

    def _files(self) -> None:
        for entry in self._config.get("write_files") or []:
            content = entry.get("content", "")
            encoding = str(entry.get("encoding", ""))
            data = content if isinstance(content, bytes) else str(content).encode()
            if "b64" in encoding or "base64" in encoding:
                data = base64.b64decode(data)
            if encoding.startswith("gz"):
                data = gzip.decompress(data)
            target = self._root / str(entry["path"]).lstrip("/")
            if entry.get("append") and target.exists():
                data = target.read_bytes() + data
            write(target, data, int(str(entry.get("permissions", "0644")), 8))
            os.chown(target, *self._ids(str(entry.get("owner", "root:root"))))

    def _host_keys(self) -> None:
        """Provided keys are written as they are, and then no others are generated."""
        ssh = self._root / "etc/ssh"
        if self._config.get("ssh_deletekeys", True):
            for file in ssh.glob("ssh_host_*key*"):
                file.unlink()
        provided = self._config.get("ssh_keys")
        for name, text in (provided or {}).items():
            kind, _, part = str(name).partition("_")
            if kind in KEY_TYPES and part in {"private", "public"}:
                write(ssh / f"ssh_host_{kind}_key{'.pub' * (part == 'public')}", str(text), 0o600)
        for kind in KEY_TYPES:
            file = ssh / f"ssh_host_{kind}_key"
            if (
                provided is None
                and kind in self._config.get("ssh_genkeytypes", KEY_TYPES)
                and not file.exists()
            ):
                self._generate(file, kind)
            elif file.exists() and not file.with_suffix(".pub").exists():
                public = subprocess.run(["ssh-keygen", "-yf", str(file)], capture_output=True, check=False)
                write(file.with_suffix(".pub"), public.stdout)

    @staticmethod
    def _generate(file: Path, kind: str) -> None:
        # 2048 bits instead of 3072: this saves seconds, and nobody attacks these hosts.
        bits = ["-b", "2048"] if kind == "rsa" else []
        command = ["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", "root@localhost", "-f", str(file)]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def _name(self) -> None:
        name = str(self._config.get("fqdn") or self._config.get("hostname") or self._hostname).partition(".")[
            0
        ]
        if self._config.get("preserve_hostname"):
            name = (self._root / "etc/hostname").read_text().strip()
        write(self._root / "etc/hostname", f"{name}\n")
        write(self._root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n")

    def _accounts(self) -> None:
        keys = [self._key, *(self._config.get("ssh_authorized_keys") or [])]
        self._authorize(USER, keys)
        disabled = DISABLED_ROOT if self._config.get("disable_root", True) else ""
        self._authorize("root", [disabled + key for key in keys if key])
        for user in self._config.get("users") or []:
            if isinstance(user, dict) and "name" in user:
                self._account(user)

    def _account(self, user: dict[str, Any]) -> None:
        name = str(user["name"])
        if name not in self._passwd():
            uid = max(int(fields[2]) for fields in self._passwd().values() if int(fields[2]) < 60000) + 1
            shell = user.get("shell", "/bin/sh")
            self._append("etc/passwd", f"{name}:x:{uid}:{uid}::/home/{name}:{shell}\n")
            self._append("etc/group", f"{name}:x:{uid}:\n")
            self._append("etc/shadow", f"{name}:*:19000:0:99999:7:::\n")
            (self._root / "home" / name).mkdir(exist_ok=True)
            os.chown(self._root / "home" / name, uid, uid)
        sudo = user.get("sudo") or []
        for rule in [sudo] if isinstance(sudo, str) else sudo:
            self._append("etc/sudoers", f"{name} {rule}\n")
        self._authorize(name, user.get("ssh_authorized_keys") or [])

    def _authorize(self, name: str, keys: list[str]) -> None:
        lines = [f"{key.strip()}\n" for key in keys if key.strip()]
        uid, _ = self._ids(name)
        directory = self._root / self._passwd()[name][5].lstrip("/") / ".ssh"
        file = directory / "authorized_keys"
        former = file.read_text() if file.exists() else ""
        write(file, former + "".join(lines), 0o600, uid)
        directory.chmod(0o700)
        os.chown(directory, uid, uid)

    # -- the final stage

    def _final(self) -> None:
        """The image's scripts for each new instance, then the user's; `bootcmd` before all of them.

        On a real instance, `bootcmd` runs at every boot, and before sshd.
        """
        lines = [_quoted(command) for command in self._config.get("bootcmd") or []]
        lines += ["for script in /var/lib/cloud/scripts/per-instance/*; do [ -x $script ] && $script; done"]
        if self._script:
            write(self._root / "var/lib/cloud/instance/scripts/part-001", self._script, 0o700)
            lines.append("/var/lib/cloud/instance/scripts/part-001")
        if commands := self._config.get("runcmd"):
            script = "#!/bin/sh\n" + "".join(f"{_quoted(command)}\n" for command in commands)
            write(self._root / "var/lib/cloud/instance/scripts/runcmd", script, 0o700)
            lines.append("/var/lib/cloud/instance/scripts/runcmd")
        lines.append("echo finished >/var/lib/cloud/instance/boot-finished")
        (self._root / "var/lib/cloud/instance").mkdir(parents=True, exist_ok=True)
        write(self._root / FINAL, "".join(f"{line}\n" for line in lines), 0o700)

    # -- accounts of the host, not of the machine

    def _passwd(self) -> dict[str, list[str]]:
        lines = (self._root / "etc/passwd").read_text().splitlines()
        return {line.partition(":")[0]: line.split(":") for line in lines if line}

    def _ids(self, owner: str) -> tuple[int, int]:
        user, _, group = owner.partition(":")
        groups = {
            fields[0]: int(fields[2])
            for fields in (line.split(":") for line in (self._root / "etc/group").read_text().splitlines())
        }
        entry = self._passwd()[user]
        return int(entry[2]), groups[group] if group else int(entry[3])

    def _append(self, path: str, line: str) -> None:
        file = self._root / path
        file.write_text(file.read_text() + line)


def _quoted(command: str | list[Any]) -> str:
    """A shell line as it is, or a list of arguments with each of them quoted."""
    if isinstance(command, str):
        return command
    return " ".join("'" + str(word).replace("'", "'\\''") + "'" for word in command)
