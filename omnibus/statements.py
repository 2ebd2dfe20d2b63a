"""The statements of a settings file: each has its Ruby text and what a preview shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from omnibus.ruby import Value, literal, secret_names
from omnibus.storage_place import BESIDE_DRIVERS


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
        """`{"registry['storage']['s3']['bucket']": "'acme'"}`: one line per value."""
        return _flat(self.path, self.value)

    def secret_names(self) -> Iterator[str]:
        """The names of the secrets that the statement reads."""
        return secret_names(self.value)


@dataclass(frozen=True)
class Merged(Setting):
    """`registry['database'] = (registry['database'] || {}).merge(…)`: the administrator's other keys stay."""

    def __str__(self) -> str:
        return f"{self.path} = ({self.path} || {{}}).merge({literal(self.value)})"


@dataclass(frozen=True)
class Endpoints:
    """The notification endpoints: `geo_event` is set, the administrator's other endpoints stay."""

    geo_event: Mapping[str, Value] | None

    def __str__(self) -> str:
        existing = "Array(registry['notifications']).reject { |e| e['name'] == 'geo_event' }"
        added = f" + {literal([self.geo_event])}" if self.geo_event else ""
        return f"registry['notifications'] = {existing}{added}"

    def flat(self) -> dict[str, str]:
        where = "registry['notifications']['geo_event']"
        return _flat(where, self.geo_event) if self.geo_event else {where: "none"}

    def secret_names(self) -> Iterator[str]:
        return secret_names(self.geo_event)


@dataclass(frozen=True)
class Storage:
    """`registry['storage']`: sets the driver; the administrator's `cache`, `delete`, `redirect` stay."""

    value: Mapping[str, Value]

    def __str__(self) -> str:
        kept = " ".join(BESIDE_DRIVERS)
        existing = f"(registry['storage'] || {{}}).select {{ |k, _| %w[{kept}].include?(k.to_s) }}"
        return f"registry['storage'] = {existing}.to_h {{ |k, v| [k.to_s, v] }}.merge({literal(self.value)})"

    def flat(self) -> dict[str, str]:
        return _flat("registry['storage']", self.value)

    def secret_names(self) -> Iterator[str]:
        return secret_names(self.value)


@dataclass(frozen=True)
class ApiUrl:
    """Where GitLab connects to the registry on the same node: the administrator's
    `registry['registry_http_addr']`, or the default. A URL in gitlab.rb may be left from an earlier setup.
    """

    def __str__(self) -> str:
        # [] would create an empty hash, which the Linux package would use as the address.
        address = "registry.fetch('registry_http_addr', nil).to_s[/\\A\\S*:[0-9]+\\z/] || '127.0.0.1:5000'"
        return f"""gitlab_rails['registry_api_url'] = "http://#{{{address}}}".sub('//:', '//127.0.0.1:')"""

    def flat(self) -> dict[str, str]:
        return {"gitlab_rails['registry_api_url']": "\"http://#{registry['registry_http_addr']}\""}

    def secret_names(self) -> Iterator[str]:
        return iter(())


def _flat(path: str, value: Value) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in _flat(f"{path}[{literal(key)}]", inner).items()
        }
    return {path: literal(value)}


Statement: TypeAlias = ApiUrl | Setting | Endpoints | Storage
