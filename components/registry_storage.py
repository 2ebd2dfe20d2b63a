"""The buckets that the registries keep their images in, and each site's right to them."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_aws as aws

from components.accounts import Providers
from omnibus import storage
from omnibus.drivers import S3
from omnibus.model import Deployment

ABANDONED_AFTER_DAYS = 7


class RegistryBucket(pulumi.ComponentResource):
    """A bucket made by this stack. It and all that protects it stay when the stack goes: it holds images.

    Named for itself, whichever sites use it: a change that the nodes refuse can be taken back.
    `ready`: what must be in force before the first image is written.
    """

    def __init__(self, s3: S3, opts: pulumi.ResourceOptions | None = None) -> None:
        name = s3.bucket
        super().__init__(
            "gitlabgeo:index:RegistryBucket", name, {"bucket": s3.bucket, "region": s3.region}, opts
        )
        keep = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        bucket = aws.s3.Bucket(f"{name}-bucket", bucket=s3.bucket, force_destroy=False, opts=keep)
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
            policy=json.dumps(storage.tls_only(s3)),
            opts=rest,
        )
        self.ready: list[pulumi.Resource] = [public_access, ownership, versioning, encryption, tls_only]
        self.register_outputs({"bucket": s3.bucket})


class StorageAccess(pulumi.ComponentResource):
    """One site's user and key: the least rights its registry needs, and no write where it only reads."""

    def __init__(self, site: str, s3: S3, *, write: bool, opts: pulumi.ResourceOptions | None = None) -> None:
        name = f"{site}-registry"
        super().__init__("gitlabgeo:index:StorageAccess", name, {"bucket": s3.bucket, "write": write}, opts)
        here = pulumi.ResourceOptions(parent=self)
        self.user = user = aws.iam.User(f"{name}-user", opts=here)
        self.rights = aws.iam.UserPolicy(
            f"{name}-rights-{storage.rights_name(s3)}",
            user=user.name,
            policy=json.dumps(storage.rights(s3, write=write)),
            opts=here,
        )
        key = aws.iam.AccessKey(
            f"{name}-key", user=user.name, opts=pulumi.ResourceOptions(parent=self, depends_on=[self.rights])
        )
        self.secrets: dict[str, pulumi.Input[str]] = {
            "s3_access_key": pulumi.Output.secret(key.id),
            "s3_secret_key": pulumi.Output.secret(key.secret),
        }
        self.register_outputs({"user": user.name})


class RegistryStorage(pulumi.ComponentResource):
    """All sites' storage; of drivers other than S3 all that is made for them is given.

    `secrets_of(site)`: the keys that its registry comes to its storage with; `ready(site)`: what must be
    there before that registry is configured; `access`: site → its user, where it has one.
    """

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        providers: Providers,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("gitlabgeo:index:RegistryStorage", name, {"mode": deployment.storage.mode}, opts)
        self._secrets: dict[str, dict[str, pulumi.Input[Any]]] = {}
        made: dict[str, RegistryBucket] = {}
        self.access: dict[str, StorageAccess] = {}
        self._ready: dict[str, list[pulumi.Resource]] = {}
        for site_name, site in deployment.sites.items():
            keys = deployment.keys_of(site_name)
            if keys:
                self._secrets[site_name] = {k: pulumi.Output.secret(v) for k, v in keys.secrets().items()}
            s3 = deployment.storage_of(site_name)
            if s3 is None:
                continue
            here = pulumi.ResourceOptions(parent=self)
            new = s3.create and s3.bucket not in made
            user = not site.s3_keys and not deployment.instance_profile(site_name)
            # Where nothing is made there is no provider: its plugin would start and ask for credentials.
            if (new or user) and not s3.endpoint:
                here.providers = [providers.of_storage(s3.region)]
            if new:
                made[s3.bucket] = RegistryBucket(s3, here)
            self._ready[site_name] = [*made[s3.bucket].ready] if s3.bucket in made else []
            if site.s3_keys:
                self._secrets[site_name] = {
                    name: pulumi.Output.secret(value) for name, value in site.s3_keys.secrets().items()
                }
            if user:
                write = not deployment.read_only(site_name)
                access = self.access[site_name] = StorageAccess(site_name, s3, write=write, opts=here)
                self._secrets[site_name] = access.secrets
                self._ready[site_name].append(access)
        self.register_outputs({})

    def secrets_of(self, site: str) -> dict[str, pulumi.Input[Any]]:
        """Empty for a site that keeps its storage, and where the servers have credentials of their own."""
        return self._secrets.get(site, {})

    def ready(self, site: str) -> list[pulumi.Resource]:
        return self._ready.get(site, [])
