"""S3: the settings of a bucket, each a separate resource."""

from __future__ import annotations

from typing import Any

from lab.providers.aws.base import AwsResource
from lab.providers.aws.shapes import from_api, pick, to_api
from lab.providers.protocol import PropertyMap, is_unknown


class _Setting(AwsResource):
    """A setting that one call creates or updates; its id is the bucket's name."""

    service = "s3"
    replace_on = ("bucket", "region", "expectedBucketOwner")

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        raise NotImplementedError

    def make(self, client: Any, inputs: PropertyMap) -> str:
        self.put(client, inputs["bucket"], inputs)
        return str(inputs["bucket"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        self.put(client, id, inputs)

    def state_of(self, id: str) -> PropertyMap:
        return {"bucket": id}


class BucketVersioning(_Setting):
    token, what = "aws:s3/bucketVersioning:BucketVersioning", "S3 Bucket Versioning"

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        status = (values.get("versioningConfiguration") or {}).get("status")
        return _one_of("versioningConfiguration.status", status, ("Enabled", "Suspended", "Disabled"))

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        was, now = (state["versioningConfiguration"]["status"] for state in (old, inputs))
        if now == "Disabled" and was != now:
            raise RuntimeError(
                f"versioning_configuration.status cannot be updated from '{was}' to 'Disabled'"
            )
        self.put(client, id, inputs)

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        configuration = inputs["versioningConfiguration"]
        if configuration["status"] == "Disabled":  # the initial state: it cannot be set
            return
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=pick(configuration, "status"))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.get_bucket_versioning(Bucket=id)
        return {"bucket": id, "versioningConfiguration": {"status": found.get("Status", "Disabled")}}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        if client.get_bucket_versioning(Bucket=id).get("Status") == "Enabled":
            client.put_bucket_versioning(Bucket=id, VersioningConfiguration={"Status": "Suspended"})


class BucketServerSideEncryptionConfiguration(_Setting):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    what = "S3 Bucket Server-side Encryption Configuration"

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        client.put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": to_api(inputs["rules"])}
        )

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.get_bucket_encryption(Bucket=id)["ServerSideEncryptionConfiguration"]
        return {"bucket": id, "rules": from_api(found["Rules"])}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_bucket_encryption(Bucket=id)


class BucketPublicAccessBlock(_Setting):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    what = "S3 Bucket Public Access Block"
    _flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        flags = {name: bool(inputs.get(name)) for name in self._flags}
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=to_api(flags))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.get_public_access_block(Bucket=id)["PublicAccessBlockConfiguration"]
        return {"bucket": id, **from_api(found)}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        if not state.get("skipDestroy"):
            client.delete_public_access_block(Bucket=id)


class BucketOwnershipControls(_Setting):
    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    what = "S3 Bucket Ownership Controls"

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        ownership = (values.get("rule") or {}).get("objectOwnership")
        allowed = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
        return _one_of("rule.objectOwnership", ownership, allowed)

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        client.put_bucket_ownership_controls(
            Bucket=bucket, OwnershipControls={"Rules": [to_api(inputs["rule"])]}
        )

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.get_bucket_ownership_controls(Bucket=id)["OwnershipControls"]["Rules"]
        return {"bucket": id, "rule": from_api(found[0])}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_bucket_ownership_controls(Bucket=id)


class BucketPolicy(_Setting):
    token, what = "aws:s3/bucketPolicy:BucketPolicy", "S3 Bucket Policy"
    json_inputs = ("policy",)

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        client.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        return {"bucket": id, "policy": client.get_bucket_policy(Bucket=id)["Policy"]}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_bucket_policy(Bucket=id)


class BucketLifecycleConfiguration(_Setting):
    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    what = "S3 Bucket Lifecycle Configuration"
    computed = ("transitionDefaultMinimumObjectSize",)

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        rules = values.get("rules") if isinstance(values.get("rules"), list) else []
        return [
            problem
            for index, rule in enumerate(rules or [])
            if isinstance(rule, dict)
            for problem in _one_of(f"rules[{index}].status", rule.get("status"), ("Enabled", "Disabled"))
        ]

    def put(self, client: Any, bucket: str, inputs: PropertyMap) -> None:
        rules = [_rule(rule) for rule in inputs.get("rules") or []]
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        rules = client.get_bucket_lifecycle_configuration(Bucket=id)["Rules"]
        default = "all_storage_classes_128K"
        return {
            "bucket": id,
            "rules": [_from_rule(rule) for rule in rules],
            "transitionDefaultMinimumObjectSize": state.get("transitionDefaultMinimumObjectSize") or default,
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_bucket_lifecycle(Bucket=id)


def _rule(rule: PropertyMap) -> dict[str, Any]:
    sent: dict[str, Any] = to_api(rule)
    both = sent.get("Filter", {}).get("And")
    if both and "Tags" in both:
        both["Tags"] = [{"Key": key, "Value": value} for key, value in rule["filter"]["and"]["tags"].items()]
    if "Prefix" not in sent and not sent.get("Filter"):
        sent["Filter"] = {"Prefix": ""}  # the API requires one of the two; this is the whole bucket
    return sent


def _from_rule(rule: dict[str, Any]) -> PropertyMap:
    found: PropertyMap = from_api(rule)
    both = found.get("filter", {}).get("and")
    if both and isinstance(both.get("tags"), list):
        both["tags"] = {tag["key"]: tag["value"] for tag in both["tags"]}
    return found


def _one_of(path: str, value: Any, allowed: tuple[str, ...]) -> list[tuple[str, str]]:
    if value is None or is_unknown(value) or value in allowed:
        return []
    return [(path, f"expected {path} to be one of {list(allowed)}, got {value}")]


TYPES: tuple[type[AwsResource], ...] = (
    BucketVersioning,
    BucketServerSideEncryptionConfiguration,
    BucketPublicAccessBlock,
    BucketOwnershipControls,
    BucketPolicy,
    BucketLifecycleConfiguration,
)
