"""Contradictions of metadata databases: with the storage, the version, the role of the site, each other."""

from __future__ import annotations

from collections.abc import Iterator

from config import normalize
from config.errors import ConfigError, field_help
from config.metadata_database import MetadataDatabase
from config.model import Deployment
from omnibus import versions


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction in the configuration of metadata databases. Sites with and without may be mixed."""
    for name, site in d.sites.items():
        database, key = site.metadata_database, f"sites.{name}.metadata_database"
        if database is None:
            continue
        yield from _beside(d, name, key)
        if isinstance(database, MetadataDatabase):
            yield from _login(database, key)
        elif database == "managed":
            yield from _managed(d, name, key)
    yield from _unique_databases(d)


def _beside(d: Deployment, name: str, key: str) -> Iterator[ConfigError]:
    site = d.sites[name]
    if d.shared:
        yield ConfigError(
            "database-with-shared-storage",
            key,
            "provided with storage.mode shared",
            expectation="a metadata database only with storage.mode per_site",
            consequence="the first site's database leaves lock files in the bucket, and the other "
            "registries do not start (ErrDatabaseInUse)",
            example="remove it, or storage.mode: per_site",
        )
    if site.external_registry:
        yield ConfigError(
            "database-of-external-registry",
            key,
            "provided together with external_registry",
            expectation="the database of an external registry in its own config.yml",
            consequence="this program does not write database settings into an external registry's "
            "config.yml",
            example="remove it",
        )
    limit = versions.METADATA_DATABASE
    if not limit.allows(versions.parse(d.gitlab_version)):
        yield ConfigError(
            "database-not-in-version",
            key,
            f"not known to GitLab {d.gitlab_version}",
            expectation=f"a metadata database {limit.range}",
            consequence="before 17.3 it is a beta, which GitLab does not support in production",
            example=limit.way_out,
        )


def _login(database: MetadataDatabase, key: str) -> Iterator[ConfigError]:
    if database.password is None and not database.socket:
        yield ConfigError(
            "database-password-missing",
            f"{key}.password",
            "missing",
            expectation="the password of the user, unless host is the directory of a socket",
            consequence="the registry could not log in to its database and would not start",
            example=field_help(MetadataDatabase, "password").example,
        )


def _managed(d: Deployment, name: str, key: str) -> Iterator[ConfigError]:
    limit = versions.MANAGED_DATABASE
    if d.is_secondary(name):
        yield ConfigError(
            "database-managed-at-secondary",
            key,
            f"managed at {name}, which is a secondary",
            expectation="at each secondary, a PostgreSQL server that is not a replica",
            consequence="the PostgreSQL of a secondary's nodes is a read-only replica of the primary's, "
            "with which a registry does not start",
            example=f"{{host: db.{name}.example.com, password: …}}",
        )
    if len(d.sites[name].registries) > 1:
        yield ConfigError(
            "database-managed-by-several-nodes",
            key,
            f"managed with registries on {', '.join(d.sites[name].registries)}",
            expectation="managed only where one node runs the registry and PostgreSQL",
            consequence="each of these registries would use its own node's PostgreSQL, and hide the images "
            "that were pushed to the others",
            example=f"{{host: db.{name}.example.com, password: …}}",
        )
    version = versions.parse(d.gitlab_version)
    if versions.METADATA_DATABASE.allows(version) and not limit.allows(version):
        yield ConfigError(
            "database-managed-not-in-version",
            key,
            f"not known to GitLab {d.gitlab_version}",
            expectation=f"managed {limit.range}",
            consequence="the Linux package creates the registry's database only in GitLab 18.3 and later",
            example=limit.way_out,
        )


def _unique_databases(d: Deployment) -> Iterator[ConfigError]:
    databases: dict[tuple[str, int, str, str], str] = {}
    for name, site in d.sites.items():
        database = site.metadata_database
        if not isinstance(database, MetadataDatabase):
            continue
        host = normalize.host(database.host)
        local = database.socket or host in ("localhost", "127.0.0.1", "::1")
        place = (host, database.port, database.name, name if local else "")
        if place in databases:
            yield ConfigError(
                "database-not-unique",
                f"sites.{name}.metadata_database.name",
                f"{database.name!r} on {database.host} is also the database of {databases[place]}",
                expectation="a database for each site",
                consequence="each registry would hide the other's images",
                example=f"registry_{name.replace('-', '_')}",
            )
        databases.setdefault(place, name)
