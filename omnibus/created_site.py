"""Settings of GitLab itself on created nodes: external URL, certificates, Geo role and name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omnibus import versions
from omnibus.node_files import DIRECTORY
from omnibus.ruby import Value
from omnibus.statements import Setting

TLS_CERTIFICATE = f"{DIRECTORY}/site.crt"
TLS_KEY = f"{DIRECTORY}/site.key"


@dataclass(frozen=True)
class CreatedNode:
    """The input of a created node's settings.

    `certificate`: whether the site's certificate is provided, in TLS_CERTIFICATE and TLS_KEY.
    """

    site: str
    primary: bool
    external_url: str
    rails: bool
    registry: bool
    certificate: bool
    letsencrypt_email: str | None


def settings(node: CreatedNode, version: versions.Version) -> Iterator[Setting]:
    """External URL, name, Geo role and certificates. On existing nodes, the administrator sets these."""
    yield Setting("external_url", (), node.external_url)
    yield Setting("gitlab_rails", ("geo_node_name",), node.site)
    if not node.rails:
        # Database, Redis and NGINX run on another node; a Geo role would start them on this one.
        yield Setting("nginx", ("enable",), False)
        yield Setting("letsencrypt", ("enable",), False)
        return
    yield Setting("roles", (), [f"geo_{'primary' if node.primary else 'secondary'}_role"])
    if node.external_url.startswith("https:"):
        yield from _certificates(node, version)
    else:
        yield Setting("letsencrypt", ("enable",), False)


def nginx(version: versions.Version, servers: versions.Renamed, key: str, value: Value) -> Setting:
    """A setting of the NGINX servers of Rails or of the registry, under the name of the version."""
    name, *above = servers.name(version).split(".")
    return Setting(name, (*above, key), value)


def _certificates(node: CreatedNode, version: versions.Version) -> Iterator[Setting]:
    if node.certificate:
        yield Setting("letsencrypt", ("enable",), False)
        both = (versions.RAILS_NGINX, versions.REGISTRY_NGINX)
        for servers in both if node.registry else both[:1]:
            yield nginx(version, servers, "ssl_certificate", TLS_CERTIFICATE)
            yield nginx(version, servers, "ssl_certificate_key", TLS_KEY)
    else:
        # Set explicitly: the Linux package's auto-detection looks at files of an earlier run. It covers the
        # registry's name too (cookbook letsencrypt, recipes/http_authorization.rb).
        yield Setting("letsencrypt", ("enable",), True)
        if node.letsencrypt_email:
            yield Setting("letsencrypt", ("contact_emails",), [node.letsencrypt_email])
    yield nginx(version, versions.RAILS_NGINX, "redirect_http_to_https", True)
