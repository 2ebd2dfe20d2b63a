"""What is refused of metadata databases that the stack creates on AWS."""

from __future__ import annotations

from tests.configurations import CREATED, changed, created_databases, drop, per_site, put
from tests.invalid_configs.table import Wrong, wrong

LONDON, TOKYO = ("sites", "london"), ("sites", "tokyo")
DATABASE = (*TOKYO, "metadata_database")
CREATE = (*DATABASE, "create")
AT, KEY = "sites.tokyo.metadata_database", "sites.tokyo.metadata_database.create"
SUBNETS = ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"]
CREATED_DATABASES = created_databases()
EXISTING_NETWORK = changed(CREATED_DATABASES, drop(*TOKYO, "aws", "cidr"))
EXISTING_NETWORK["sites"]["tokyo"]["aws"] |= {"vpc_id": "vpc-01234567", "subnet_id": "subnet-01234567"}
EXISTING_NETWORK["sites"]["tokyo"]["metadata_database"] = {"create": {"subnet_ids": SUBNETS}}
VERIFIED = changed(
    CREATED_DATABASES, put(*CREATE, to={"sslmode": "verify-full", "sslrootcert": "/etc/rds.pem"})
)
EXISTING_HOSTS = changed(
    per_site(), put(*DATABASE, to={"host": "db.example.com", "password": "s3cr3t-value"})
)
WITHOUT = changed(changed(CREATED_DATABASES, drop(*LONDON, "metadata_database")), drop(*DATABASE))
SHARED_STORAGE = changed(CREATED, lambda _: None)
OLDER = changed(WITHOUT, put("gitlab_version", to="17.2.1"))

WRONG: list[Wrong] = [
    wrong("a database on AWS for hosts that exist", EXISTING_HOSTS, put(*DATABASE, to={"create": {}}), KEY, "database-create-without-aws"),
    wrong("a database that is created, and one that exists", CREATED_DATABASES, put(*DATABASE, "host", to="db.example.com"), f"{AT}.host", "database-created-and-existing"),
    wrong("a password for a database that is created", CREATED_DATABASES, put(*DATABASE, "password", to="s3cr3t-value"), f"{AT}.password", "database-created-and-existing"),
    wrong("a typo beside create", CREATED_DATABASES, put(*DATABASE, "crete", to={}), f"{AT}.crete", "key-unknown"),
    wrong("a typo in create", CREATED_DATABASES, put(*CREATE, "multi_as", to=True), f"{KEY}.multi_as", "key-unknown"),
    wrong("a word where the map belongs", CREATED_DATABASES, put(*CREATE, to=True), KEY, "value-type", value="True"),
    wrong("a PostgreSQL that is too old", changed(CREATED_DATABASES, put(*CREATE, "engine_version", to="15")), put(*CREATE, "engine_version", to="14"), f"{KEY}.engine_version", "database-engine-too-old"),
    wrong("a minor version, which AWS chooses", CREATED_DATABASES, put(*CREATE, "engine_version", to="17.4"), f"{KEY}.engine_version", "value-invalid", value="'17.4'"),
    wrong("a version without quotes", CREATED_DATABASES, put(*CREATE, "engine_version", to=17), f"{KEY}.engine_version", "value-type", value="17"),
    wrong("an EC2 instance type as the class", CREATED_DATABASES, put(*CREATE, "instance_class", to="t4g.medium"), f"{KEY}.instance_class", "value-invalid", value="'t4g.medium'"),
    wrong("too little storage", CREATED_DATABASES, put(*CREATE, "storage_gb", to=19), f"{KEY}.storage_gb", "value-invalid", value="19"),
    wrong("a connection without TLS", CREATED_DATABASES, put(*CREATE, "sslmode", to="disable"), f"{KEY}.sslmode", "value-invalid", value="'disable'"),
    wrong("a certificate that nobody can verify", VERIFIED, drop(*CREATE, "sslrootcert"), f"{KEY}.sslrootcert", "database-authority-missing"),
    wrong("an existing network without private subnets", EXISTING_NETWORK, drop(*CREATE, "subnet_ids"), f"{KEY}.subnet_ids", "database-subnets-missing"),
    wrong("an existing network with one private subnet", EXISTING_NETWORK, put(*CREATE, "subnet_ids", to=SUBNETS[:1]), f"{KEY}.subnet_ids", "database-subnets-missing"),
    wrong("one private subnet, written twice", EXISTING_NETWORK, put(*CREATE, "subnet_ids", to=SUBNETS[:1] * 2), f"{KEY}.subnet_ids", "database-subnets-missing"),
    wrong("subnets of another network", CREATED_DATABASES, put(*CREATE, "subnet_ids", to=SUBNETS), f"{KEY}.subnet_ids", "database-subnets-of-created-network"),
    wrong("a network without room", changed(CREATED_DATABASES, put(*TOKYO, "aws", "cidr", to="10.120.0.0/23")), put(*TOKYO, "aws", "cidr", to="10.120.0.0/24"), "sites.tokyo.aws.cidr", "database-subnets-without-room"),
    wrong("a created database over shared storage", SHARED_STORAGE, put(*DATABASE, to={"create": {}}), AT, "database-with-shared-storage"),
    wrong("a created database before 17.3", OLDER, put(*DATABASE, to={"create": {}}), AT, "database-not-in-version"),
    wrong("a created database beside an external registry", CREATED_DATABASES, put(*TOKYO, "external_registry", to={}), AT, "database-of-external-registry"),
]  # fmt: skip
