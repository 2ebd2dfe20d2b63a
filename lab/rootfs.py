"""The files of one lab host: a Linux system with GitLab's Linux package installed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from lab.authority import Authority
from lab.cloud.addresses import METADATA
from lab.sites import SERVICES_ADDRESS, Node, Site, host_key, host_private_key

PACKAGE = Path(__file__).parent

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash
git:x:998:998::/var/opt/gitlab:/bin/sh
gitlab-psql:x:996:996::/var/opt/gitlab/postgresql:/bin/sh
registry:x:994:994::/var/opt/gitlab/registry:/bin/sh
gitlab-www:x:999:999::/var/opt/gitlab/nginx:/bin/false
"""
GROUP = """\
root:x:0:
tty:x:5:
shadow:x:42:
sudo:x:27:ubuntu
nogroup:x:65534:
ubuntu:x:1000:
git:x:998:
gitlab-psql:x:996:
registry:x:994:
gitlab-www:x:999:
"""
# '*' is "no password", '!' would be "locked", which sshd refuses even with a key.
SHADOW = "".join(f"{user}:*:19000:0:99999:7:::\n" for user in ("root", "sshd", "ubuntu", "git", "registry"))
SUDOERS = """\
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
ubuntu ALL=(ALL) NOPASSWD:ALL
"""
# As strict as production servers: of the client's environment, only LANG is accepted.
HOST_KEY = "HostKey /etc/ssh/ssh_host_ed25519_key\n"
SSHD_CONFIG = """\
Port {port}
ListenAddress 0.0.0.0
ListenAddress ::
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
AcceptEnv LANG
MaxStartups 100
Subsystem sftp internal-sftp
"""
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"

FROM_MACHINE = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "profile", "bash.bashrc", "login.defs", "localtime"),
    *("mime.types", "protocols", "services", "os-release", "debian_version", "security", "alternatives"),
    *("ssl/openssl.cnf", "nginx/mime.types", "nginx/proxy_params", "nginx/fastcgi_params"),
    *(f"pam.d/{name}" for name in ("sudo", "sudo-i", "su", "other", "login", "sshd")),
    *(f"pam.d/common-{name}" for name in ("auth", "account", "session", "password")),
    "pam.d/common-session-noninteractive",
)
SERVICES = ("registry-postgresql", "postgresql", "registry", "puma", "sidekiq", "nginx")
"""The first is the lab's own: the registry's metadata database, in reality a part of GitLab's PostgreSQL."""


def write(path: Path, text: str | bytes, mode: int = 0o644, owner: int = 0) -> None:
    """Write one file with its parent directories; the owner is a numeric id for user and group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    os.chown(path, owner, owner)


def copy(source: Path, target: Path) -> None:
    """`cp -a` without the owners: everything belongs to root; sockets and similar files do not occur."""
    if source.is_symlink() or source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    elif source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__", "README*", "opasswd")
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)


def make_image(host: Path, authority: Authority, *, gitlab: bool) -> None:
    """Fill `host` with the files of an official image before its first boot.

    GitLab's images contain its package with an unchanged gitlab.rb, and a script for an instance's first boot
    (support/packer of omnibus-gitlab). Like every image, they have no authorized keys and no host keys.
    """
    _system(host, "ubuntu", authority)
    write(host / "etc/ssh/sshd_config", SSHD_CONFIG.format(port=22).replace(HOST_KEY, ""))
    # The address of the metadata service, which is link-local on EC2, for the AWS SDK: also for root's
    # programs.
    write(host / "etc/environment", f"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://{METADATA}\n")
    write(host / "etc/sudoers", "Defaults env_file=/etc/environment\n" + SUDOERS, 0o440)
    (host / "home/ubuntu").mkdir()
    os.chown(host / "home/ubuntu", 1000, 1000)
    _setuid(host)
    if not gitlab:
        return
    _gitlab_package(host, authority)
    for name in ("postgresql", "geo-postgresql"):
        (host / "var/opt/gitlab" / name).chmod(0o1777)
    write(host / "etc/gitlab/gitlab.rb", (PACKAGE / "templates/image-gitlab.rb").read_bytes(), 0o600)
    first_boot = (PACKAGE / "scripts/first-boot.sh").read_bytes()
    write(host / "var/lib/cloud/scripts/per-instance/gitlab", first_boot, 0o755)


def make(host: Path, site: Site | None, node: Node, authority: Authority, operator_key: str) -> None:
    """Fill `host`, an empty directory, with what boot-host.sh mounts and what the Linux package installs."""
    _system(host, node.name, authority)
    write(host / "etc/resolv.conf", f"nameserver {SERVICES_ADDRESS}\n")
    common = f"{node.address} {site.gitlab_host} {site.registry_host}\n" if site and site.unified else ""
    write(host / "etc/hosts", f"127.0.0.1 localhost\n{node.address} {node.name}\n{common}")
    _ssh(host, node, operator_key)
    _setuid(host)
    if site is not None:
        _gitlab_package(host, authority)


def _system(host: Path, name: str, authority: Authority) -> None:
    below_var = ("var/lib", "var/cache", "var/tmp", "var/log")
    for directory in (*below_var, "srv", "opt", "root", "home", "usr-local/bin", "usr-local/sbin"):
        (host / directory).mkdir(parents=True)
    (host / "var/tmp").chmod(0o1777)
    (host / "root").chmod(0o700)
    (host / "var/run").symlink_to("/run")
    etc = host / "etc"
    for file in FROM_MACHINE:
        copy(Path("/etc") / file, etc / file)
    write(etc / "passwd", PASSWD)
    write(etc / "group", GROUP)
    write(etc / "shadow", SHADOW, 0o640)
    write(etc / "sudoers", SUDOERS, 0o440)
    write(etc / "nsswitch.conf", NSSWITCH)
    write(etc / "hostname", f"{name}\n")
    write(host / "var/log/lastlog", "")
    authority.write_trust(etc / "ssl/certs")


def _ssh(host: Path, node: Node, operator_key: str) -> None:
    write(host / "etc/ssh/sshd_config", SSHD_CONFIG.format(port=node.ssh_port))
    write(host / "etc/ssh/ssh_host_ed25519_key", host_private_key(node.name), 0o600)
    write(host / "etc/ssh/ssh_host_ed25519_key.pub", f"{host_key(node.name)} {node.name}\n")
    for home, owner in (("root", 0), ("home/ubuntu", 1000)):
        write(host / home / ".ssh/authorized_keys", operator_key, 0o600, owner)
        (host / home / ".ssh").chmod(0o700)
        for directory in (host / home, host / home / ".ssh"):
            os.chown(directory, owner, owner)


def _setuid(host: Path) -> None:
    """A sudo for the host: in a user namespace, the machine's sudo does not belong to a known root."""
    if Path("/usr/bin/sudo").stat().st_uid == 0:
        return
    copy(Path("/usr/libexec/sudo"), host / "setuid/libexec")
    copy(Path("/usr/bin/sudo"), host / "setuid/sudo")
    (host / "setuid/sudo").chmod(0o4755)


def _gitlab_package(host: Path, authority: Authority) -> None:
    """The result of installing the Linux package: /opt/gitlab, and services that runit does not start."""
    opt = host / "opt/gitlab"
    copy(PACKAGE / "omnibus", opt)
    for name in ("bin", "sv", "service", "init", "etc", "embedded/bin"):
        (opt / name).mkdir(parents=True, exist_ok=True)
    for name in ("ruby", "curl", "openssl"):
        write(opt / "embedded/bin" / name, (PACKAGE / "scripts/embedded.sh").read_bytes(), 0o755)
    # The public CAs that GitLab ships; the lab's CA represents all of them.
    write(opt / "embedded/ssl/certs/cacert.pem", authority.pem)
    (opt / "embedded/ssl/cert.pem").symlink_to("certs/cacert.pem")
    # 2048 bits: generating the real 4096 takes seconds, and nothing here depends on the strength.
    write(opt / "etc/lab.json", json.dumps({"reconfigure_seconds": 0.5, "registry_key_bits": 2048}) + "\n")
    for name in ("gitlab-ctl", "gitlab-rails", "gitlab-rake"):
        (host / "usr-local/bin" / name).symlink_to(f"/opt/gitlab/bin/{name}")
    for name in SERVICES:
        service = opt / "sv" / name
        # runsvdir looks for new services only every 5 s, so they exist from the start, but down.
        write(service / "down", "")
        write(service / "run", "#!/bin/sh\nexec sleep infinity\n", 0o755)
        write(service / "log/run", f"#!/bin/sh\nexec svlogd -tt /var/log/gitlab/{name}\n", 0o755)
        (opt / "service" / name).symlink_to(f"/opt/gitlab/sv/{name}")
        (host / "var/log/gitlab" / name).mkdir(parents=True)
    for name in ("postgresql", "geo-postgresql"):
        (host / "var/opt/gitlab" / name).mkdir(parents=True)
