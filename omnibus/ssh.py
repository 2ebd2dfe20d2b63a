"""How nodes are reached over SSH, as the configuration says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from omnibus.fields import Address, Closed, Doc, HostKey, Port, User


class Bastion(Closed):
    """The host through which nodes are reached."""

    host: Address
    host_key: HostKey
    user: User | None = None
    port: Port = 22


class Ssh(Closed):
    """How nodes are reached. Without a private key the SSH agent (SSH_AUTH_SOCK) is asked."""

    user: Annotated[User | None, Doc("the SSH login would fail", "ubuntu")] = None
    port: Annotated[Port | None, Doc("the node could not be reached", "22")] = None
    private_key: Annotated[
        SecretStr | None,
        Doc(
            "the SSH login would fail",
            "pulumi config set --secret --path ssh.private_key < ~/.ssh/id_ed25519",
        ),
    ] = None
    private_key_file: Annotated[str | None, Doc("the SSH login would fail", "~/.ssh/id_ed25519")] = None
    bastion: Annotated[
        Bastion | None, Doc("the nodes behind it could not be reached", "{host: 192.0.2.10, host_key: …}")
    ] = None
    wait_seconds: Annotated[
        Annotated[int, Field(ge=1, le=3600)] | None,
        Doc("how long a booting node that refuses connections is waited for, 1 to 3600 s", "120"),
    ] = None

    def over(self, below: Ssh | None) -> Ssh:
        """These settings where given, else those of `below` (a node's over its site's over the stack's)."""
        given = {k: v for k in type(self).model_fields if (v := getattr(self, k)) is not None}
        if {"private_key", "private_key_file"} & given.keys() and below:
            below = below.model_copy(update={"private_key": None, "private_key_file": None})
        return (below or Ssh()).model_copy(update=given)
