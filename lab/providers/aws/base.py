"""What all types of the aws stand-in share: input check, names, regions, tags, refresh and import."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

from lab.providers.aws import schema
from lab.providers.aws.api import Api, AwsError
from lab.providers.protocol import PropertyMap, is_unknown, plain
from lab.providers.resource import Call, Invalid, Resource


class AwsResource(Resource):
    """One resource type; a subclass says how to make, look at, change and drop the thing.

    All four get the boto3 client of the resource's region.  Errors of the API become AwsError by themselves.
    """

    token = ""
    """The type token, as "aws:s3/bucket:Bucket"."""
    what = ""
    """What the real provider's errors call it, as "S3 Bucket"."""
    service = ""
    named: str | None = None
    """The input that is made up from the resource's name when not given."""
    longest_name = 63
    json_inputs: tuple[str, ...] = ()
    keeps_outputs = True

    def __init__(self, api: Api) -> None:
        self.api = api

    def make(self, client: Any, inputs: PropertyMap) -> str:
        """Create it; returns its id."""
        raise NotImplementedError

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        """Its outputs as they really are, inputs among them; None or an AWS "not found" when it is gone."""
        raise NotImplementedError

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        """Bring it from the old state to the inputs."""

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        """Delete it; an AWS "not found" is fine."""
        raise NotImplementedError

    def state_of(self, id: str) -> PropertyMap:
        """What the id of an import says about the resource, enough for `look`."""
        return {}

    # -- the protocol's side -------------------------------------------------------------------------------
    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        stated = {
            key: value for key, value in inputs.items() if value is not None and not key.startswith("__")
        }
        values = plain(stated)
        found = schema.problems(self.token, values) + self.complaints(values)
        for name in self.json_inputs:
            if isinstance(values.get(name), str) and not is_unknown(values[name]):
                found += _json_problems(name, values[name])
        if found:
            raise Invalid(*found)
        if self.named and self.named not in stated:
            prefix = values.get(f"{self.named}Prefix")
            stated[self.named] = plain(old).get(self.named) or self.new_name(call, prefix)
        if "region" in schema.input_names(self.token):
            stated.setdefault("region", self.api.region)
        return stated

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        """(property, complaint) for plain inputs that the real provider refuses before asking AWS."""
        return []

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        documents = {name: _canonical(inputs[name]) for name in self.json_inputs if name in inputs}
        return {**inputs, **documents}

    def new_name(self, call: Call, prefix: str | None) -> str:
        """As Pulumi makes it, <resource>-<7 hex digits>; with a prefix as Terraform, prefix and 26 digits."""
        longest = self.longest_name
        seed = call.seed + call.urn.encode() if call.seed else secrets.token_bytes(16)
        suffix = hashlib.sha256(seed).hexdigest()
        if prefix is not None:
            return f"{prefix}{int(suffix[:22], 16):026}"[:longest]
        return f"{call.name[: longest - 8]}-{suffix[:7]}"

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        with self.api.errors(self.service, f"creating {self.what} ({self._subject(inputs)})"):
            made = self.make(self._client(inputs), inputs)
        return made, self._outputs(made, inputs)

    def update(self, call: Call, id: str, old: PropertyMap, inputs: PropertyMap) -> PropertyMap:
        with self.api.errors(self.service, f"updating {self.what} ({id})"):
            self.change(self._client(inputs), id, old, inputs)
        kept = {key: old[key] for key in self.computed if key in old}  # what AWS tells only once
        return {**kept, **self._outputs(id, inputs)}

    def delete(self, call: Call, id: str, state: PropertyMap) -> None:
        try:
            with self.api.errors(self.service, f"deleting {self.what} ({id})"):
                self.drop(self._client(state), id, state)
        except AwsError as problem:
            if not problem.gone:
                raise

    def read(
        self, call: Call, id: str, state: PropertyMap, inputs: PropertyMap
    ) -> tuple[str, PropertyMap, PropertyMap] | None:
        importing = not state
        if importing:
            name, _, region = id.partition("@")  # v7 imports from another region as "name@region"
            state = self.state_of(name)
            if "region" in schema.input_names(self.token):
                state["region"] = region or self.api.region
        else:
            name = id
        found = self._look(name, state)
        if found is None:
            return None
        outputs = _refreshed({key: state.get(key) for key in found} | state, found)
        if importing:
            return name, outputs, _stated(self.token, outputs)
        # Only what the program stated can have drifted from it; the rest is AWS's own business.
        return name, outputs, _refreshed(inputs, found)

    def _outputs(self, id: str, inputs: PropertyMap) -> PropertyMap:
        found = self._look(id, inputs)
        if found is None:
            raise RuntimeError(f"reading {self.what} ({id}): couldn't find resource")
        return {**{key: value for key, value in found.items() if value is not None}, **inputs}

    def _look(self, id: str, state: PropertyMap) -> PropertyMap | None:
        client = self._client(state)
        found = self.found(id, lambda: self.look(client, id, state))
        if found is not None and "tagsAll" in schema.output_names(self.token):
            stated = found["tags"] if "tags" in found else state.get("tags")
            found = {**found, "tagsAll": {**self.api.default_tags, **(stated or {})}}
        return found

    def found(self, id: str, looking: Callable[[], Any]) -> Any | None:
        """What `looking` returns, or None when AWS says that it is not there."""
        return self.api.found(self.service, f"reading {self.what} ({id})", looking)

    def _client(self, state: PropertyMap) -> Any:
        return self.api.client(self.service, state.get("region"))

    def _subject(self, inputs: PropertyMap) -> str:
        return str(inputs.get(self.named) if self.named else inputs.get("bucket") or inputs.get("user") or "")

    def tag_list(self, inputs: PropertyMap) -> list[dict[str, str]]:
        """The tags AWS shall hold: the provider's default ones and the resource's own."""
        tags = {**self.api.default_tags, **(inputs.get("tags") or {})}
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    def own_tags(self, found: list[dict[str, str]]) -> dict[str, str] | None:
        """AWS's tag list as the input `tags`, without the provider's default ones; None for none."""
        tags = {tag["Key"]: tag["Value"] for tag in found}
        own = {key: value for key, value in tags.items() if self.api.default_tags.get(key) != value}
        return own or None


def settled(stated: Any, real: Any) -> Any:
    """`stated` where `real` is the same thing in AWS's words, else what is real.

    AWS adds defaults to what was asked for and rewrites JSON documents; only what was stated is compared.
    """
    if isinstance(stated, dict) and isinstance(real, dict):
        return {
            key: settled(value, real[key]) for key, value in stated.items() if real.get(key) is not None
        } | {key: value for key, value in stated.items() if not value and not real.get(key)}
    if isinstance(stated, list) and isinstance(real, list) and len(stated) == len(real):
        return [settled(*pair) for pair in zip(stated, real, strict=True)]
    if isinstance(stated, str) and isinstance(real, str) and _canonical(stated) == _canonical(real):
        return stated
    return stated if stated in (None, False, "", [], {}) and real in (None, False, "", [], {}) else real


def _refreshed(known: PropertyMap, found: PropertyMap) -> PropertyMap:
    """The known properties as they are found; those that are not looked at stay, those that are gone go."""
    now = {key: settled(value, found[key]) if key in found else value for key, value in known.items()}
    return {key: value for key, value in now.items() if value is not None or key not in found}


def _canonical(text: Any) -> Any:
    """A JSON document without regard to spaces and the order of keys; anything else as it is."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (TypeError, ValueError):
        return text


def _json_problems(name: str, text: str) -> list[tuple[str, str]]:
    try:
        json.loads(text)
    except ValueError as problem:
        return [(name, f'"{name}" contains an invalid JSON: {problem}')]
    return []


def _stated(token: str, outputs: PropertyMap) -> PropertyMap:
    names = schema.input_names(token)
    return {
        key: value
        for key, value in outputs.items()
        if key in names and value not in (None, "", [], {}, False)
    }
