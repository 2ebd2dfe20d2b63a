"""The database of a registry's metadata: GitLab's own on the node, or a PostgreSQL server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from config.created_database import CreatedMetadataDatabase
from config.field_types import FieldHelp, NonEmptySecret, Port, StrictModel, one_of
from config.field_types import Path as FilePath

POSTGRESQL_PORT = 5432

Managed = Literal["managed"]
"""The database in the PostgreSQL that the Linux package runs on the registry's node."""

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_DatabaseName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"),
    FieldHelp(
        expectation="1 to 63 letters, digits, hyphens and underscores, with a letter or underscore first",
        example="registry",
    ),
]


_DatabaseHost = Annotated[
    str,
    StringConstraints(pattern=r"^([A-Za-z0-9:.][A-Za-z0-9:.-]*|/[A-Za-z0-9._/-]+)$"),
    FieldHelp(
        expectation="a host name, an IPv4 or IPv6 address without brackets, or the absolute path of the "
        "directory of a socket",
        example="db.london.example.com",
    ),
]


class MetadataDatabase(StrictModel):
    """A writable PostgreSQL database for one registry's metadata: not a Geo replica, not another site's."""

    host: Annotated[
        _DatabaseHost,
        FieldHelp(
            "The database server's name or address, or the directory of its socket on the registry's node.",
            consequence="the registry could not connect to its database and would not start",
        ),
    ]
    port: Annotated[
        Port,
        FieldHelp(
            "The port of the database server.",
            consequence="the registry could not connect to its database and would not start",
            example=str(POSTGRESQL_PORT),
        ),
    ] = POSTGRESQL_PORT
    name: Annotated[
        _DatabaseName,
        FieldHelp(
            "The database's name.", consequence="the registry would use another database, or not start"
        ),
    ] = "registry"
    user: Annotated[
        _DatabaseName,
        FieldHelp(
            "The user who logs in to the database.",
            consequence="the registry could not log in to its database and would not start",
        ),
    ] = "registry"
    password: Annotated[
        NonEmptySecret | None,
        FieldHelp(
            "That user's password; only a socket may accept the registry without one.",
            consequence="the registry could not log in to its database and would not start",
            example="pulumi config set --secret --path 'sites.london.metadata_database.password'",
        ),
    ] = None
    sslmode: Annotated[
        SslMode,
        FieldHelp(
            "Whether the connection to the database is encrypted, and the server's certificate verified.",
            expectation=one_of(SslMode),
            consequence="PostgreSQL's client knows no other mode, and the registry would not start",
            example="verify-full",
        ),
    ] = "require"
    sslrootcert: Annotated[
        FilePath | None,
        FieldHelp(
            "A file on the registry's nodes with the authorities of the server's certificate, readable "
            "for the registry's user. Without it, those that the operating system trusts: the registry's "
            "migrations do not know trusted_certificates.",
            consequence="the registry would not trust the server and would not start",
            example="/etc/ssl/certs/database-ca.pem",
        ),
    ] = None

    @property
    def socket(self) -> bool:
        """Whether `host` is the directory of a socket on the registry's node."""
        return self.host.startswith("/")


def database_form(value: Any) -> str:
    """Which form `sites.NAME.metadata_database` has: a map, if it is not the word managed.

    An error about a map does not show its value, which may be a password in the wrong place.
    """
    if isinstance(value, CreatedMetadataDatabase) or (isinstance(value, dict) and "create" in value):
        return "CreatedMetadataDatabase"
    return "literal['managed']" if value == "managed" else "MetadataDatabase"
