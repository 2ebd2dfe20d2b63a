"""Where a site's registry keeps the metadata of its images: settings, secrets, and what a host checks."""

from __future__ import annotations

from typing import Any

from config.metadata_database import POSTGRESQL_PORT, MetadataDatabase
from config.site import Site
from omnibus.ruby import Computed, Secret, Template, Value, template

NAME = USER = "registry"
"""Database and role of a created database: the Linux package's own names."""
PORT = POSTGRESQL_PORT

HOST = Computed("database_host")
PASSWORD = Secret("database_password")


def settings(site: Site) -> dict[str, Value]:
    """`registry['database']`, or only the keys of it that are set beside the administrator's."""
    database = payload(site)
    if database is None:
        # "prefer", the default, would make a secondary's registry use its read-only replicated database.
        return {"enabled": False}
    if database["managed"]:
        return {"enabled": True}
    login: dict[str, Value] = {"password": PASSWORD} if site.created_database or password(site) else {}
    return {
        "enabled": True,
        "host": database["host"],
        "port": database["port"],
        "user": database["user"],
        **login,
        "dbname": database["name"],
        "sslmode": database["sslmode"],
        **({"sslrootcert": database["sslrootcert"]} if database["sslrootcert"] else {}),
    }


def managed(site: Site) -> bool:
    """Whether the Linux package decides where the database is, and how the registry logs in."""
    return site.metadata_database == "managed"


def password(site: Site) -> str | None:
    """The configured one; that of a created database is generated."""
    database = site.metadata_database
    configured = database.password if isinstance(database, MetadataDatabase) else None
    return configured.get_secret_value() if configured else None


def payload(site: Site) -> dict[str, Any] | None:
    """The database that the program on a host expects and checks; None without one."""
    database, created = site.metadata_database, site.created_database
    if created:
        return {
            "managed": False,
            "host": HOST,
            "port": PORT,
            "user": USER,
            "name": NAME,
            "sslmode": created.sslmode,
            "sslrootcert": created.sslrootcert,
        }
    if isinstance(database, MetadataDatabase):
        return {
            "managed": False,
            "host": database.host,
            "port": database.port,
            "user": database.user,
            "name": database.name,
            "sslmode": database.sslmode,
            "sslrootcert": database.sslrootcert,
        }
    return {"managed": True} if database else None


def known(site: Site) -> dict[str, Any] | None:
    """The same without an address that is still to be created: for what runs before it exists."""
    database = payload(site)
    return database | {"host": None} if database and site.created_database else database


def shown(site: Site) -> str | Template:
    """`legacy`, `managed`, `db.london.example.com:5432/registry`: for the output `sites`."""
    if site.created_database:
        return template(f"{HOST.mark}:{PORT}/{NAME}")
    database = site.metadata_database
    if isinstance(database, MetadataDatabase):
        return f"{database.host}:{database.port}/{database.name}"
    return "managed" if database else "legacy"
