"""The registry's driver for a directory.

Source: GitLab container registry, docs/configuration.md and docs/storage-drivers.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from config.field_types import MAX_INT32, FieldHelp
from config.storage_drivers.base import (
    Driver,
)


class Filesystem(Driver):
    """A directory on the disk of the site's one registry node."""

    driver = "filesystem"

    rootdirectory: Annotated[
        str,
        StringConstraints(pattern=r"^(/[A-Za-z0-9._-]+)+$"),
        FieldHelp(
            "The directory.",
            expectation="an absolute path of letters, digits, dots, hyphens and underscores, without "
            "trailing slash",
            consequence="the registry would look for its images in a directory that depends on where it "
            "starts",
            example="/srv/registry",
        ),
    ]
    maxthreads: Annotated[
        int | None,
        Field(ge=25, le=MAX_INT32),
        FieldHelp(
            "How many file operations run at the same time.",
            expectation="a whole number from 25 to 2147483647",
            consequence="the registry raises a smaller number to 25 without a warning",
            example="100",
        ),
    ] = None
