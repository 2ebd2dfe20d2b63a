"""How nodes are reached over SSH, as the configuration says it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, SecretStr

from config.field_types import Address, FieldHelp, HostKey, Port, StrictModel, User

_KEY = re.compile(r"\s*-----BEGIN ([A-Z ]*)PRIVATE KEY-----\n(.+)\n-----END \1PRIVATE KEY-----\s*", re.DOTALL)

PORT, USER = 22, "root"
"""The defaults for hosts that exist already."""


def key_problem(text: str) -> str | None:
    """Why a login with this private key would fail, judging by its form; None for a usable key."""
    match = _KEY.fullmatch(text.replace("\r\n", "\n"))
    if not match:
        return "is not a private key, or has no line breaks"
    # OpenSSH's own format names the cipher inside (PROTOCOL.key).
    try:
        inside = base64.b64decode("".join(match[2].split()))[:64]
    except ValueError:
        inside = b""
    if "ENCRYPTED" in f"{match[1]}{match[2]}" or b"bcrypt" in inside:
        return "is protected by a passphrase, which is not supported"
    return None


class Bastion(StrictModel):
    """The host through which nodes are reached."""

    host: Annotated[
        Address,
        FieldHelp(
            "The bastion's name or address.",
            consequence="the program could not connect to the nodes behind it",
            example="192.0.2.10",
        ),
    ]
    host_key: Annotated[
        HostKey,
        FieldHelp(
            "The bastion's public key, which is pinned.",
            consequence="without the right key, any host that answers at this address could intercept the "
            "connections to the nodes",
            example="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… (from /etc/ssh/ssh_host_ed25519_key.pub on the "
            "bastion)",
        ),
    ]
    user: Annotated[User | None, FieldHelp("The user who logs in there; the nodes' user by default.")] = None
    port: Annotated[Port, FieldHelp("The port of its SSH server.")] = PORT


class Ssh(StrictModel):
    """How nodes are reached. Without a private key the SSH agent (SSH_AUTH_SOCK) is used."""

    user: Annotated[
        User | None,
        FieldHelp(
            "The user who logs in: root, or one who runs sudo without a password. By default root, on "
            "created hosts ubuntu.",
        ),
    ] = None
    port: Annotated[Port | None, FieldHelp("The port of the SSH server; 22 by default.")] = None
    private_key: Annotated[
        SecretStr | None,
        FieldHelp(
            "The private key. Without one the SSH agent is used; created hosts have a key of the stack.",
            expectation="a private key (-----BEGIN … PRIVATE KEY-----) with line breaks, without passphrase",
            consequence="the SSH login would fail",
            example="pulumi config set --secret --path ssh.private_key < ~/.ssh/id_ed25519",
        ),
    ] = None
    private_key_file: Annotated[
        str | None,
        FieldHelp(
            "A file with the private key, on the machine that runs the program.",
            expectation="the path of a file",
            consequence="the SSH login would fail",
            example="~/.ssh/id_ed25519",
        ),
    ] = None
    bastion: Annotated[
        Bastion | None,
        FieldHelp(
            "A host through which the nodes are reached.",
            expectation="a map with host and host_key",
            consequence="the program could not connect to the nodes behind it",
            example="{host: 192.0.2.10, host_key: …}",
        ),
    ] = None
    wait_seconds: Annotated[
        int | None,
        Field(ge=1, le=3600),
        FieldHelp(
            "How long refused connections are tried again; by default 3 seconds, and 120 for created hosts, "
            "which need time to boot.",
            expectation="a number of seconds from 1 to 3600",
            consequence="an update would fail while a node boots, or wait very long for one that is down",
            example="300",
        ),
    ] = None

    def merged_over(self, below: Ssh | None) -> Ssh:
        """These settings, and those of `below` for what is left out (node over site over stack)."""
        provided = {k: v for k in type(self).model_fields if (v := getattr(self, k)) is not None}
        if {"private_key", "private_key_file"} & provided.keys() and below:
            below = below.model_copy(update={"private_key": None, "private_key_file": None})
        return (below or Ssh()).model_copy(update=provided)


BOOT_SECONDS = 120
"""How long to retry the connection to a created host by default; an existing host needs no boot time."""


@dataclass(frozen=True)
class ResolvedBastion:
    """The bastion, with the user who logs in there."""

    host: str
    host_key: str
    user: str
    port: int


@dataclass(frozen=True)
class ResolvedSsh:
    """How a host is reached, with all defaults applied. `wait_seconds`: 0 if no boot is expected."""

    user: str
    port: int
    private_key: SecretStr | None
    private_key_file: str | None
    bastion: ResolvedBastion | None
    wait_seconds: int

    @classmethod
    def of(cls, ssh: Ssh, *, created: bool) -> ResolvedSsh:
        # GitLab's images are based on Ubuntu, and root has no SSH key there.
        user = ssh.user or ("ubuntu" if created else USER)
        gate = ssh.bastion
        return cls(
            user,
            ssh.port or PORT,
            ssh.private_key,
            ssh.private_key_file,
            ResolvedBastion(gate.host, gate.host_key, gate.user or user, gate.port) if gate else None,
            ssh.wait_seconds or (BOOT_SECONDS if created else 0),
        )
