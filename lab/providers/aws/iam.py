"""IAM: users, access keys, inline policies of users and roles.  IAM is global: nothing here has a region."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import unquote

from lab.providers.aws import tagging
from lab.providers.aws.base import AwsResource
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap, secret
from lab.providers.resource import Call


class User(AwsResource):
    token, what, service = "aws:iam/user:User", "IAM User", "iam"
    named, longest_name = "name", 64
    replace_on = ()
    computed = ("arn", "uniqueId", "tagsAll")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        tags = {"Tags": self.tag_list(inputs)} if self.tag_list(inputs) else {}
        client.create_user(UserName=inputs["name"], **pick(inputs, "path", "permissionsBoundary"), **tags)
        return str(inputs["name"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        path = {"NewPath": inputs["path"]} if inputs.get("path") and inputs["path"] != old.get("path") else {}
        name = {"NewUserName": inputs["name"]} if inputs["name"] != id else {}
        if path or name:
            client.update_user(UserName=id, **path, **name)
        retag(client, "user", {"UserName": inputs["name"]}, old, self.tag_list(inputs))

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        user = client.get_user(UserName=state.get("name", id))["User"]
        return {
            "arn": user["Arn"],
            "name": user["UserName"],
            "path": user["Path"],
            "tags": tagging.from_api(user.get("Tags")),
            "uniqueId": user["UserId"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        name = state.get("name", id)
        if state.get("forceDestroy"):
            for key in client.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                client.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        client.delete_user(UserName=name)


class _InlinePolicy(AwsResource):
    """A policy in a user or a role; its id is "<owner>:<policy>"."""

    service = "iam"
    named, longest_name = "name", 128
    json_inputs = ("policy",)
    owner = ""

    def _id(self, inputs: PropertyMap) -> str:
        return f"{inputs[self.owner]}:{inputs['name']}"

    def state_of(self, id: str) -> PropertyMap:
        owner, _, name = id.partition(":")
        return {self.owner: owner, "name": name}

    def _key(self, state: PropertyMap) -> dict[str, str]:
        return {f"{self.owner.capitalize()}Name": state[self.owner], "PolicyName": state["name"]}

    def make(self, client: Any, inputs: PropertyMap) -> str:
        self._call(client, "put", PolicyDocument=inputs["policy"], **self._key(inputs))
        return self._id(inputs)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        self.make(client, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        document = self._call(client, "get", **self._key(state))["PolicyDocument"]
        text = unquote(document) if isinstance(document, str) else json.dumps(document)
        return {self.owner: state[self.owner], "name": state["name"], "policy": text}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        self._call(client, "delete", **self._key(state))

    def _call(self, client: Any, verb: str, **arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(client, f"{verb}_{self.owner}_policy")(**arguments)
        return answer


class UserPolicy(_InlinePolicy):
    token, what, owner = "aws:iam/userPolicy:UserPolicy", "IAM User Policy", "user"
    replace_on = ("name", "namePrefix", "user")


class RolePolicy(_InlinePolicy):
    token, what, owner = "aws:iam/rolePolicy:RolePolicy", "IAM Role Policy", "role"
    replace_on = ("name", "namePrefix", "role")


class AccessKey(AwsResource):
    token, what, service = "aws:iam/accessKey:AccessKey", "IAM Access Key", "iam"
    replace_on = ("user", "pgpKey")
    computed = ("createDate", "secret", "sesSmtpPasswordV4")

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        return (
            [("pgpKey", "the lab's stand-in for pulumi-aws does not encrypt keys")]
            if "pgpKey" in values
            else []
        )

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        with self.api.errors(self.service, f"creating {self.what} ({inputs['user']})"):
            client = self._client(inputs)
            key = client.create_access_key(UserName=inputs["user"])["AccessKey"]
            if inputs.get("status") not in (None, key["Status"]):
                client.update_access_key(
                    UserName=inputs["user"], AccessKeyId=key["AccessKeyId"], **pick(inputs, "status")
                )
        own = {
            "secret": secret(key["SecretAccessKey"]),
            "sesSmtpPasswordV4": secret(
                _smtp_password(key["SecretAccessKey"], self.api.region or "us-east-1")
            ),
        }
        return key["AccessKeyId"], {**self._outputs(key["AccessKeyId"], inputs), **own}

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        status = inputs.get("status", "Active")
        client.update_access_key(UserName=inputs["user"], AccessKeyId=id, Status=status)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        # An import has only the key's id; AWS returns its owner.
        user = state.get("user") or client.get_access_key_last_used(AccessKeyId=id)["UserName"]
        keys = client.list_access_keys(UserName=user)["AccessKeyMetadata"]
        key = next((key for key in keys if key["AccessKeyId"] == id), None)
        if key is None:
            return None
        created = key["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"createDate": created, "status": key["Status"], "user": user}

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_access_key(UserName=state["user"], AccessKeyId=id)


def retag(client: Any, kind: str, key: dict[str, str], old: PropertyMap, tags: list[dict[str, str]]) -> None:
    """Change the tags of a user, role or instance profile; `key` names it."""
    lost = set(old.get("tagsAll") or {}) - {tag["Key"] for tag in tags}
    if lost:
        getattr(client, f"untag_{kind}")(TagKeys=sorted(lost), **key)
    if tags:
        getattr(client, f"tag_{kind}")(Tags=tags, **key)


def _smtp_password(secret_key: str, region: str) -> str:
    """The SES password for a secret key, by AWS's published algorithm (version 4)."""
    signature = f"AWS4{secret_key}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.new(signature, part.encode(), hashlib.sha256).digest()
    return base64.b64encode(b"\x04" + signature).decode()


TYPES: tuple[type[AwsResource], ...] = (User, UserPolicy, AccessKey, RolePolicy)
