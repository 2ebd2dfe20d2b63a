"""EC2: what all of it has in common, and the keys to machines."""

from __future__ import annotations

from typing import Any

from lab.providers.aws import tagging
from lab.providers.aws.base import AwsResource
from lab.providers.protocol import PropertyMap


class Ec2Resource(AwsResource):
    """Something with an id of AWS's making, and tags that are set in the same way for all."""

    service = "ec2"
    kind = ""
    """What AWS calls it where tags are given and in ARNs, as "vpc"."""

    def tagged(self, inputs: PropertyMap) -> dict[str, Any]:
        """The tags as an argument of the call that makes it."""
        tags = self.tag_list(inputs)
        return {"TagSpecifications": [{"ResourceType": self.kind, "Tags": tags}]} if tags else {}

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        retag(client, id, old.get("tagsAll") or {}, self.tag_map(inputs))

    def common(self, found: dict[str, Any], id: str, state: PropertyMap) -> PropertyMap:
        """ARN, owner and tags out of an answer of the API."""
        owner = found.get("OwnerId") or self.api.account
        arn = f"arn:aws:ec2:{state.get('region') or self.api.region}:{owner}:{self.kind}/{id}"
        return {"arn": arn, "ownerId": owner, "tags": tagging.from_api(found.get("Tags"))}


def retag(client: Any, id: str, old: tagging.Tags, new: tagging.Tags) -> None:
    """Change the tags of anything in EC2."""
    if lost := sorted(old.keys() - new.keys()):
        client.delete_tags(Resources=[id], Tags=[{"Key": key} for key in lost])
    if changed := {key: value for key, value in new.items() if old.get(key) != value}:
        client.create_tags(Resources=[id], Tags=tagging.to_api(changed))


def by(**values: str) -> list[dict[str, Any]]:
    """The API's filters, as by(vpc_id="vpc-1", association__main="true"): vpc-id and association.main."""
    names = {name: name.replace("__", ".").replace("_", "-") for name in values}
    return [{"Name": names[name], "Values": [value]} for name, value in values.items()]


class KeyPair(Ec2Resource):
    token, what, kind = "aws:ec2/keyPair:KeyPair", "EC2 Key Pair", "key-pair"
    making = "importing"
    named, longest_name = "keyName", 255
    replace_on = ("keyName", "keyNamePrefix", "publicKey", "region")
    computed = ("arn", "fingerprint", "keyPairId", "keyType", "tagsAll")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        material = inputs["publicKey"].encode()
        client.import_key_pair(KeyName=inputs["keyName"], PublicKeyMaterial=material, **self.tagged(inputs))
        return str(inputs["keyName"])

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        # The real provider compares keys without their comments and the spaces around them.
        compared = super().comparable(inputs)
        if isinstance(inputs.get("publicKey"), str):
            compared["publicKey"] = inputs["publicKey"].strip()
        return compared

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, old["keyPairId"], old, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_key_pairs(KeyNames=[id])["KeyPairs"][0]
        common = self.common(found, id, state)
        return {
            "arn": common["arn"],
            "fingerprint": found["KeyFingerprint"],
            "keyName": id,
            "keyPairId": found["KeyPairId"],
            "keyType": found.get("KeyType"),
            "tags": common["tags"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_key_pair(KeyName=id)


TYPES: tuple[type[AwsResource], ...] = (KeyPair,)
