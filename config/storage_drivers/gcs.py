"""The registry's driver for Google Cloud Storage.

Source: GitLab container registry, docs/configuration.md and docs/storage-drivers.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from config.field_types import MAX_INT32, FieldHelp
from config.storage_drivers.base import (
    NO_START,
    Driver,
    Flag,
    Host,
    Root,
    Text,
)


class Gcs(Driver):
    """An existing bucket of Google Cloud Storage."""

    driver = "gcs"

    bucket: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$"),
        FieldHelp(
            "The bucket's name.",
            expectation="3 to 222 lowercase letters, digits, dots, hyphens and underscores, with a letter or "
            "digit first and last",
            consequence="Google Cloud Storage refuses such a bucket name",
            example="acme-gitlab-registry",
        ),
    ]
    rootdirectory: Annotated[
        Root | None, FieldHelp("The directory in the bucket; the top of the bucket by default.")
    ] = None
    chunksize: Annotated[
        int | None,
        Field(ge=256 << 10, le=5 << 30, multiple_of=256 << 10),
        FieldHelp(
            "Bytes of each request of an upload.",
            expectation="a number of bytes from 262144 (256 KiB) to 5368709120 (5 GiB), a multiple of 262144",
            consequence=NO_START,
            example="5242880",
        ),
    ] = None
    maxconcurrency: Annotated[
        int | None,
        Field(ge=25, le=MAX_INT32),
        FieldHelp(
            "How many requests are sent to Google at the same time.",
            expectation="a whole number from 25 to 2147483647",
            consequence="the registry raises a smaller number to 25 without a warning",
            example="50",
        ),
    ] = None
    parallelwalk: Annotated[
        Flag | None,
        FieldHelp(
            "Lists the bucket by several requests at the same time, which makes garbage collection faster."
        ),
    ] = None
    useragent: Annotated[
        Text | None, FieldHelp("The user agent of the registry's requests.", example="acme-registry")
    ] = None
    debug_log: Annotated[Flag | None, FieldHelp("Logs the registry's requests to Google.")] = None
    universe_domain: Annotated[
        Host | None,
        FieldHelp(
            "The domain of a Google Cloud other than googleapis.com; by default what the credentials say, or "
            "googleapis.com.",
            example="apis-berlin-build0.goog",
        ),
    ] = None
