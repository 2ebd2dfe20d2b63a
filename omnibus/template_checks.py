"""Values that are right for themselves and wrong in the files that omnibus' templates make of them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from omnibus.model import Deployment, Node
from omnibus.plain_text import is_text
from omnibus.problems import Problem

_UNQUOTED = "omnibus writes it without quotes, and to YAML it is a number, a truth value, a date or null"


def problems(d: Deployment) -> Iterator[Problem]:
    """What neither the registry nor Rails would read as the text that was meant."""
    if not is_text(d.issuer):
        yield Problem(
            "issuer",
            f"{d.issuer!r} is not a text to YAML",
            f"{_UNQUOTED}: the registry would not start ('requires a valid option string: issuer')",
            "omnibus-gitlab-issuer",
        )
    for name, site in d.sites.items():
        if site.aws and not is_text(name):
            yield Problem(
                f"sites.{name}",
                f"{name!r} is not a text to YAML",
                f"as geo_node_name {_UNQUOTED}: GitLab would not find itself among the Geo sites",
                f"site-{name}",
            )
        for key in ("external_url", "registry_url") if site.aws else ("registry_url",):
            host = _host(getattr(site, key))
            if host and not is_text(host):
                yield Problem(
                    f"sites.{name}.{key}",
                    f"{host!r} is not a text to YAML",
                    f"{_UNQUOTED}: GitLab would name images and itself by something else",
                    f"https://registry.{name}.example.com",
                )
        for node_name, node in site.nodes.items():
            yield from _address(f"sites.{name}.nodes.{node_name}.registry_http_addr", node)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.partition(":")[0]
    except ValueError:
        return ""


def _address(key: str, node: Node) -> Iterator[Problem]:
    address = node.registry_http_addr
    if address is None:
        return
    if address.startswith("[") or not is_text(address):
        yield Problem(
            key,
            f"{address!r} is not a text to YAML",
            "omnibus writes it without quotes, and config.yml could not be read by anything any more",
            "a name that has only this address; :5000, on all addresses, where the node has no Rails",
        )
    elif address.startswith(":") and node.has("rails"):
        yield Problem(
            key,
            f"{address!r} on a node with the role rails",
            "its nginx passes the registry's name on to this address and would not start ('no host in "
            "upstream'), and GitLab with it would be gone",
            "0.0.0.0:5000, or a node of its own for the registry: roles: [registry]",
        )
