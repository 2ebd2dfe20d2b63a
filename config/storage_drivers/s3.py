"""The registry's S3 driver: a bucket on AWS, or on another S3 service.

Keys of class `S3` are named by this program; keys of `S3Options` are the registry's own. Version limits:
omnibus/versions.py. Source: GitLab container registry, docs/storage-drivers/s3_v2.md. Sizes are in bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from config import field_types
from config.field_types import MAX_INT32, PORT_NUMBER, BucketName, FieldHelp, KmsKey, StrictModel, one_of
from config.storage_drivers import s3_regions
from config.storage_drivers.base import MIB, NO_START, WRONG_PLACE, Chunk, Count, Driver, Flag, Root

StorageClass = Literal[
    "NONE", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA",
    "ONEZONE_IA", "INTELLIGENT_TIERING", "OUTPOSTS", "GLACIER_IR", "EXPRESS_ONEZONE"
]  # fmt: skip
CannedAcl = Literal[
    "private", "public-read", "public-read-write", "authenticated-read",
    "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control"
]  # fmt: skip
ChecksumAlgorithm = Literal["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"]


_WORD = "(" + "|".join(s3_regions.LOG_WORDS) + ")"


class S3Options(StrictModel):
    """Keys of the S3 driver that few stacks need."""

    # Two buffers of that size may become one part (container registry 4.20, s3-aws/common/parser.go). Before
    # that the registry started with more, and S3 refused such a part.
    chunksize: Annotated[
        int | None,
        Field(ge=5 * MIB, le=5 << 29),
        FieldHelp(
            "Bytes of each part of an upload.",
            expectation="a number of bytes from 5242880 (5 MiB) to 2684354560 (2.5 GiB)",
            consequence="S3 accepts parts of 5 MiB to 5 GiB, and the registry can join two chunks into one "
            "part",
            example="26214400",
        ),
    ] = None
    multipartcopychunksize: Annotated[
        Chunk | None, FieldHelp("Bytes of each part when an object is copied in parts.")
    ] = None
    multipartcopymaxconcurrency: Annotated[
        Count | None, FieldHelp("How many parts of an object are copied at the same time.")
    ] = None
    multipartcopythresholdsize: Annotated[
        int | None,
        Field(ge=0, le=5 << 30),
        FieldHelp(
            "Size in bytes from which an object is copied in parts.",
            expectation="a number of bytes from 0 to 5368709120 (5 GiB)",
            consequence=NO_START,
            example="33554432",
        ),
    ] = None
    # Its rate limiter (golang.org/x/time/rate with a limit of 0 and a burst of 1), run: one request passes.
    maxrequestspersecond: Annotated[
        Count | None,
        FieldHelp(
            "How many requests per second the registry sends to S3.",
            consequence="with 0 the registry starts, sends one request and then waits forever",
            example="350",
        ),
    ] = None
    maxretries: Annotated[
        int | None,
        Field(ge=0, le=MAX_INT32),
        FieldHelp(
            "How often a failed request is repeated.",
            expectation="a whole number from 0 to 2147483647",
            consequence=NO_START,
            example="5",
        ),
    ] = None
    parallelwalk: Annotated[
        Flag | None,
        FieldHelp(
            "Lists the bucket by several requests at the same time, which makes garbage collection faster."
        ),
    ] = None
    storageclass: Annotated[
        StorageClass | None,
        FieldHelp(
            "The storage class of new objects; NONE for an S3 service without storage classes.",
            expectation=one_of(StorageClass),
            consequence=NO_START,
            example="STANDARD",
        ),
    ] = None
    encrypt: Annotated[Flag | None, FieldHelp("Asks S3 to encrypt new objects.")] = None
    objectacl: Annotated[
        CannedAcl | None,
        FieldHelp(
            "The canned ACL of new objects, for a bucket that exists.",
            expectation=one_of(CannedAcl),
            consequence=NO_START,
            example="private",
        ),
    ] = None
    objectownership: Annotated[
        Flag | None, FieldHelp("The bucket's owner owns all objects in it: the registry sends no ACL.")
    ] = None
    secure: Annotated[Flag | None, FieldHelp("Uses TLS for requests to S3.")] = None
    skipverify: Annotated[Flag | None, FieldHelp("Does not verify the certificate of the S3 service.")] = None
    pathstyle: Annotated[
        Flag | None, FieldHelp("Puts the bucket's name into the path of a URL, not into its host name.")
    ] = None
    checksum_disabled: Annotated[
        Flag | None, FieldHelp("Sends no checksums, for an S3 service that refuses them.")
    ] = None
    checksum_algorithm: Annotated[
        ChecksumAlgorithm | None,
        FieldHelp(
            "Which checksums are sent.",
            expectation=one_of(ChecksumAlgorithm),
            consequence="the registry does not know any other algorithm",
            example="SHA256",
        ),
    ] = None
    loglevel: Annotated[
        str | None,
        StringConstraints(pattern=rf"^{_WORD}(,{_WORD})*$"),
        FieldHelp(
            "What the registry logs of its requests to S3; before GitLab 19.0 one of the words that begin "
            "with `log`.",
            expectation=f"one or more of {', '.join(s3_regions.LOG_WORDS)}, with commas and no spaces "
            f"between",
            consequence="the registry skips words that it does not know, and logs nothing for them",
            example="logrequest,logretries",
        ),
    ] = None


class S3(Driver):
    """One bucket. `create: false` uses an existing one and does not change its settings."""

    driver = "s3"

    bucket: Annotated[BucketName, FieldHelp("The bucket's name.")]
    region: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"),
        FieldHelp(
            "The bucket's region.",
            expectation="an AWS region such as eu-west-1; with an endpoint, the region's name there: 1 to 63 "
            "letters, digits, hyphens and underscores",
            consequence=WRONG_PLACE,
            example="eu-west-1",
        ),
    ]
    create: Annotated[
        field_types.Flag,
        FieldHelp(
            "true: this stack creates the bucket. false: the bucket exists, and its settings are not "
            "changed.",
            consequence="the stack would try to create a bucket that exists, or use one that does not",
        ),
    ] = True
    root_directory: Annotated[
        Root | None, FieldHelp("The directory in the bucket; the top of the bucket by default.")
    ] = None
    kms_key_id: Annotated[
        KmsKey | None,
        FieldHelp("The key that encrypts new images; the bucket's default encryption otherwise."),
    ] = None
    endpoint: Annotated[
        str | None,
        StringConstraints(pattern=rf"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:{PORT_NUMBER})?/?$"),
        FieldHelp(
            "The URL of an S3 service other than AWS. Needs `create: false` and the `s3_keys` of each site.",
            expectation="http:// or https://, a host name or an address (IPv6 in brackets) and, if need be, "
            "a port from 1 to 65535; no path",
            consequence=WRONG_PLACE,
            example="https://minio.example.com",
        ),
    ] = None
    options: Annotated[
        S3Options,
        FieldHelp(
            "More keys of the registry's S3 driver.",
            expectation="a map of keys of the S3 driver",
            consequence="the registry would run with other settings than you want",
            example="{chunksize: 26214400}",
        ),
    ] = S3Options()

    @property
    def root(self) -> str:
        """The directory in the bucket, without slashes around it."""
        return (self.root_directory or "").strip("/")

    @property
    def path_style(self) -> bool:
        """Whether the bucket is in the path of a URL; by default as in the registry."""
        configured = self.options.pathstyle
        return self.endpoint is not None if configured is None else configured

    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"bucket": self.bucket, "region": self.region}
        if self.root:
            settings["rootdirectory"] = f"/{self.root}"
        if self.kms_key_id:
            settings |= {"encrypt": True, "keyid": self.kms_key_id}
        if not self.endpoint and self.options.objectacl is None:
            # In buckets of this stack, and by default on AWS since April 2023, the owner owns all objects,
            # and S3 refuses ACLs. GitLab's registry sends one unless this is set (container-registry, merge
            # request 1246 and issue 909).
            settings["objectownership"] = True
        if self.endpoint:
            settings |= {"regionendpoint": self.endpoint, "pathstyle": True}
        return settings | self.options.model_dump(exclude_none=True)
