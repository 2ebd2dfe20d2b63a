"""A metadata database that the stack creates on AWS: a private RDS instance for one site's registry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from config.field_types import FieldHelp, Flag, StrictModel, one_of
from config.field_types import Path as FilePath

OLDEST_ENGINE = 15
"""container-registry, registry/datastore/datastore.go, MinPostgresqlVersion."""
LARGEST_RANGE = 23
"""The longest prefix of a VPC with room for a public subnet of /24 and the private subnets."""

CreatedSslMode = Literal["require", "verify-ca", "verify-full"]
SubnetId = Annotated[
    str,
    StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$"),
    FieldHelp(
        expectation="subnet- and 8 to 17 hexadecimal digits",
        consequence="AWS has no such subnet, and the update would fail when it creates the database",
        example="subnet-0123456789abcdef0",
    ),
]


class CreatedDatabase(StrictModel):
    """A PostgreSQL of Amazon RDS in two private subnets, encrypted, which only the registry's nodes reach."""

    engine_version: Annotated[
        str,
        StringConstraints(pattern=r"^[1-9][0-9]?$"),
        FieldHelp(
            "PostgreSQL's major version. AWS chooses and upgrades the minor version. A later major version "
            "upgrades the database during `pulumi up`, and the registry is down in the meantime.",
            expectation="a major version in quotes, 15 or later",
            consequence="AWS could not create the database, or the registry would not start",
            example='"17"',
        ),
    ] = "17"
    instance_class: Annotated[
        str,
        StringConstraints(pattern=r"^db\.[a-z][a-z0-9]*\.([0-9]*x?large|medium|small|micro)$"),
        FieldHelp(
            "The size of the database instance. A change restarts it.",
            expectation="an RDS instance class: db, family and size, with dots",
            consequence="AWS has no such instance class, and the update would fail when it creates the "
            "database",
            example="db.t4g.medium",
        ),
    ] = "db.t4g.medium"
    storage_gb: Annotated[
        int,
        Field(ge=20, le=65536),
        FieldHelp(
            "The size of the encrypted storage in GiB; AWS can enlarge it later, but not reduce it.",
            expectation="a number of GiB from 20 to 65536",
            consequence="AWS refuses gp3 storage of another size",
            example="20",
        ),
    ] = 20
    multi_az: Annotated[
        Flag,
        FieldHelp(
            "true: AWS keeps a standby in the other availability zone, and switches to it if the first one "
            "fails.",
            consequence="the database could be without a standby, or cost twice as much as you want",
        ),
    ] = False
    sslmode: Annotated[
        CreatedSslMode,
        FieldHelp(
            "How the registry verifies the database's certificate; the connection is always encrypted. The "
            "authority of Amazon RDS is not in the operating system's trust store, so the default does not "
            "verify it. The other two need `sslrootcert`.",
            expectation=one_of(CreatedSslMode),
            consequence="the database refuses connections without TLS, and the registry would not start",
            example="verify-full",
        ),
    ] = "require"
    sslrootcert: Annotated[
        FilePath | None,
        FieldHelp(
            "A file on the registry's nodes with the authorities of Amazon RDS (its certificate bundle), "
            "readable for the registry's user.",
            consequence="the registry would not trust the database and would not start",
            example="/etc/ssl/certs/rds-global-bundle.pem",
        ),
    ] = None
    subnet_ids: Annotated[
        list[SubnetId],
        FieldHelp(
            "Private subnets of the existing network (`aws.vpc_id`), in two availability zones or more. The "
            "stack creates them in a network that it creates (`aws.cidr`).",
            expectation="a list of at least two subnets, only with an existing network",
            consequence="AWS refuses a database without subnets in two availability zones",
            example="[subnet-0123456789abcdef0, subnet-0fedcba9876543210]",
        ),
    ] = Field(default_factory=list)


class CreatedMetadataDatabase(StrictModel):
    """A metadata database that this stack creates, at a site that it creates on AWS."""

    create: Annotated[
        CreatedDatabase,
        FieldHelp(
            "Creates a PostgreSQL of Amazon RDS for the site's registry, with a generated password.",
            expectation="a map; {} for the defaults",
            consequence="the database would not be created",
            example="{}",
        ),
    ]
