"""S3: the bucket itself.  Settings of a bucket are separate resources, in `s3_settings`."""

from __future__ import annotations

import re
from typing import Any

from lab.providers.aws import tagging
from lab.providers.aws.api import AwsError
from lab.providers.aws.base import AwsResource
from lab.providers.protocol import PropertyMap, is_unknown
from lab.providers.resource import Call

# The hosted zones of S3 endpoints, from AWS's documentation "Amazon S3 endpoints and quotas".
_HOSTED_ZONES = {
    "us-east-1": "Z3AQBSTGFYJSTF",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "ap-northeast-1": "Z2M4EHUR26P7ZW",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_INLINE = (
    "accelerationStatus",
    "acl",
    "corsRules",
    "grants",
    "lifecycleRules",
    "logging",
    "objectLockConfiguration",
    "policy",
    "replicationConfiguration",
    "requestPayer",
    "serverSideEncryptionConfiguration",
    "versioning",
    "website",
)


class Bucket(AwsResource):
    token, what, service = "aws:s3/bucket:Bucket", "S3 Bucket", "s3"
    named = "bucket"
    replace_on = ("bucket", "bucketPrefix", "region", "objectLockEnabled", "bucketNamespace")
    computed = (
        "arn",
        "bucketDomainName",
        "bucketRegion",
        "bucketRegionalDomainName",
        "hostedZoneId",
        "tagsAll",
    )

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        found = [
            (name, "deprecated in pulumi-aws: the lab's stand-in has only the resource of its own for it")
            for name in _INLINE
            if name in values
        ]
        name = values.get("bucket")
        if isinstance(name, str) and not is_unknown(name) and len(name) > 63:
            found.append(("bucket", f"expected length of bucket to be in the range (0 - 63), got {name}"))
        return found

    def new_name(self, call: Call, prefix: str | None) -> str:
        return super().new_name(call, prefix).lower()

    def make(self, client: Any, inputs: PropertyMap) -> str:
        name, region = inputs["bucket"], inputs["region"]
        if not _NAME.fullmatch(name):
            # Only here, not in the input check: a preview does not check it (validBucketName in bucket.go).
            rule = f'only lowercase alphanumeric characters and hyphens allowed in "{name}"'
            raise ValueError(f"validating S3 Bucket ({name}) name: {rule}")
        place: dict[str, Any] = {"LocationConstraint": region}
        if region == "us-east-1":
            place = {}
            # In this region AWS answers 200 for a bucket that the account already owns, so the real provider
            # checks first.
            if self.found(name, lambda: client.head_bucket(Bucket=name)) is not None:
                raise AwsError("BucketAlreadyExists", f"creating {self.what} ({name}): bucket already exists")
        if self.tag_list(inputs):
            place["Tags"] = self.tag_list(inputs)
        where: dict[str, Any] = {"CreateBucketConfiguration": place} if place else {}
        if inputs.get("objectLockEnabled"):
            where["ObjectLockEnabledForBucket"] = True
        client.create_bucket(Bucket=name, **where)
        return str(name)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        former, tags = old.get("tagsAll") or {}, self.tag_map(inputs)
        control, which = self._control(inputs), self._which(id)
        if lost := sorted(former.keys() - tags.keys()):
            control.untag_resource(TagKeys=lost, **which)
        if changed := {key: value for key, value in tags.items() if former.get(key) != value}:
            control.tag_resource(Tags=tagging.to_api(changed), **which)

    def _control(self, state: PropertyMap) -> Any:
        """S3's other interface, under the account's own host name, ACCOUNT-ID.s3-control.…"""
        return self.api.client("s3control", state.get("region"))

    def _which(self, bucket: str) -> dict[str, str]:
        return {"AccountId": self.api.account, "ResourceArn": f"arn:aws:s3:::{bucket}"}

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        client.head_bucket(Bucket=id)
        region = client.get_bucket_location(Bucket=id).get("LocationConstraint") or "us-east-1"
        tags = self._control(state).list_tags_for_resource(**self._which(id))["Tags"]
        return {
            "arn": f"arn:aws:s3:::{id}",
            "bucket": id,
            "bucketDomainName": f"{id}.s3.amazonaws.com",
            "bucketRegion": region,
            "bucketRegionalDomainName": f"{id}.s3.{region}.amazonaws.com",
            "hostedZoneId": _HOSTED_ZONES.get(region),
            "tags": tagging.from_api(tags),
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        if state.get("forceDestroy"):
            for page in client.get_paginator("list_object_versions").paginate(Bucket=id):
                for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
                    client.delete_object(Bucket=id, Key=version["Key"], VersionId=version["VersionId"])
        client.delete_bucket(Bucket=id)
