"""What a site's registry may have that omnibus' own has not: a host elsewhere, a database of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from omnibus.fields import Address, Closed, Doc, Hidden, HostKey, Name, Path, Port
from omnibus.ssh import Ssh


class ExternalHost(Closed):
    """A host with a registry that is not omnibus'. Needs Python 3.8 or later, and sudo unless as root."""

    host: Annotated[Address, Doc("the host could not be reached", "10.10.0.15")]
    """The host's name or address."""
    host_key: Annotated[
        HostKey,
        Doc(
            "without the host's own key anybody at this address would be given the registry's secrets",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… (from /etc/ssh/ssh_host_ed25519_key.pub on that host)",
        ),
    ]
    """The host's own public key, which is pinned."""
    ssh: Annotated[Ssh | None, Doc("the host could not be reached", "{user: debian}")] = None
    """What differs for this host from the site's and the stack's `ssh`."""
    config: Annotated[
        Path, Doc("the registry's own configuration, to be edited", "/etc/docker/registry/config.yml")
    ]
    certificate: Annotated[
        Path,
        Doc(
            "where the registry certificate is put, and the registry told to find it (rootcertbundle)",
            "/etc/docker/registry/gitlab-registry.crt",
        ),
    ]
    restart: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_./@:=+-]+( [A-Za-z0-9_./@:=+-]+)*$"),
        Doc(
            "the command that makes the registry read its configuration; without a shell",
            "systemctl restart docker-registry",
        ),
    ]


class ExternalRegistry(Closed):
    """A registry that is not omnibus'. Without hosts its lines come as the output `registry_config`."""

    hosts: Annotated[
        dict[Name, ExternalHost],
        Doc(
            "the registry's configuration is edited here; without hosts it is left to you",
            "{london-images: {host: 10.10.0.15, host_key: …, config: …, certificate: …, restart: …}}",
        ),
    ] = Field(default_factory=dict)


class MetadataDatabase(Closed):
    """A PostgreSQL for one registry's metadata, writable, and no other site's (not a Geo replica)."""

    host: Annotated[Address, Doc("the registry could not reach its database", "db.london.example.com")]
    """The database server's name or address."""
    port: Annotated[Port, Doc("the registry could not reach its database", "5432")] = 5432
    """The port of the database server."""
    name: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"),
        Doc("the registry would look for another database", "registry"),
    ] = "registry"
    """The database's name."""
    user: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"),
        Doc("the registry could not log in to its database", "registry"),
    ] = "registry"
    """Who logs in to it."""
    password: Annotated[
        Hidden,
        Doc(
            "the registry could not log in to its database",
            "pulumi config set --secret --path 'sites.london.metadata_database.password'",
        ),
    ]
    """That user's password."""
    sslmode: Annotated[
        Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        Doc("whether the way to the database is encrypted, and its certificate verified", "verify-full"),
    ] = "require"
