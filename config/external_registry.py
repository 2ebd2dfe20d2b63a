"""A registry that the Linux package does not manage."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from config.field_types import (
    Address,
    FieldHelp,
    HostKey,
    Name,
    Path,
    StrictModel,
)
from config.ssh import Ssh


class ExternalHost(StrictModel):
    """A host with an external registry. Needs Python 3.8 or later, and sudo if the user is not root."""

    host: Annotated[Address, FieldHelp("The host's name or address.", example="10.10.0.15")]
    host_key: Annotated[
        HostKey,
        FieldHelp(
            "The host's public key, which is pinned.",
            example="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… (from /etc/ssh/ssh_host_ed25519_key.pub on that "
            "host)",
        ),
    ]
    ssh: Annotated[
        Ssh | None,
        FieldHelp(
            "What differs for this host from the site's and the stack's `ssh`.",
            expectation="a map of SSH settings",
            consequence="the program could not connect to the host",
            example="{user: debian}",
        ),
    ] = None
    config: Annotated[Path, FieldHelp("The registry's configuration file, which this program edits.")]
    certificate: Annotated[
        Path,
        FieldHelp(
            "Where this program writes the registry certificate, and what it sets as `rootcertbundle`.",
            example="/etc/docker/registry/gitlab-registry.crt",
        ),
    ]
    restart: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_./@:=+-]+( [A-Za-z0-9_./@:=+-]+)*$"),
        FieldHelp(
            "The command that makes the registry read its configuration.",
            expectation="a command and its arguments with single spaces between; no shell syntax such as ; | "
            "& $ or quotes",
            consequence="the command runs without a shell, which would not understand it, and the registry "
            "would keep its former configuration",
            example="systemctl restart docker-registry",
        ),
    ]


class ExternalRegistry(StrictModel):
    """An external registry. Without hosts you configure it, by the output `registry_config`."""

    hosts: Annotated[
        dict[Name, ExternalHost],
        FieldHelp(
            "The hosts whose registry this program configures; without hosts you configure the registry "
            "yourself.",
            expectation="a map of host names, each with host, host_key, config, certificate and restart",
            consequence="the registry would not be configured",
            example="{london-images: {host: 10.10.0.15, host_key: …, config: …, certificate: …, restart: …}}",
        ),
    ] = Field(default_factory=dict)
