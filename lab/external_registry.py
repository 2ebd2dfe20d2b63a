"""A host with a site's registry outside the Linux package: Debian's docker-registry, installed manually."""

from __future__ import annotations

import os
import secrets as entropy
from pathlib import Path
from string import Template

from lab.administrator import TEMPLATES, Secrets
from lab.authority import Authority
from lab.rootfs import PACKAGE, write
from lab.sites import Site

CONFIG = "/etc/docker/registry/config.yml"
CERTIFICATE = "/etc/docker/registry/gitlab-registry.crt"
"""The certificate of the key that GitLab signs tokens with."""
RESTART = "/usr/local/sbin/restart-registry"
DATA = "/var/lib/docker-registry"
LOG = "/var/log/docker-registry/current"
AUDIT_LOG = "/var/log/image-audit/current"
"""The file to which the administrator's own notification endpoint writes a line per event."""

USER, USER_ID = "docker-registry", 995
# It runs as its own user, as in Debian's unit, but can listen on 443.
SERVICES = {
    "docker-registry": f"exec setpriv --reuid={USER} --regid={USER} --init-groups "
    f"--inh-caps=+net_bind_service --ambient-caps=+net_bind_service docker-registry serve {CONFIG}",
    "image-audit": "exec setpriv --reuid=nobody --regid=nogroup --clear-groups image-audit",
}
RESTART_SCRIPT = "#!/bin/sh\nexec sv -w 20 restart /etc/service/docker-registry\n"


def write_files(host: Path, site: Site, authority: Authority, secrets: Secrets) -> None:
    """Everything that makes the host this site's registry; `secrets` are those of the site's GitLab."""
    for name, line in (
        ("passwd", f"x:{USER_ID}:{USER_ID}::{DATA}:/usr/sbin/nologin"),
        ("group", f"x:{USER_ID}:"),
    ):
        with (host / "etc" / name).open("a") as file:
            file.write(f"{USER}:{line}\n")
    etc = host / "etc/docker/registry"
    config = Template((TEMPLATES / "docker-registry.yml").read_text())
    values = {"place": site.name, "http_secret": entropy.token_hex(16)}
    write(etc / "config.yml", config.substitute(values))
    write(etc / "gitlab-registry.crt", secrets["registry"]["internal_certificate"])
    issued = authority.issue([site.registry_host])
    write(etc / "tls/registry.crt", issued.certificate)
    write(etc / "tls/registry.key", issued.key, 0o600, USER_ID)
    (host / DATA[1:]).mkdir()
    os.chown(host / DATA[1:], USER_ID, USER_ID)
    write(host / "usr-local/sbin/image-audit", (PACKAGE / "scripts/image-audit.py").read_bytes(), 0o755)
    write(host / "usr-local/sbin/restart-registry", RESTART_SCRIPT, 0o755)
    (host / "etc/service").mkdir()
    for name, command in SERVICES.items():
        write(host / f"etc/sv/{name}/run", f"#!/bin/sh\nexec 2>&1\n{command}\n", 0o755)
        write(host / f"etc/sv/{name}/log/run", f"#!/bin/sh\nexec svlogd -tt /var/log/{name}\n", 0o755)
        (host / f"etc/service/{name}").symlink_to(f"/etc/sv/{name}")
        (host / f"var/log/{name}").mkdir()
