"""Where a site's registry keeps the metadata of its images: settings, secrets, and what a host checks."""

from __future__ import annotations

from typing import Any

from config.metadata_database import MetadataDatabase
from config.site import Site
from omnibus.ruby import Secret, Value


def settings(site: Site) -> dict[str, Value]:
    """`registry['database']`, or only the keys of it that are set beside the administrator's."""
    database = site.metadata_database
    if database is None:
        # "prefer", the default, would make a secondary's registry use its read-only replicated database.
        return {"enabled": False}
    if not isinstance(database, MetadataDatabase):
        return {"enabled": True}
    password: dict[str, Value] = {"password": Secret("database_password")} if database.password else {}
    return {
        "enabled": True,
        "host": database.host,
        "port": database.port,
        "user": database.user,
        **password,
        "dbname": database.name,
        "sslmode": database.sslmode,
        **({"sslrootcert": database.sslrootcert} if database.sslrootcert else {}),
    }


def managed(site: Site) -> bool:
    """Whether the Linux package decides where the database is, and how the registry logs in."""
    return site.metadata_database == "managed"


def password(site: Site) -> str | None:
    database = site.metadata_database
    configured = database.password if isinstance(database, MetadataDatabase) else None
    return configured.get_secret_value() if configured else None


def payload(site: Site) -> dict[str, Any] | None:
    """The database that the program on a host expects and checks; None without one."""
    database = site.metadata_database
    if database is None:
        return None
    if not isinstance(database, MetadataDatabase):
        return {"managed": True}
    return {
        "managed": False,
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "name": database.name,
        "sslmode": database.sslmode,
        "sslrootcert": database.sslrootcert,
    }


def shown(site: Site) -> str:
    """`legacy`, `managed`, `db.london.example.com:5432/registry`: for the output `sites`."""
    database = site.metadata_database
    if isinstance(database, MetadataDatabase):
        return f"{database.host}:{database.port}/{database.name}"
    return database or "legacy"
