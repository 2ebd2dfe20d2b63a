"""What the program on a node must know of its site's storage: where it is, and as whom to come to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from omnibus import storage
from omnibus.credentials import AzureKeys, GcsKeys
from omnibus.drivers import S3, Azure, Gcs
from omnibus.model import Deployment

Secrets = Mapping[str, pulumi.Input[Any]]


def place_of(deployment: Deployment, site: str) -> dict[str, Any] | None:
    """Where the site's images are to be; None where they stay where they are."""
    driver = deployment.driver_of(site)
    if driver is None:
        return None
    write = not deployment.read_only(site)
    return {**storage.identity(driver), "shown": storage.shown(driver), "write": write}


def access(deployment: Deployment, site: str, secrets: Secrets) -> dict[str, Any] | None:
    """The place, and how to come there. Keys of S3 are in it, other credentials among the node's secrets."""
    found = place_of(deployment, site)
    driver, keys = deployment.driver_of(site), deployment.keys_of(site)
    if found is None:
        return None
    if isinstance(driver, S3):
        return found | {
            "bucket": driver.bucket,
            "region": driver.region,
            "root": driver.root_directory,
            "endpoint": driver.endpoint,
            "path_style": driver.path_style,
            "skip_verify": driver.options.skipverify is True,
            "patience": 5 if deployment.sites[site].s3_keys else 60,
            # None: the server's own credentials, from the instance metadata service.
            "access_key": secrets.get("s3_access_key"),
            "secret_key": secrets.get("s3_secret_key"),
        }
    if isinstance(driver, Gcs) and isinstance(keys, GcsKeys):
        universe = driver.universe_domain or "googleapis.com"
        return found | {"bucket": driver.bucket, "universe": universe, "keyfile": keys.keyfile}
    if isinstance(driver, Azure) and isinstance(keys, AzureKeys):
        return found | {
            "url": driver.url,
            "account": driver.account,
            "container": driver.container,
            "credentials_type": keys.credentials_type,
            "tenant_id": keys.tenant_id,
            "client_id": keys.client_id,
        }
    return found
