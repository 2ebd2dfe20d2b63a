"""The two files that omnibus' templates make of a node's settings, and three readers of YAML for them.

Written from what is known of the templates (which value stands in quotes, which is JSON and which is plain),
for the keys that registry and Geo read.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.corpus.values import Raw
from tests.ruby import Ruby

PSYCH = """
# Which the program on the node takes for what they were, and which no other file of these has.
class Symbol
  def to_json(*) = ":#{self}".to_json
end

$stdout.sync = true
while (line = $stdin.gets)
  begin
    puts JSON.generate([YAML.safe_load(JSON.parse(line), permitted_classes: [Symbol], aliases: true)])
  rescue StandardError => e
    puts JSON.generate(["#{e.class}: #{e.message}"])
  end
end
"""


class _Go(yaml.SafeLoader):
    """go-yaml v2 as far as single values go: y and n are booleans, dates are text, 1e5 is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the library's way)
    bool_values = yaml.SafeLoader.bool_values | {"y": True, "n": False}


_WORDS = "y|yes|on|true|n|no|off|false"
for _tag, _pattern in (
    ("bool", "|".join(f"{word}|{word.title()}|{word.upper()}" for word in _WORDS.split("|"))),
    ("null", "~|null|Null|NULL|"),
    ("int", r"[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[0-9][0-9_]*)"),
    (
        "float",
        r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
):
    _Go.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), None)


class Readers(Ruby):
    """Ruby's reader, which Rails and the node's program use; PyYAML, YAML 1.1 to the letter; and go-yaml's rules."""

    NAMES = ("Psych", "PyYAML", "go-yaml")

    def __init__(self) -> None:
        super().__init__("--disable-gems", "-ryaml", "-rjson", "-e", PSYCH)

    def read(self, text: str) -> dict[str, Any]:
        """Reader → what it makes of the text, or the error."""
        return {
            "Psych": self.ask(text)[0],
            "PyYAML": _load(text, yaml.SafeLoader),
            "go-yaml": _load(text, _Go),
        }


def _load(text: str, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(text, loader)  # noqa: S506 (both are safe ones)
    except (yaml.YAMLError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def config_yml(found: Raw, external_url: str) -> str:
    """The registry's file, of a node with a registry."""
    registry, rails = found["registry"], found["gitlab_rails"]
    address = registry.get("registry_http_addr") or "127.0.0.1:5000"
    lines = ["version: 0.1"]
    if "storage" in registry:
        lines.append(f"storage: {_json(registry['storage'])}")
    lines += ["http:", f"  addr: {address}", f'  secret: "{registry.get("http_secret", "")}"']
    lines += ["auth:", "  token:", f"    realm: {registry.get('token_realm', external_url)}/jwt/auth"]
    lines += ["    service: container_registry", f"    issuer: {rails['registry_issuer']}"]
    if registry.get("notifications"):
        lines += ["notifications:", f"  endpoints: {_json(registry['notifications'])}"]
    lines.append(f"database: {_json(registry['database'])}")
    return "\n".join(lines) + "\n"


def gitlab_yml(found: Raw) -> str:
    """Rails' file, as far as registry and Geo go."""
    rails = found["gitlab_rails"]
    host, port = rails.get("registry_host"), rails.get("registry_port")
    if found.get("registry_external_url"):
        url = urlsplit(found["registry_external_url"])
        host, port = url.netloc.partition(":")[0], port if url.port in {None, 80, 443} else url.port
    own = urlsplit(found.get("external_url", "")).netloc.partition(":")[0]
    lines = ["production:", "  gitlab:", f"    host: {own}", "  registry:", f"    host: {host}"]
    lines += [
        f"    port: {'' if port is None else port}",
        f"    api_url: {rails.get('registry_api_url', '')} # address",
    ]
    lines += [f"    issuer: {rails['registry_issuer']}"]
    lines += [f"    notification_secret: {rails.get('registry_notification_secret', '')}"]
    lines += ["  geo:", f"    node_name: {rails.get('geo_node_name', '')}", "    registry_replication:"]
    lines += [f"      primary_api_url: {rails.get('geo_registry_replication_primary_api_url', '')} # address"]
    return "\n".join(lines) + "\n"


def meant_config(found: Raw, external_url: str) -> Raw:
    """What the registry must read of `config_yml`."""
    registry, rails = found["registry"], found["gitlab_rails"]
    token = {
        "realm": registry.get("token_realm", external_url) + "/jwt/auth",
        "service": "container_registry",
        "issuer": rails["registry_issuer"],
    }
    http = {
        "addr": registry.get("registry_http_addr") or "127.0.0.1:5000",
        "secret": registry.get("http_secret", ""),
    }
    meant: Raw = {"version": 0.1, "http": http, "auth": {"token": token}, "database": registry["database"]}
    if "storage" in registry:
        meant["storage"] = registry["storage"]
    return meant | (
        {"notifications": {"endpoints": registry["notifications"]}} if registry.get("notifications") else {}
    )


def meant_gitlab(found: Raw) -> Raw:
    """What Rails must read of `gitlab_yml`; what is empty there is nothing."""
    rails = found["gitlab_rails"]
    host, port = rails.get("registry_host"), rails.get("registry_port")
    if found.get("registry_external_url"):
        url = urlsplit(found["registry_external_url"])
        host, port = url.netloc.partition(":")[0], port if url.port in {None, 80, 443} else url.port
    registry = {
        "host": host,
        "port": port,
        "api_url": rails.get("registry_api_url"),
        "issuer": rails["registry_issuer"],
        "notification_secret": rails.get("registry_notification_secret"),
    }
    geo = {
        "node_name": rails.get("geo_node_name"),
        "registry_replication": {
            "primary_api_url": rails.get("geo_registry_replication_primary_api_url"),
        },
    }
    own = urlsplit(found.get("external_url", "")).netloc.partition(":")[0]
    return {"production": {"gitlab": {"host": own or None}, "registry": registry, "geo": geo}}


def _json(value: Any) -> str:
    """As Ruby writes it: nothing beyond ASCII is escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
