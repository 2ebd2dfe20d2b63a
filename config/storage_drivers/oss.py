"""The registry's driver for Alibaba Cloud. Source: Distribution 2.8, registry/storage/driver/oss/oss.go."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from config.field_types import BucketName, FieldHelp
from config.storage_drivers.base import (
    WRONG_PLACE,
    Chunk,
    Driver,
    Flag,
    Host,
    Root,
    Text,
)


class Oss(Driver):
    """An existing bucket of Alibaba Cloud's Object Storage Service."""

    driver = "oss"

    bucket: Annotated[BucketName, FieldHelp("The bucket's name.")]
    region: Annotated[
        str,
        StringConstraints(pattern=r"^oss-[a-z0-9-]+$"),
        FieldHelp(
            "The bucket's region.",
            expectation="an OSS region: oss- and lowercase letters, digits and hyphens",
            consequence=WRONG_PLACE,
            example="oss-eu-central-1",
        ),
    ]
    endpoint: Annotated[
        Host | None,
        FieldHelp(
            "The host name of the service; the region's by default.", example="oss-eu-central-1.aliyuncs.com"
        ),
    ] = None
    internal: Annotated[Flag | None, FieldHelp("Uses Alibaba Cloud's internal network.")] = None
    encrypt: Annotated[Flag | None, FieldHelp("Asks the service to encrypt new images.")] = None
    encryptionkeyid: Annotated[
        Text | None,
        FieldHelp(
            "The key that encrypts new images.",
            consequence="the service refuses every write with a key that does not exist",
            example="9468da86-3509-4f8d-a61e-6eab1eac1234",
        ),
    ] = None
    secure: Annotated[Flag | None, FieldHelp("Uses TLS for requests to the service.")] = None
    chunksize: Annotated[Chunk | None, FieldHelp("Bytes of each part of an upload.")] = None
    rootdirectory: Annotated[
        Root | None, FieldHelp("The directory in the bucket; the top of the bucket by default.")
    ] = None
