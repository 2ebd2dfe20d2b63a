"""The permissions of a registry on AWS, and what a bucket refuses: policy documents."""

from __future__ import annotations

import hashlib
from typing import Any

from config.storage_drivers import S3


def permissions(s3: S3, *, write: bool) -> dict[str, Any]:
    """The IAM policy document of one site's registry: its bucket only, no writes if read-only.

    The actions are those of Distribution's S3 driver (storage-drivers/s3, "S3 permission scopes"). Objects
    stay encrypted with the key that was configured when they were written: so decryption is allowed for any
    key, restricted by the context that S3 passes to KMS (AWS, "Reducing the cost of SSE-KMS with S3 Bucket
    Keys").
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


def permissions_name(s3: S3) -> str:
    """The name of the permissions in the stack, which differs per bucket and root directory.

    So when the storage moves, the new permissions are created first and the former deleted last, and a
    registry that refuses to move keeps its permissions.
    """
    return f"{s3.bucket}-{hashlib.sha256(s3.root.encode()).hexdigest()[:8]}" if s3.root else s3.bucket


def partition(region: str) -> str:
    """The partition in a region's ARNs."""
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
