"""The registry's storage: what `registry['storage']` must say, and the least S3 rights that go with it."""

from __future__ import annotations

import hashlib
from typing import Any

from omnibus import s3_versions, versions
from omnibus.credentials import AzureKeys, Keys
from omnibus.drivers import S3, Azure, Driver, Swift
from omnibus.model import Deployment
from omnibus.ruby import Secret, Value


def registry_storage(d: Deployment, site_name: str) -> dict[str, Value] | None:
    """`registry['storage']` of a site's registry nodes; None where the storage is kept as it is.

    Exactly one driver: omnibus accepts two and the registry then does not start.
    """
    driver = d.driver_of(site_name)
    if driver is None:
        return None
    name = driver_name(d, site_name, driver)
    keys = _s3_keys(d, site_name) if isinstance(driver, S3) else d.keys_of(site_name)
    found: dict[str, Value] = driver.settings()
    if isinstance(driver, S3) and not driver.endpoint:
        found |= _regional(driver, d.registry_version(site_name))
    if isinstance(keys, Keys):
        found |= keys.settings()
    elif keys:
        # After bucket and region, where they stood from the beginning.
        found = {**dict(list(found.items())[:2]), **keys, **found}
    if (
        name == "s3_v2"
        and isinstance(driver, S3)
        and driver.endpoint
        and driver.options.checksum_algorithm is None
    ):
        found.setdefault("checksum_disabled", True)  # MinIO and Ceph refuse the checksums that AWS asks for
    storage: dict[str, Value] = {name: found}
    if d.read_only(site_name):
        storage["maintenance"] = {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
        if isinstance(driver, Swift):
            # Only who may write can see the container's key for temporary URLs; the driver makes one up
            # instead, and Swift refuses every URL signed with it (seen, Distribution 2.8.2 and Swift 2.38).
            storage["redirect"] = {"disable": True}
    return storage


def _regional(s3: S3, version: versions.Version) -> dict[str, Value]:
    """AWS' address in a region that the registry does not know: with an endpoint it takes any."""
    if s3_versions.knows(s3.region, version):
        return {}
    scheme = "http" if s3.options.secure is False else "https"
    return {"regionendpoint": f"{scheme}://{s3_versions.host(s3.region)}", "pathstyle": s3.path_style}


def driver_name(d: Deployment, site: str, driver: Driver) -> str:
    """What the site's registry calls the driver."""
    version = d.registry_version(site)
    if isinstance(driver, S3):
        return versions.S3_DRIVER.name(version)
    if isinstance(driver, Azure):
        if d.sites[site].external_registry:
            return versions.AZURE_DRIVER.before  # Distribution has no other
        # One name for all sites on one storage; only the newer driver knows roles and a service's URL.
        sites = [*d.sites] if d.shared else [site]
        kinds = {keys.credentials_type for name in sites if isinstance(keys := d.keys_of(name), AzureKeys)}
        newer = any(getattr(driver, key) is not None for key in Azure.NEWER) or kinds - {"shared_key"}
        return versions.AZURE_DRIVER.after if newer else versions.AZURE_DRIVER.name(version)
    return driver.driver


def _s3_keys(d: Deployment, site_name: str) -> dict[str, Value]:
    if d.instance_profile(site_name):
        return {}
    return {"accesskey": Secret("s3_access_key"), "secretkey": Secret("s3_secret_key")}


def rights(s3: S3, *, write: bool) -> dict[str, Any]:
    """The IAM policy document of one site's registry: its bucket only, and no change where it only reads.

    The actions are those of Distribution's S3 driver (storage-drivers/s3, "S3 permission scopes"). What is in
    the bucket stays encrypted with the key of its time: so it may be decrypted whichever that was, by the
    context that S3 hands to KMS (AWS, "Reducing the cost of SSE-KMS with S3 Bucket Keys").
    """
    bucket = f"arn:{partition(s3.region)}:s3:::{s3.bucket}"
    prefix = f"{s3.root}/" if s3.root else ""
    on_objects = ["s3:GetObject"]
    on_bucket = ["s3:GetBucketLocation", "s3:ListBucket"]
    if write:
        on_bucket.append("s3:ListBucketMultipartUploads")
        on_objects += [
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:ListMultipartUploadParts",
            "s3:AbortMultipartUpload",
        ]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": on_bucket, "Resource": bucket},
        {"Effect": "Allow", "Action": on_objects, "Resource": f"{bucket}/{prefix}*"},
    ]
    context = {"StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket, f"{bucket}/*"]}}
    statements.append({"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": "*", "Condition": context})
    if s3.kms_key_id and write:
        statements.append({"Effect": "Allow", "Action": ["kms:GenerateDataKey"], "Resource": s3.kms_key_id})
    return {"Version": "2012-10-17", "Statement": statements}


def headers(s3: S3) -> dict[str, str]:
    """What the registry says of each object that it writes: a bucket's policy may ask for it.

    Source: container-registry, s3-aws/v2/s3.go, PutContent. Its default, private, adds nothing.
    """
    found: dict[str, str] = {}
    if s3.options.objectacl and not s3.options.objectownership:
        found["x-amz-acl"] = s3.options.objectacl
    if s3.kms_key_id:
        found["x-amz-server-side-encryption"] = "aws:kms"
        found["x-amz-server-side-encryption-aws-kms-key-id"] = s3.kms_key_id
    elif s3.options.encrypt:
        found["x-amz-server-side-encryption"] = "AES256"
    return found


def rights_name(s3: S3) -> str:
    """What the rights to this place are called in the stack: another place's have another name.

    So where the storage moves the new rights come first and the former go last, and a registry that must not
    move keeps its own.
    """
    return f"{s3.bucket}-{hashlib.sha256(s3.root.encode()).hexdigest()[:8]}" if s3.root else s3.bucket


def partition(region: str) -> str:
    """The part of AWS that a region's names (ARNs) begin with."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def tls_only(s3: S3) -> dict[str, Any]:
    """The bucket policy that refuses every request not made over TLS."""
    arn = f"arn:{partition(s3.region)}:s3:::{s3.bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def identity(driver: Driver) -> dict[str, Any]:
    """Where a driver's images are, in the form the program on the node gives for what it finds there."""
    return {"driver": driver.driver, "place": driver.place()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two identities are one place: Google's buckets can be reached by S3's interface as well."""
    return _plain(one) == _plain(other)


def _plain(identity: dict[str, Any]) -> dict[str, Any]:
    server, *place = identity["place"]
    if identity["driver"] == "s3" and server == "storage.googleapis.com":
        return {"driver": "gcs", "place": place}
    return identity


def shown(driver: Driver) -> str:
    """`s3://acme-registry`, `azure acmeregistry.blob.core.windows.net registry`: for a person to read."""
    if isinstance(driver, S3):
        return f"s3://{driver.bucket}"
    return " ".join([driver.driver, *filter(None, driver.place())])


def shared_by(places: dict[str, dict[str, Any] | None]) -> str | None:
    """site → identity; why two sites that are to have a storage each in truth have one, or None."""
    seen: dict[str, str] = {}
    for site, place in places.items():
        if place is None:
            continue
        key = repr(_plain(place))
        if key in seen:
            where = ":".join(str(part) for part in place["place"] if part)
            return (
                f"{seen[key]} and {site} keep their images in one place ({place['driver']} {where}); "
                "nothing was touched.\n"
                f"  key:     sites.{site}.storage: keep\n"
                "  why:     with storage per site Geo's worker deletes what the primary lacks, "
                "and these are the primary's live images\n"
                "  example: storage.mode: shared, or a storage of its own for " + site
            )
        seen[key] = site
    return None
