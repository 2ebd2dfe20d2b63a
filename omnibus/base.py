"""GitLab's own settings on hosts that this program creates: address, certificates, Geo role and name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from omnibus import versions
from omnibus.machines import Tls
from omnibus.model import Deployment, Node
from omnibus.parts import Setting
from omnibus.ruby import Value

TLS_CERTIFICATE = "/etc/gitlab/geo-registry/site.crt"
TLS_KEY = "/etc/gitlab/geo-registry/site.key"
TRUSTED = "/etc/gitlab/trusted-certs"


def settings(d: Deployment, site_name: str, node: Node) -> Iterator[Setting]:
    """Nothing for a site whose hosts exist: there all of this is the administrator's."""
    site = d.sites[site_name]
    if not site.aws:
        return
    yield Setting("external_url", (), site.external_url.rstrip("/"))
    yield Setting("gitlab_rails", ("geo_node_name",), site_name)
    if not node.has("rails"):
        # Its database, Redis and web server are another node's; a Geo role would start its own.
        yield Setting("nginx", ("enable",), False)
        yield Setting("letsencrypt", ("enable",), False)
        return
    yield Setting("roles", (), [f"geo_{'primary' if site_name == d.primary else 'secondary'}_role"])
    if site.https:
        yield from _certificates(d, site.aws.tls, node)
    else:
        yield Setting("letsencrypt", ("enable",), False)


def nginx(d: Deployment, servers: versions.Renamed, key: str, value: Value) -> Setting:
    """A setting of the nginx servers of Rails or of the registry, under the name of the stack's version."""
    name, *above = servers.name(versions.parse(d.gitlab_version)).split(".")
    return Setting(name, (*above, key), value)


def _certificates(d: Deployment, tls: Tls, node: Node) -> Iterator[Setting]:
    if tls.certificate:
        yield Setting("letsencrypt", ("enable",), False)
        both = (versions.RAILS_NGINX, versions.REGISTRY_NGINX)
        for servers in both if node.has("registry") else both[:1]:
            yield nginx(d, servers, "ssl_certificate", TLS_CERTIFICATE)
            yield nginx(d, servers, "ssl_certificate_key", TLS_KEY)
    else:
        # Said, not left to omnibus' guess, which looks for files of an earlier run. It covers the registry's
        # name too (cookbook letsencrypt, recipes/http_authorization.rb).
        yield Setting("letsencrypt", ("enable",), True)
        if tls.letsencrypt_email:
            yield Setting("letsencrypt", ("contact_emails",), [tls.letsencrypt_email])
    yield nginx(d, versions.RAILS_NGINX, "redirect_http_to_https", True)


def files(d: Deployment, site_name: str, node: Node) -> dict[str, str]:
    """path → content of the certificates that are given for a node.

    Of those that every node is to trust one file each: omnibus passes over a file with several
    (gitlab-ctl's and the cookbook's CertificateHelper).
    """
    certificate = r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----"
    trusted = re.findall(certificate, d.trusted_certificates, re.DOTALL)
    found = {f"{TRUSTED}/geo-registry-{n}.crt": f"{text}\n" for n, text in enumerate(trusted, 1)}
    return found | _tls_files(d, site_name, node)


def _tls_files(d: Deployment, site_name: str, node: Node) -> dict[str, str]:
    """path → content of the certificate that was given for a created site; {} where none was."""
    aws = d.sites[site_name].aws
    if not aws or not aws.tls.certificate or not aws.tls.private_key or not node.has("rails"):
        return {}
    return {TLS_CERTIFICATE: aws.tls.certificate, TLS_KEY: aws.tls.private_key.get_secret_value()}
