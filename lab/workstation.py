"""The environment of the lab's command: the operator's home, the lab's DNS names and certificates."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.authority import SYSTEM_BUNDLE
from lab.host import RUN
from lab.rootfs import write
from lab.sites import SERVICES_ADDRESS, Layout, host_key


def make_home(home: Path, layout: Layout) -> str:
    """~/.ssh with the operator's key and the hosts by name (`ssh london-1`); returns the public key."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    encoded = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    public = f"{encoded.decode()} operator\n"
    ssh = home / ".ssh"
    write(ssh / "id_ed25519", private, 0o600)
    write(ssh / "id_ed25519.pub", public)
    known, config = [], []
    for site, node in layout.nodes():
        for names, address in ((f"{node.name} {node.address}", node.address), (node.address6, node.address6)):
            at = address if node.ssh_port == 22 else f"[{address}]:{node.ssh_port}"
            known.append(f"{at} {host_key(node.name)}\n")
            config.append(f"Host {names}\n  HostName {address}\n  Port {node.ssh_port}\n  User ubuntu\n")
            if site is not None and site.name in layout.behind_bastion:
                config.append(f"  ProxyJump {layout.servers[0].name}\n")
    write(ssh / "known_hosts", "".join(known))
    write(ssh / "config", "".join(config))
    ssh.chmod(0o700)
    return public


def make_workstation(lab_dir: Path, temporary: Path) -> None:
    """Within the lab's mount namespace: resolv.conf, the trusted CAs, root's account, skopeo's signatures.

    `temporary`: a further path of the folder for temporary files.
    """
    etc = lab_dir / "etc"
    write(etc / "resolv.conf", f"nameserver {SERVICES_ADDRESS}\n")
    # ssh takes ~ from here, not from HOME.
    root = re.compile(r"^(root:(?:[^:]*:){4})[^:]*", re.MULTILINE)
    write(etc / "passwd", root.sub(rf"\g<1>{lab_dir / 'home'}", Path("/etc/passwd").read_text()))
    _cover(Path("/etc/resolv.conf"), etc / "resolv.conf")
    _cover(Path("/etc/passwd"), etc / "passwd")
    if not os.access("/etc/shadow", os.R_OK):
        # A non-root user cannot read shadow, and sshd treats an account without an entry as locked.
        write(etc / "shadow", "root:*:19000:0:99999:7:::\n", 0o640)
        _cover(Path("/etc/shadow"), etc / "shadow")
    # By default, skopeo looks for signatures in a directory of root that a non-root user cannot read.
    signatures = f"default-docker:\n  lookaside: file://{lab_dir}/signatures\n"
    write(RUN / "registries.d/default.yaml", signatures)
    _cover(SYSTEM_BUNDLE, lab_dir / "ca/ca-certificates.crt")
    temporary.mkdir()
    _cover(temporary, lab_dir / "tmp")


def _cover(target: Path, source: Path) -> None:
    """Bind `source` over `target`, which may be a link into /run; the lab has its own, empty /run."""
    real = Path(os.path.realpath(target))
    if real.is_relative_to("/run"):
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()
    if real.exists():
        subprocess.run(["mount", "--bind", str(source), str(real)], check=True)
