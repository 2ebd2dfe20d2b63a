"""How nodes are reached over SSH, as the configuration says it."""

from __future__ import annotations

import base64
import re
from typing import Annotated

from pydantic import Field, SecretStr

from omnibus.fields import Address, Closed, Doc, HostKey, Port, User

_KEY = re.compile(r"\s*-----BEGIN ([A-Z ]*)PRIVATE KEY-----\n(.+)\n-----END \1PRIVATE KEY-----\s*", re.DOTALL)


def key_problem(text: str) -> str | None:
    """Why nobody could log in with this private key, as far as its form tells; None of one that is well."""
    found = _KEY.fullmatch(text.replace("\r\n", "\n"))
    if not found:
        return "is no private key, or has lost its line ends"
    # OpenSSH's own format names the cipher inside (PROTOCOL.key).
    try:
        inside = base64.b64decode("".join(found[2].split()))[:64]
    except ValueError:
        inside = b""
    if "ENCRYPTED" in f"{found[1]}{found[2]}" or b"bcrypt" in inside:
        return "has a passphrase, for which nobody is asked"
    return None


class Bastion(Closed):
    """The host through which nodes are reached."""

    host: Annotated[Address, Doc("the nodes behind it could not be reached", "192.0.2.10")]
    """The bastion's name or address."""
    host_key: Annotated[
        HostKey,
        Doc(
            "without its own key anybody at this address would stand between you and the nodes",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… (from /etc/ssh/ssh_host_ed25519_key.pub on the bastion)",
        ),
    ]
    """The bastion's own public key."""
    user: User | None = None
    """Who logs in there; the nodes' user if left out."""
    port: Port = 22
    """The port of its SSH server."""


class Ssh(Closed):
    """How nodes are reached. Without a private key the SSH agent (SSH_AUTH_SOCK) is asked."""

    user: Annotated[User | None, Doc("the SSH login would fail", "ubuntu")] = None
    """Who logs in: root, or a user with sudo without a password. Left out: root, created hosts ubuntu."""
    port: Annotated[Port | None, Doc("the node could not be reached", "22")] = None
    """The port of the SSH server; 22 if left out."""
    private_key: Annotated[
        SecretStr | None,
        Doc(
            "the SSH login would fail",
            "pulumi config set --secret --path ssh.private_key < ~/.ssh/id_ed25519",
        ),
    ] = None
    """The key itself. Without one the SSH agent is asked; created hosts have a key of the stack."""
    private_key_file: Annotated[str | None, Doc("the SSH login would fail", "~/.ssh/id_ed25519")] = None
    """A file with the key, where the program runs."""
    bastion: Annotated[
        Bastion | None, Doc("the nodes behind it could not be reached", "{host: 192.0.2.10, host_key: …}")
    ] = None
    """A host through which the nodes are reached."""
    wait_seconds: Annotated[
        Annotated[int, Field(ge=1, le=3600)] | None,
        Doc("how long a node that does not let itself be connected to is waited for, 1 to 3600 s", "300"),
    ] = None
    """How long refused connections are tried again: 3 s if left out, 120 s for created hosts, which boot."""

    def over(self, below: Ssh | None) -> Ssh:
        """These settings where given, else those of `below` (a node's over its site's over the stack's)."""
        given = {k: v for k in type(self).model_fields if (v := getattr(self, k)) is not None}
        if {"private_key", "private_key_file"} & given.keys() and below:
            below = below.model_copy(update={"private_key": None, "private_key_file": None})
        return (below or Ssh()).model_copy(update=given)
