"""The statements that a settings file is made of: each knows its Ruby and what a preview shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from omnibus.ruby import Value, literal


@dataclass(frozen=True)
class Setting:
    """`registry['issuer'] = 'x'`; without keys a call: `registry_external_url 'x'`."""

    name: str
    keys: tuple[str, ...]
    value: Value

    def __str__(self) -> str:
        if not self.keys:
            return f"{self.name} {literal(self.value)}"
        return f"{self.path} = {literal(self.value)}"

    @property
    def path(self) -> str:
        return self.name + "".join(f"[{literal(key)}]" for key in self.keys)

    def flat(self) -> dict[str, str]:
        """`{"registry['storage']['s3']['bucket']": "'acme'"}`: a line for each single value."""
        return _flat(self.path, self.value)


@dataclass(frozen=True)
class Endpoints:
    """The notification endpoints: the administrator's own stay as they are, `geo_event` is ours."""

    geo_event: Mapping[str, Value] | None

    def __str__(self) -> str:
        theirs = "Array(registry['notifications']).reject { |e| e['name'] == 'geo_event' }"
        ours = f" + {literal([self.geo_event])}" if self.geo_event else ""
        return f"registry['notifications'] = {theirs}{ours}"

    def flat(self) -> dict[str, str]:
        where = "registry['notifications']['geo_event']"
        return _flat(where, self.geo_event) if self.geo_event else {where: "none"}


@dataclass(frozen=True)
class Storage:
    """`registry['storage']`: its driver is ours; how the administrator's registry caches, deletes and
    redirects stays as it is.
    """

    value: Mapping[str, Value]
    OTHERS: ClassVar = ("cache", "delete", "maintenance", "redirect", "tag")

    def __str__(self) -> str:
        theirs = (
            f"(registry['storage'] || {{}}).select {{ |k, _| %w[{' '.join(self.OTHERS)}].include?(k.to_s) }}"
        )
        return f"registry['storage'] = {theirs}.to_h {{ |k, v| [k.to_s, v] }}.merge({literal(self.value)})"

    def flat(self) -> dict[str, str]:
        return _flat("registry['storage']", self.value)


@dataclass(frozen=True)
class ApiUrl:
    """Where GitLab asks the registry beside it: the administrator's `registry['registry_http_addr']`, or
    omnibus' default. Whatever gitlab.rb says of the URL itself may be of an earlier set-up.
    """

    def __str__(self) -> str:
        # [] would bring an empty hash into being, which omnibus would take for the address.
        address = "registry.fetch('registry_http_addr', nil).to_s[/\\A\\S*:[0-9]+\\z/] || '127.0.0.1:5000'"
        return f"""gitlab_rails['registry_api_url'] = "http://#{{{address}}}".sub('//:', '//127.0.0.1:')"""

    def flat(self) -> dict[str, str]:
        return {"gitlab_rails['registry_api_url']": "\"http://#{registry['registry_http_addr']}\""}


def _flat(path: str, value: Value) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in _flat(f"{path}[{literal(key)}]", inner).items()
        }
    return {path: literal(value)}


Part: TypeAlias = ApiUrl | Setting | Endpoints | Storage
