"""Tags: the resource's own, and those that the provider adds to all resources (`defaultTags`)."""

from __future__ import annotations

from typing import Any

from lab.providers.protocol import UNKNOWN, PropertyMap, has_secret, is_unknown, plain, secret

Tags = dict[str, str]


def both(default: Tags, stated: Any) -> Any:
    """The input `tagsAll`, which Pulumi's provider computes from both (provider/tags.go there); may be
    unknown.
    """
    own = plain(stated) or {}
    if is_unknown(own):
        return UNKNOWN
    tags = {**default, **own}
    return secret(tags) if has_secret(stated) else tags


def split(default: Tags, stated: Tags | None, real: Tags) -> PropertyMap:
    """The properties `tags` (without the provider's; None for none) and `tagsAll`, from the tags on AWS."""
    everything = {key: value for key, value in real.items() if not key.startswith("aws:")}
    own = {
        key: value for key, value in everything.items() if key in (stated or {}) or default.get(key) != value
    }
    return {"tags": own or None, "tagsAll": everything}


def to_api(tags: Tags) -> list[Tags]:
    """As the API's list of keys and values."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def from_api(found: list[dict[str, Any]] | None, key: str = "Key", value: str = "Value") -> Tags:
    """The API's list as a map."""
    return {tag[key]: tag[value] for tag in found or []}
