"""The buckets of the registries, and each site's permissions on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from plan.storage import BucketPlan, PolicyPlan, SiteStoragePlan

ABANDONED_AFTER_DAYS = 7


@dataclass(frozen=True)
class RegistryBucketArgs:
    """The bucket to create."""

    plan: BucketPlan


class RegistryBucket(pulumi.ComponentResource):
    """A bucket that this stack creates. It is retained when the stack is destroyed, with its protection.

    Named for the bucket, whichever sites use it: a change that the nodes refuse can be undone.
    `ready`: what must be in effect before the first image is written.
    """

    def __init__(
        self, name: str, args: RegistryBucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        s3 = args.plan
        shown = {"bucket": s3.name, "region": s3.region}
        super().__init__("gitlabgeo:index:RegistryBucket", name, shown, opts)
        keep = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        bucket = aws.s3.Bucket(f"{name}-bucket", bucket=s3.name, force_destroy=False, opts=keep)
        rest = pulumi.ResourceOptions(parent=self, retain_on_delete=True, depends_on=[bucket])
        public_access = aws.s3.BucketPublicAccessBlock(
            f"{name}-public-access",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=rest,
        )
        ownership = aws.s3.BucketOwnershipControls(
            f"{name}-ownership",
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=rest,
        )
        versioning = aws.s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=rest,
        )
        encryption = aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms" if s3.kms_key_id else "AES256",
                        "kms_master_key_id": s3.kms_key_id,
                    },
                    "bucket_key_enabled": s3.kms_key_id is not None,
                }
            ],
            opts=rest,
        )
        # AWS takes about a minute to confirm it, and it matters after a week: no node waits for it.
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "abandoned-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": ABANDONED_AFTER_DAYS},
                }
            ],
            opts=rest,
        )
        tls_only = aws.s3.BucketPolicy(
            f"{name}-tls-only",
            bucket=bucket.bucket,
            policy=json.dumps(s3.policy),
            opts=rest,
        )
        self.ready: list[pulumi.Resource] = [public_access, ownership, versioning, encryption, tls_only]
        self.register_outputs({"bucket": s3.name})


@dataclass(frozen=True)
class StorageAccessArgs:
    """`policy`: what the user may do."""

    site: str
    policy: PolicyPlan


class StorageAccess(pulumi.ComponentResource):
    """One site's user and key: the permissions that its registry needs, without writes if it is read-only."""

    secrets: dict[str, pulumi.Input[Any]]

    def __init__(
        self, name: str, args: StorageAccessArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        shown = {"site": args.site, "bucket": args.policy.bucket, "write": args.policy.write}
        super().__init__("gitlabgeo:index:StorageAccess", name, shown, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.user = user = aws.iam.User(f"{name}-storage-user", opts=child)
        self.policy = aws.iam.UserPolicy(
            f"{name}-policy-{args.policy.name}",
            user=user.name,
            policy=json.dumps(args.policy.document),
            opts=child,
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[self.policy])
        key = aws.iam.AccessKey(f"{name}-storage-key", user=user.name, opts=after)
        self.secrets = {
            "s3_access_key": pulumi.Output.secret(key.id),
            "s3_secret_key": pulumi.Output.secret(key.secret),
        }
        self.register_outputs({"user": user.name})


@dataclass(frozen=True)
class RegistryStorageArgs:
    """`sites`: each site's part; `provider`: AWS region → its provider."""

    buckets: Mapping[str, BucketPlan]
    sites: Mapping[str, SiteStoragePlan]
    provider: Callable[[str], aws.Provider]


class RegistryStorage(pulumi.ComponentResource):
    """The storage of all sites; for drivers other than S3, nothing is created.

    `secrets_of(site)`: the credentials of its registry; `ready(site)`: what must exist before that registry
    is configured; `access`: site → its user, if any.
    """

    access: dict[str, StorageAccess]

    def __init__(
        self, name: str, args: RegistryStorageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:RegistryStorage", name, {}, opts)
        self._secrets: dict[str, dict[str, pulumi.Input[Any]]] = {}
        self._ready: dict[str, list[pulumi.Resource]] = {}
        self.access = {}
        created: dict[str, RegistryBucket] = {}
        for site, plan in args.sites.items():
            # No provider if nothing is created: its plugin would start and require credentials.
            child = pulumi.ResourceOptions(parent=self)
            if plan.region:
                child.providers = [args.provider(plan.region)]
            if plan.bucket and plan.bucket not in created:
                bucket = RegistryBucketArgs(args.buckets[plan.bucket])
                created[plan.bucket] = RegistryBucket(f"{name}-{plan.bucket}", bucket, child)
            ready = self._ready[site] = [*created[plan.bucket].ready] if plan.bucket else []
            self._secrets[site] = {key: pulumi.Output.secret(value) for key, value in plan.secrets.items()}
            if plan.user:
                access = StorageAccess(f"{name}-{site}", StorageAccessArgs(site, plan.user), child)
                self.access[site], self._secrets[site] = access, access.secrets
                ready.append(access)
        self.register_outputs({})

    def secrets_of(self, site: str) -> dict[str, pulumi.Input[Any]]:
        """Empty for a site that keeps its storage, and for nodes with an instance profile."""
        return self._secrets[site]

    def ready(self, site: str) -> list[pulumi.Resource]:
        return self._ready[site]
