"""The registry's storage: what `registry['storage']` must say, and the least S3 rights that go with it."""

from __future__ import annotations

import re
from typing import Any

from omnibus import versions
from omnibus.model import S3, Deployment
from omnibus.ruby import Secret, Value


def registry_storage(d: Deployment, site_name: str) -> dict[str, Value] | None:
    """`registry['storage']` of a site's registry nodes; None where the storage is kept as it is.

    Exactly one driver: omnibus accepts two and the registry then does not start.
    """
    s3 = d.storage_of(site_name)
    if s3 is None:
        return None
    driver: dict[str, Value] = {"bucket": s3.bucket, "region": s3.region}
    if not d.instance_profile(site_name):
        driver |= {"accesskey": Secret("s3_access_key"), "secretkey": Secret("s3_secret_key")}
    if s3.root_directory:
        driver["rootdirectory"] = "/" + s3.root_directory.strip("/")
    if s3.kms_key_id:
        driver |= {"encrypt": True, "keyid": s3.kms_key_id}
    if s3.endpoint:
        driver |= {"regionendpoint": s3.endpoint, "pathstyle": True}
    name = versions.S3_DRIVER.name(versions.parse(d.gitlab_version))
    if s3.endpoint and name == "s3_v2":
        driver["checksum_disabled"] = True  # MinIO and Ceph refuse the checksums that AWS asks for
    storage: dict[str, Value] = {name: driver}
    if d.read_only(site_name):
        storage["maintenance"] = {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
    return storage


def rights(s3: S3, *, write: bool) -> dict[str, Any]:
    """The IAM policy document of one site's registry: its bucket only, and no change where it only reads.

    The actions are those of Distribution's S3 driver (storage-drivers/s3, "S3 permission scopes").
    """
    bucket = f"arn:aws:s3:::{s3.bucket}"
    prefix = f"{s3.root_directory.strip('/')}/" if s3.root_directory else ""
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
    if s3.kms_key_id:
        actions = ["kms:Decrypt"] + (["kms:GenerateDataKey"] if write else [])
        statements.append({"Effect": "Allow", "Action": actions, "Resource": s3.kms_key_id})
    return {"Version": "2012-10-17", "Statement": statements}


def tls_only(bucket: str) -> dict[str, Any]:
    """The bucket policy that refuses every request not made over TLS."""
    arn = f"arn:aws:s3:::{bucket}"
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


def identity(s3: S3) -> dict[str, Any]:
    """Where a bucket's images are, in the form the program on the node gives for what it finds there."""
    return {"driver": "s3", "place": [server(s3.endpoint), s3.bucket, (s3.root_directory or "").strip("/")]}


def server(endpoint: str | None) -> str | None:
    """An S3 server's name, None for AWS itself, whether or not its endpoint is written out."""
    plain = (endpoint or "").lower().rstrip("/")
    return (
        None if not plain or re.fullmatch(r"https?://s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?", plain) else plain
    )


def shared_by(places: dict[str, dict[str, Any] | None]) -> str | None:
    """site → identity; why two sites that are to have a storage each in truth have one, or None."""
    seen: dict[str, str] = {}
    for site, place in places.items():
        if place is None:
            continue
        key = repr(place)
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
