"""The storage drivers of GitLab's registry: every key by name, type and secrecy.

A driver's class says where the images are, the same for all sites on one storage; `credentials.py` has the
credentials of each site's registry. Names are those of the registry (for S3, see `s3.py`). `versions.py` has
what depends on GitLab's version, and which keys exclude each other. Sizes are in bytes.
"""

from __future__ import annotations

from typing import Annotated

from config.field_types import FieldHelp, StrictModel
from config.storage_drivers.azure import Azure
from config.storage_drivers.base import Driver
from config.storage_drivers.filesystem import Filesystem
from config.storage_drivers.gcs import Gcs
from config.storage_drivers.oss import Oss
from config.storage_drivers.s3 import S3
from config.storage_drivers.swift import Swift

__all__ = ["NAMES", "S3", "Azure", "Driver", "Drivers", "Filesystem", "Gcs", "Oss", "Swift"]

_A_DRIVER = "a map of the driver's keys"
_NO_STORAGE = "the registry would have no storage"


class Drivers(StrictModel):
    """Exactly one driver, by its name."""

    # checks/storage.py checks that it is exactly one.
    s3: Annotated[
        S3 | None,
        FieldHelp(
            "An S3 bucket, of AWS or of another S3 service.",
            expectation=_A_DRIVER,
            consequence=_NO_STORAGE,
            example="{bucket: acme-gitlab-registry, region: eu-west-1}",
        ),
    ] = None
    gcs: Annotated[
        Gcs | None,
        FieldHelp(
            "A bucket of Google Cloud Storage.",
            expectation=_A_DRIVER,
            consequence=_NO_STORAGE,
            example="{bucket: acme-gitlab-registry}",
        ),
    ] = None
    azure: Annotated[
        Azure | None,
        FieldHelp(
            "A container of Azure Blob Storage.",
            expectation=_A_DRIVER,
            consequence=_NO_STORAGE,
            example="{accountname: acmeregistry, container: registry}",
        ),
    ] = None
    swift: Annotated[
        Swift | None,
        FieldHelp(
            "A container of OpenStack Swift.",
            expectation=_A_DRIVER,
            consequence=_NO_STORAGE,
            example="{authurl: https://keystone.example.com:5000/v3, container: registry, tenant: x}",
        ),
    ] = None
    oss: Annotated[
        Oss | None,
        FieldHelp(
            "A bucket of Alibaba Cloud's Object Storage Service.",
            expectation=_A_DRIVER,
            consequence=_NO_STORAGE,
            example="{bucket: acme-registry, region: oss-eu-central-1}",
        ),
    ] = None
    filesystem: Annotated[
        Filesystem | None,
        FieldHelp(
            "A directory on the registry node's disk, with `storage.mode: per_site`.",
            expectation=_A_DRIVER,
            consequence=_NO_STORAGE,
            example="{rootdirectory: /srv/registry}",
        ),
    ] = None

    def configured(self) -> dict[str, Driver]:
        """The drivers that are configured; exactly one in a valid configuration."""
        return {name: driver for name in NAMES if (driver := getattr(self, name)) is not None}


NAMES: tuple[str, ...] = tuple(Drivers.model_fields)
