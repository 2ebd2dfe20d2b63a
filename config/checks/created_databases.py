"""Contradictions of metadata databases that the stack creates: with the site's network, and in themselves."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from config.aws import Aws
from config.created_database import LARGEST_RANGE, OLDEST_ENGINE, CreatedDatabase
from config.errors import ConfigError, field_help
from config.model import Deployment


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction; those that all metadata databases may have are in `databases`."""
    for name, site in d.sites.items():
        database, key = site.created_database, f"sites.{name}.metadata_database.create"
        if database is None:
            continue
        yield from _engine(database, key)
        yield from _authority(database, key)
        if site.aws is None:
            yield ConfigError(
                "database-create-without-aws",
                key,
                "provided for a site whose hosts exist",
                expectation="create only at a site with aws",
                consequence="the stack creates the database in the network of the site's EC2 instances",
                example=f"{{host: db.{name}.example.com, password: …}}",
            )
        elif site.aws.vpc_id:
            yield from _existing_network(database, key)
        else:
            yield from _created_network(site.aws, database, name, key)


def _engine(database: CreatedDatabase, key: str) -> Iterator[ConfigError]:
    if int(database.engine_version) < OLDEST_ENGINE:
        yield ConfigError(
            "database-engine-too-old",
            f"{key}.engine_version",
            f"{database.engine_version!r} is older than {OLDEST_ENGINE}",
            expectation=f"PostgreSQL {OLDEST_ENGINE} or later",
            consequence="GitLab's registry refuses an older PostgreSQL and would not start",
            example=field_help(CreatedDatabase, "engine_version").example,
        )


def _authority(database: CreatedDatabase, key: str) -> Iterator[ConfigError]:
    if database.sslmode != "require" and not database.sslrootcert:
        yield ConfigError(
            "database-authority-missing",
            f"{key}.sslrootcert",
            f"missing with sslmode {database.sslmode}",
            expectation="a file with the authorities of Amazon RDS, or sslmode: require",
            consequence="the operating system does not trust the authority of Amazon RDS, and the registry "
            "would not start",
            example=field_help(CreatedDatabase, "sslrootcert").example,
        )


def _existing_network(database: CreatedDatabase, key: str) -> Iterator[ConfigError]:
    if len(set(database.subnet_ids)) < 2:
        yield ConfigError(
            "database-subnets-missing",
            f"{key}.subnet_ids",
            f"{', '.join(database.subnet_ids) or 'missing'} in an existing network",
            expectation="two private subnets of that network or more, in different availability zones",
            consequence="AWS refuses a database without subnets in two availability zones",
            example=field_help(CreatedDatabase, "subnet_ids").example,
        )


def _created_network(aws: Aws, database: CreatedDatabase, name: str, key: str) -> Iterator[ConfigError]:
    if database.subnet_ids:
        yield ConfigError(
            "database-subnets-of-created-network",
            f"{key}.subnet_ids",
            "provided for a network that the stack creates",
            expectation="subnet_ids only with an existing network (aws.vpc_id)",
            consequence="a database cannot be in subnets of another network than the nodes' security group",
            example="remove it",
        )
    try:
        network = IPv4Network(aws.cidr or "")
    except ValueError:
        return  # reported by checks/hosts.py
    if network.prefixlen > LARGEST_RANGE:
        yield ConfigError(
            "database-subnets-without-room",
            f"sites.{name}.aws.cidr",
            f"{aws.cidr} has no room for the database's private subnets",
            expectation=f"a network of /16 to /{LARGEST_RANGE} at a site with metadata_database.create",
            consequence="the nodes' public subnet takes the whole range, and AWS refuses overlapping subnets",
            example="10.110.0.0/16",
        )
