"""KMS: keys, their names, and who may use them."""

from __future__ import annotations

from typing import Any

from lab.providers.aws import naming, tagging
from lab.providers.aws.base import AwsResource
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap, is_unknown
from lab.providers.resource import Call


class Key(AwsResource):
    token, what, service = "aws:kms/key:Key", "KMS Key", "kms"
    json_inputs = ("policy",)
    replace_on = (
        "customKeyStoreId",
        "customerMasterKeySpec",
        "keyUsage",
        "multiRegion",
        "region",
        "xksKeyId",
    )
    computed = ("arn", "keyId", "multiRegion", "policy", "rotationPeriodInDays", "tagsAll")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        days = values.get("deletionWindowInDays")
        if days is None or is_unknown(days) or 7 <= days <= 30:
            return []
        return [
            ("deletionWindowInDays", f"expected deletionWindowInDays to be in the range (7 - 30), got {days}")
        ]

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "description", "multiRegion", "policy")
        asked["KeySpec"] = inputs.get("customerMasterKeySpec", "SYMMETRIC_DEFAULT")
        asked["KeyUsage"] = inputs.get("keyUsage", "ENCRYPT_DECRYPT")
        tags = [{"TagKey": key, "TagValue": value} for key, value in self.tag_map(inputs).items()]
        return str(client.create_key(**asked, Tags=tags)["KeyMetadata"]["KeyId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        if inputs.get("enableKeyRotation"):
            client.enable_key_rotation(KeyId=id, **pick(inputs, "rotationPeriodInDays"))
        if inputs.get("isEnabled") is False:
            client.disable_key(KeyId=id)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        changed = {name for name in inputs if inputs[name] != old.get(name)}
        if "description" in changed:
            client.update_key_description(KeyId=id, Description=inputs["description"])
        if "isEnabled" in changed:
            (client.enable_key if inputs["isEnabled"] else client.disable_key)(KeyId=id)
        if changed & {"enableKeyRotation", "rotationPeriodInDays"}:
            if inputs.get("enableKeyRotation"):
                client.enable_key_rotation(KeyId=id, **pick(inputs, "rotationPeriodInDays"))
            else:
                client.disable_key_rotation(KeyId=id)
        if "policy" in changed:
            client.put_key_policy(KeyId=id, PolicyName="default", Policy=inputs["policy"])
        was, now = old.get("tagsAll") or {}, self.tag_map(inputs)
        if lost := sorted(was.keys() - now.keys()):
            client.untag_resource(KeyId=id, TagKeys=lost)
        if now and now != was:
            tags = [{"TagKey": key, "TagValue": value} for key, value in now.items()]
            client.tag_resource(KeyId=id, Tags=tags)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        key = client.describe_key(KeyId=id)["KeyMetadata"]
        if key["KeyState"] == "PendingDeletion":
            return None
        rotation = client.get_key_rotation_status(KeyId=id)
        return {
            "arn": key["Arn"],
            "customerMasterKeySpec": key["KeySpec"],
            "description": key.get("Description", ""),
            "enableKeyRotation": rotation["KeyRotationEnabled"],
            "isEnabled": key["Enabled"],
            "keyId": key["KeyId"],
            "keyUsage": key["KeyUsage"],
            "multiRegion": key.get("MultiRegion", False),
            "policy": client.get_key_policy(KeyId=id, PolicyName="default")["Policy"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
            "tags": tagging.from_api(client.list_resource_tags(KeyId=id).get("Tags"), "TagKey", "TagValue"),
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.schedule_key_deletion(KeyId=id, PendingWindowInDays=state.get("deletionWindowInDays", 30))


class Alias(AwsResource):
    token, what, service = "aws:kms/alias:Alias", "KMS Alias", "kms"
    named, name_start, longest_name = "name", "alias/", 256
    replace_on = ("name", "namePrefix", "region")
    computed = ("arn", "targetKeyArn")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        name = values.get("name")
        if name is None or is_unknown(name) or str(name).startswith("alias/"):
            return []
        return [("name", 'name must begin with "alias/" and be comprised of only [a-zA-Z0-9/_-]')]

    def new_name(self, call: Call, prefix: str | None) -> str:
        return naming.new_name(call, self.longest_name, "alias/", prefix)

    def make(self, client: Any, inputs: PropertyMap) -> str:
        client.create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
        return str(inputs["name"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        client.update_alias(AliasName=id, TargetKeyId=inputs["targetKeyId"])

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        pages = client.get_paginator("list_aliases").paginate()
        found = next((one for page in pages for one in page["Aliases"] if one["AliasName"] == id), None)
        if found is None:
            return None
        key = client.describe_key(KeyId=found["TargetKeyId"])["KeyMetadata"]
        # The program may state the key by its ARN; AWS tells its id.
        target = key["Arn"] if str(state.get("targetKeyId", "")).startswith("arn:") else key["KeyId"]
        return {"arn": found["AliasArn"], "name": id, "targetKeyArn": key["Arn"], "targetKeyId": target}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_alias(AliasName=id)


class Grant(AwsResource):
    """A grant; its id is "<key id>:<grant id>"."""

    token, what, service = "aws:kms/grant:Grant", "KMS Grant", "kms"
    named, longest_name = "name", 256
    replace_on = (
        "constraints",
        "grantCreationTokens",
        "granteePrincipal",
        "keyId",
        "name",
        "operations",
        "region",
        "retireOnDelete",
        "retiringPrincipal",
    )
    computed = ("grantId", "grantToken")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = pick(inputs, "granteePrincipal", "keyId", "name", "operations", "retiringPrincipal")
        for constraint in inputs.get("constraints") or []:
            asked["Constraints"] = pick(constraint, "encryptionContextEquals", "encryptionContextSubset")
        return f"{inputs['keyId']}:{client.create_grant(**asked)['GrantId']}"

    def state_of(self, id: str) -> PropertyMap:
        return {"keyId": id.rpartition(":")[0]}

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        key, _, grant = id.rpartition(":")
        pages = client.get_paginator("list_grants").paginate(KeyId=key)
        found = next((one for page in pages for one in page["Grants"] if one["GrantId"] == grant), None)
        if found is None:
            return None
        return {
            "grantId": grant,
            "granteePrincipal": found["GranteePrincipal"],
            "keyId": key,
            "name": found.get("Name"),
            "operations": found["Operations"],
            "retiringPrincipal": found.get("RetiringPrincipal"),
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        key, _, grant = id.rpartition(":")
        client.revoke_grant(KeyId=key, GrantId=grant)


TYPES: tuple[type[AwsResource], ...] = (Key, Alias, Grant)
