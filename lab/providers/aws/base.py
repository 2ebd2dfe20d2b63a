"""Common parts of all types of the aws stand-in: input check, names, regions, tags, refresh and import."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lab.providers.aws import naming, schema, tagging
from lab.providers.aws.api import Api, AwsError
from lab.providers.aws.normalize import canonical, completed, refreshed, unordered
from lab.providers.protocol import PropertyMap, is_unknown, plain
from lab.providers.resource import Call, HalfMade, Invalid, Resource


class AwsResource(Resource):
    """One resource type; a subclass implements how to create, read, update and delete the resource.

    All get the boto3 client of the resource's region.  Errors of the API are converted to AwsError.
    """

    token = ""
    """The type token, for example "aws:s3/bucket:Bucket"."""
    what = ""
    """Its name in the real provider's errors, for example "S3 Bucket"."""
    making, dropping = "creating", "deleting"
    """The words for creation and deletion in the real provider's errors."""
    service = ""
    named: str | None = None
    """The input that is generated from the resource's name if it is not set."""
    name_start = ""
    """The prefix of a generated name."""
    longest_name = 63
    json_inputs: tuple[str, ...] = ()
    keeps_outputs = True
    tags_among_inputs = True
    """Whether the bridge puts all tags among the inputs, as `tagsAll`."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def make(self, client: Any, inputs: PropertyMap) -> str:
        """Create it; returns its id."""
        raise NotImplementedError

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        """The further steps of the creation; if one fails, the resource stays and is stored in the state."""

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        """Its current outputs, including inputs; None or an AWS "not found" if it no longer exists.

        `tags` are all tags on AWS, including those of the provider.
        """
        raise NotImplementedError

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        """Update it from the old state to the inputs."""

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        """Delete it; an AWS "not found" is fine."""
        raise NotImplementedError

    def state_of(self, id: str) -> PropertyMap:
        """What the id of an import contains about the resource, enough for `look`."""
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
        everything = tagging.both(self.api.default_tags, stated.get("tags"))
        if everything and self._taggable and self.tags_among_inputs:
            stated["tagsAll"] = everything
        return stated

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        """(property, error) for plain inputs that the real provider rejects before it calls AWS."""
        return []

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        documents = {name: canonical(inputs[name]) for name in self.json_inputs if name in inputs}
        return {**{key: unordered(value) for key, value in inputs.items()}, **documents}

    def deleted_first(self, name: str, old: PropertyMap, new: PropertyMap) -> bool:
        """A configured name cannot exist twice (nameRequiresDeleteBeforeReplace in the bridge)."""
        if self.named is None or f"{self.named}Prefix" in new:
            return False
        stays = old.get(self.named) is not None and old.get(self.named) == new.get(self.named)
        return stays and not naming.is_made_up(new[self.named], name, self.name_start)

    def new_name(self, call: Call, prefix: str | None) -> str:
        return naming.new_name(call, self.longest_name, self.name_start, prefix)

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        subject = self._subject(inputs)
        doing = f"{self.making} {self.what} ({subject})" if subject else f"{self.making} {self.what}"
        client = self._client(inputs)
        with self.api.errors(self.service, doing):
            made = self.make(client, inputs)
        try:
            with self.api.errors(self.service, f"{self.making} {self.what} ({made})"):
                self.finish(client, made, inputs)
            return made, self._outputs(made, inputs)
        except Exception as problem:
            raise HalfMade(made, self._remembered(made, inputs), str(problem)) from problem

    def update(self, call: Call, id: str, old: PropertyMap, inputs: PropertyMap) -> PropertyMap:
        with self.api.errors(self.service, f"updating {self.what} ({id})"):
            self.change(self._client(inputs), id, old, inputs)
        return self._outputs(id, inputs, old)

    def delete(self, call: Call, id: str, state: PropertyMap) -> None:
        try:
            with self.api.errors(self.service, f"{self.dropping} {self.what} ({id})"):
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
        outputs = refreshed({key: state.get(key) for key in found} | state, found)
        if importing:
            return name, outputs, _stated(self.token, outputs, with_tags=self.tags_among_inputs)
        # Only what the program sets can drift; the rest belongs to AWS.
        return name, outputs, refreshed(inputs, found)

    def _outputs(self, id: str, inputs: PropertyMap, old: PropertyMap | None = None) -> PropertyMap:
        found = self._look(id, inputs)
        if found is None:
            raise RuntimeError(f"reading {self.what} ({id}): couldn't find resource")
        known = {key: value for key, value in (old or {}).items() if key in self.computed}
        kept = {key: value for key, value in known.items() if key not in found}  # what AWS returns only once
        own = {key: inputs[key] for key in ("tags", "tagsAll") if key in inputs}
        return {**kept, **completed(inputs, found), **own}

    def _remembered(self, id: str, inputs: PropertyMap) -> PropertyMap:
        """The outputs that are available after a failure; inputs count as done, as in Terraform."""
        try:
            return self._outputs(id, inputs)
        except (AwsError, RuntimeError):
            return inputs

    def _look(self, id: str, state: PropertyMap) -> PropertyMap | None:
        client = self._client(state)
        found: PropertyMap | None = self.found(id, lambda: self.look(client, id, state))
        if found is None or not self._taggable:
            return found
        return {**found, **tagging.split(self.api.default_tags, state.get("tags"), found.get("tags") or {})}

    def found(self, id: str, looking: Callable[[], Any]) -> Any | None:
        """The result of `looking`, or None if AWS reports that the resource does not exist."""
        return self.api.found(self.service, f"reading {self.what} ({id})", looking)

    def _client(self, state: PropertyMap) -> Any:
        return self.api.client(self.service, state.get("region"))

    def _subject(self, inputs: PropertyMap) -> str:
        return str(inputs.get(self.named) if self.named else inputs.get("bucket") or inputs.get("user") or "")

    @property
    def _taggable(self) -> bool:
        return "tagsAll" in schema.output_names(self.token)

    def tag_map(self, inputs: PropertyMap) -> tagging.Tags:
        """The desired tags on AWS: the provider's default ones and the resource's own."""
        return {**self.api.default_tags, **(inputs.get("tags") or {})}

    def tag_list(self, inputs: PropertyMap) -> list[tagging.Tags]:
        """The same in the API's list form."""
        return tagging.to_api(self.tag_map(inputs))


def _json_problems(name: str, text: str) -> list[tuple[str, str]]:
    try:
        json.loads(text)
    except ValueError as problem:
        return [(name, f'"{name}" contains an invalid JSON: {problem}')]
    return []


def _stated(token: str, outputs: PropertyMap, *, with_tags: bool) -> PropertyMap:
    names = schema.input_names(token) | ({"tagsAll"} if with_tags else set())
    return {
        key: value
        for key, value in outputs.items()
        if key in names and value not in (None, "", [], {}, False)
    }
