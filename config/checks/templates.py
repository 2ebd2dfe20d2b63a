"""Values that are valid alone, and not in the files that the Linux package writes from them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from config.errors import ConfigError
from config.model import Deployment, Node
from config.plain_text import is_text

_UNQUOTED = "the Linux package writes it without quotes"
_STRING = "a value that YAML reads as a string without quotes, not as a number, boolean, date or null"


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Values that neither the registry nor Rails would read as the intended string."""
    if not is_text(d.issuer):
        yield ConfigError(
            "issuer-not-a-string",
            "issuer",
            f"{d.issuer!r} is not a string to YAML",
            expectation=_STRING,
            consequence=f"{_UNQUOTED}, and the registry would not start "
            "('requires a valid option string: issuer')",
            example="omnibus-gitlab-issuer",
        )
    for name, site in d.sites.items():
        if site.aws and not is_text(name):
            yield ConfigError(
                "site-name-not-a-string",
                f"sites.{name}",
                f"{name!r} is not a string to YAML",
                expectation=_STRING,
                consequence=f"{_UNQUOTED} as geo_node_name, and GitLab would not find itself among the Geo "
                f"sites",
                example=f"site-{name}",
            )
        for key in ("external_url", "registry_url") if site.aws else ("registry_url",):
            host = _host(getattr(site, key))
            if host and not is_text(host):
                yield ConfigError(
                    "host-name-not-a-string",
                    f"sites.{name}.{key}",
                    f"{host!r} is not a string to YAML",
                    expectation="a host name that YAML reads as a string without quotes",
                    consequence=f"{_UNQUOTED}, and GitLab would use a different address for itself and "
                    "for its images",
                    example=f"https://registry.{name}.example.com",
                )
        for node_name, node in site.nodes.items():
            yield from _address(f"sites.{name}.nodes.{node_name}.registry_http_addr", node)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.partition(":")[0]
    except ValueError:
        return ""


def _address(key: str, node: Node) -> Iterator[ConfigError]:
    address = node.registry_http_addr
    if address is None:
        return
    if address.startswith("[") or not is_text(address):
        yield ConfigError(
            "registry-address-not-a-string",
            key,
            f"{address!r} is not a string to YAML",
            expectation="a host name or IPv4 address and a port; :5000 where the node does not run Rails",
            consequence=f"{_UNQUOTED}, and nothing could read the registry's config.yml",
            example="10.10.0.14:5000",
        )
    elif address.startswith(":") and node.has("rails"):
        yield ConfigError(
            "registry-address-without-host",
            key,
            f"{address!r} on a node with the role rails",
            expectation="a host name or IPv4 address before the port, or a node without the role rails",
            consequence="the node's NGINX passes the registry's host name to this address and would not "
            "start ('no host in upstream'): GitLab would be down",
            example="0.0.0.0:5000",
        )
