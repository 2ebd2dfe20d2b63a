"""The registry's S3 driver: an S3 bucket, or one of another server that speaks S3.

The first keys have this program's own names, `S3Options` the registry's. Source: GitLab container registry,
docs/storage-drivers/s3_v2.md. Sizes are in bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from omnibus import s3_versions
from omnibus.driver import MIB, NO_START, WRONG_PLACE, Chunk, Count, Driver, Flag, Root, server
from omnibus.fields import LARGEST, PORT_NUMBER, BucketName, Closed, Doc, KmsKey

StorageClass = Literal[
    "NONE", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA",
    "ONEZONE_IA", "INTELLIGENT_TIERING", "OUTPOSTS", "GLACIER_IR", "EXPRESS_ONEZONE"
]  # fmt: skip
CannedAcl = Literal[
    "private", "public-read", "public-read-write", "authenticated-read",
    "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control"
]  # fmt: skip


_WORD = "(" + "|".join(s3_versions.LOG_WORDS) + ")"


class S3Options(Closed):
    """Keys of the S3 driver that few need."""

    # Two buffers of that size may become one part (container registry 4.20, s3-aws/common/parser.go). Before
    # that the registry started with more, and S3 refused such a part.
    chunksize: (
        Annotated[
            int,
            Field(ge=5 * MIB, le=5 << 29),
            Doc("a part of an upload may be 5 MiB to 5 GiB, and two may become one", "26214400"),
        ]
        | None
    ) = None
    """Bytes of each part of an upload, 5 MiB to 2.5 GiB."""
    multipartcopychunksize: Chunk | None = None
    """Bytes of each part when an object is copied in parts."""
    multipartcopymaxconcurrency: Count | None = None
    """How many parts of an object are copied at once."""
    multipartcopythresholdsize: (
        Annotated[int, Field(ge=0, le=5 << 30), Doc(f"0 to 5 GiB, else {NO_START}", "33554432")] | None
    ) = None
    """Bytes from which on an object is copied in parts."""
    # Its rate limiter (golang.org/x/time/rate with a limit of 0 and a burst of 1), run: one request passes.
    maxrequestspersecond: (
        Annotated[
            Count,
            Doc("with 0, which the registry takes, it makes one request and then none any more", "350"),
        ]
        | None
    ) = None
    """How many requests a second may go to S3."""
    maxretries: Annotated[int, Field(ge=0, le=LARGEST), Doc(NO_START, "5")] | None = None
    """How often a failed request is made again."""
    parallelwalk: Flag | None = None
    """Lists the bucket by several requests at once, so that garbage is collected in less time."""
    storageclass: (
        Annotated[
            StorageClass,
            Doc(NO_START, "STANDARD"),
        ]
        | None
    ) = None
    """The storage class of what is written; NONE for a server that knows none."""
    encrypt: Flag | None = None
    """S3 is asked to encrypt what is written."""
    objectacl: (
        Annotated[
            CannedAcl,
            Doc(NO_START, "private"),
        ]
        | None
    ) = None
    """The canned ACL of what is written, for a bucket that exists."""
    objectownership: Flag | None = None
    """The bucket's owner owns all that is in it: no ACL is sent."""
    secure: Flag | None = None
    """TLS on the way to S3."""
    skipverify: Flag | None = None
    """The certificate of the S3 server is not verified."""
    pathstyle: Flag | None = None
    """The bucket's name stands in the path of a URL, not in its host name."""
    checksum_disabled: Flag | None = None
    """No checksums are sent, for a server that refuses them."""
    checksum_algorithm: (
        Annotated[
            Literal["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"],
            Doc("the registry does not know it", "SHA256"),
        ]
        | None
    ) = None
    """Which checksums are sent."""
    loglevel: (
        Annotated[
            str,
            StringConstraints(pattern=rf"^{_WORD}(,{_WORD})*$"),
            Doc(
                "the registry passes over words that it does not know, and would log nothing for them",
                "logrequest,logretries",
            ),
        ]
        | None
    ) = None
    """What the registry logs of its requests: from GitLab 19.0 on in these words, before that logdebug…"""


class S3(Driver):
    """One bucket. `create: false` uses one that exists and leaves its settings alone."""

    driver = "s3"

    bucket: BucketName
    """The bucket's name."""
    region: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"),
        Doc(WRONG_PLACE, "eu-west-1"),
    ]
    """The bucket's region."""
    create: Annotated[
        bool, Doc("the bucket is made by this stack (true) or is there already (false)", "true")
    ] = True
    root_directory: Root | None = None
    """The directory in the bucket; its root if left out."""
    kms_key_id: KmsKey | None = None
    """The key that images are encrypted with; without it the bucket's own."""
    endpoint: Annotated[
        str | None,
        StringConstraints(pattern=rf"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:{PORT_NUMBER})?/?$"),
        Doc("an S3 server other than AWS; needs s3_keys of each site", "https://minio.example.com"),
    ] = None
    options: Annotated[
        S3Options, Doc("further keys of the registry's S3 driver", "{chunksize: 26214400}")
    ] = S3Options()

    @property
    def root(self) -> str:
        """The directory in the bucket, without slashes around it."""
        return (self.root_directory or "").strip("/")

    @property
    def path_style(self) -> bool:
        """Whether the bucket stands in the path of a URL; the registry's own default."""
        given = self.options.pathstyle
        return self.endpoint is not None if given is None else given

    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {"bucket": self.bucket, "region": self.region}
        if self.root:
            found["rootdirectory"] = f"/{self.root}"
        if self.kms_key_id:
            found |= {"encrypt": True, "keyid": self.kms_key_id}
        if not self.endpoint and self.options.objectacl is None:
            # Buckets own all that is in them, ours and on AWS all since April 2023, and refuse ACLs, which
            # GitLab's registry sends unless it is told not to (container-registry, merge request 1246 and
            # issue 909).
            found["objectownership"] = True
        if self.endpoint:
            found |= {"regionendpoint": self.endpoint, "pathstyle": True}
        return found | self.options.model_dump(exclude_none=True)

    def place(self) -> list[str | None]:
        return [server(self.endpoint), self.bucket, self.root]
