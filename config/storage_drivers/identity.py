"""The identity of a storage: whether two drivers use the same."""

from __future__ import annotations

from typing import Any

from config.storage_drivers import S3, Driver


def identity(driver: Driver) -> dict[str, Any]:
    """Where a driver's images are, in the form in which the program on a node reports its storage."""
    return {"driver": driver.driver, "place": driver.place()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two identities are the same storage: S3's API also reaches Google's buckets."""
    return comparable(one) == comparable(other)


def comparable(identity: dict[str, Any]) -> dict[str, Any]:
    server, *place = identity["place"]
    if identity["driver"] == "s3" and server == "storage.googleapis.com":
        return {"driver": "gcs", "place": place}
    return identity


def shown(driver: Driver) -> str:
    """`s3://acme-registry`, `azure acmeregistry.blob.core.windows.net registry`: for display."""
    if isinstance(driver, S3):
        return f"s3://{driver.bucket}"
    return " ".join([driver.driver, *filter(None, driver.place())])
