"""Contradictions between sites: their nodes, URLs and external registries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509

from config import normalize
from config.checks.tls import UNREADABLE
from config.errors import ConfigError, field_help
from config.external_registry import ExternalRegistry
from config.model import Deployment
from config.storage_drivers import Filesystem


def primary(d: Deployment) -> Iterator[ConfigError]:
    """A primary that is not a site of the stack."""
    if d.primary not in d.sites:
        yield ConfigError(
            "primary-not-a-site",
            "primary",
            f"{d.primary!r} is not a site of this stack",
            expectation=f"one of {', '.join(d.sites)}"
            if d.sites
            else "one of the stack's sites; there are none",
            consequence="no site would be the primary, so nothing could replicate",
            example=next(iter(d.sites), "london"),
        )


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction in the configuration of sites, nodes and registries."""
    yield from _roles(d)
    yield from _urls(d)
    yield from _beside_gitlab(d)
    yield from _unique_urls(d)
    yield from _names_of_several(d)
    yield from _external(d)
    yield from _trusted(d)


def _roles(d: Deployment) -> Iterator[ConfigError]:
    for site_name, site in d.sites.items():
        nodes_key = f"sites.{site_name}.nodes"
        if not site.nodes_with("registry") and not site.external_registry:
            yield ConfigError(
                "registry-role-missing",
                nodes_key,
                "no node has the role registry",
                expectation="at least one node with the role registry, or external_registry",
                consequence="the site would have no registry to replicate",
                example="roles: [rails, sidekiq, registry] on one node",
            )
        if not site.nodes_with("rails"):
            yield ConfigError(
                "rails-role-missing",
                nodes_key,
                "no node has the role rails",
                expectation="all nodes of the site, at least one with the role rails",
                consequence="nothing would sign the registry's tokens or receive its notifications",
                example="list the site's web nodes too, with roles: [rails]",
            )
        for name, node in site.nodes.items():
            if node.has("registry") and not node.has("rails") and site.aws:
                yield ConfigError(
                    "registry-without-rails",
                    f"{nodes_key}.{name}.roles",
                    f"{node.roles} puts the registry of a created site on a node without Rails",
                    expectation="rails on each node of a created site that has registry",
                    consequence="this program does not disable the other GitLab services of such a node",
                    example="[rails, registry], or an existing host",
                )
            if len(set(node.roles)) != len(node.roles):
                yield ConfigError(
                    "role-repeated",
                    f"{nodes_key}.{name}.roles",
                    f"{node.roles} repeats a role",
                    expectation="each role once",
                    consequence="the repeated role could be a typo for one that is missing",
                    example=f"[{', '.join(dict.fromkeys(node.roles))}]",
                )
            if node.registry_http_addr and not node.has("registry"):
                yield ConfigError(
                    "registry-address-unused",
                    f"{nodes_key}.{name}.registry_http_addr",
                    "provided for a node without the role registry",
                    expectation="registry_http_addr only on nodes with the role registry",
                    consequence="nothing would listen there",
                    example="remove it, or add registry to the node's roles",
                )


def _urls(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.sites.items():
        for key in ("external_url", "registry_url", "internal_url", "registry_internal_url"):
            url = getattr(site, key)
            try:
                parts = urlsplit(url or "https://gitlab.example.com")
                bad = parts.port == 0 or not parts.hostname or not re.search(r"[A-Za-z0-9]", parts.hostname)
            except ValueError:
                bad = True
            if bad:
                yield ConfigError(
                    "url-host-invalid",
                    f"sites.{name}.{key}",
                    f"{url!r} has no usable host and port",
                    expectation="a host name with letters or digits, and a port from 1 to 65535 if any",
                    consequence="the Linux package would accept it, and nothing would answer there",
                    example=f"https://registry.{name}.example.com",
                )


def _beside_gitlab(d: Deployment) -> Iterator[ConfigError]:
    """A registry on separate nodes may have GitLab's host name: a load balancer separates the requests."""
    for name, site in d.sites.items():
        one = normalize.server(site.registry_url) == normalize.server(site.external_url)
        if one and any(node.has("rails") and node.has("registry") for node in site.nodes.values()):
            yield ConfigError(
                "registry-url-of-gitlab",
                f"sites.{name}.registry_url",
                f"{site.registry_url!r} is also the URL of the site's GitLab",
                expectation="another host name or port than that of external_url",
                consequence="the NGINX of a node would answer for only one of them",
                example=f"https://registry.{name}.example.com",
            )


_SELF_REPLICATION = "a secondary would replicate from itself and report success"
_LOST_NOTIFICATIONS = "the primary's notifications could reach a secondary, which refuses them"


def _unique_urls(d: Deployment) -> Iterator[ConfigError]:
    """Sites may share the URLs that users see; each needs its own for the other sites."""
    yield from _behind_one_url(d)
    registries: dict[tuple[str, int | None], str] = {}
    gitlabs: dict[tuple[str, int | None], str] = {}
    for name, site in d.sites.items():
        url = site.own_registry_url
        registry, gitlab = normalize.server(url), normalize.server(site.own_url)
        if registry in registries:
            key = "registry_internal_url" if site.registry_internal_url else "registry_url"
            yield ConfigError(
                "registry-url-not-unique",
                f"sites.{name}.{key}",
                f"{url!r} is also the URL of {registries[registry]}'s registry",
                expectation="a registry_url, or behind a unified URL a registry_internal_url, for each site",
                consequence=_SELF_REPLICATION,
                example=f"https://registry.{name}.example.com",
            )
        registries.setdefault(registry, name)
        if gitlab in gitlabs:
            key = "internal_url" if site.internal_url else "external_url"
            yield ConfigError(
                "gitlab-url-not-unique",
                f"sites.{name}.{key}",
                f"{site.own_url!r} is also the URL of {gitlabs[gitlab]}'s GitLab",
                expectation="an external_url, or behind a unified URL an internal_url, for each site",
                consequence=_LOST_NOTIFICATIONS,
                example=f"https://gitlab.{name}.example.com",
            )
        gitlabs.setdefault(gitlab, name)


def _behind_one_url(d: Deployment) -> Iterator[ConfigError]:
    """The URL by which other sites reach a site must not lead to one of them."""
    for name, site in d.sites.items():
        others = [other for n, other in d.sites.items() if n != name]
        for key, internal, public, why in (
            (
                "registry_internal_url",
                site.own_registry_url,
                {normalize.server(other.registry_url): other.own_registry_url for other in others},
                _SELF_REPLICATION,
            ),
            (
                "internal_url",
                site.own_url,
                {normalize.server(other.external_url): other.own_url for other in others},
                _LOST_NOTIFICATIONS,
            ),
        ):
            there = public.get(normalize.server(internal))
            # If the other site has no internal URL either, _unique_urls reports that.
            if there and normalize.server(there) != normalize.server(internal):
                url = getattr(site, key)
                yield ConfigError(
                    "unified-url-as-internal" if url else "internal-url-missing",
                    f"sites.{name}.{key}",
                    f"{url!r} is a unified URL of other sites" if url else "missing behind a unified URL",
                    expectation="a URL that leads to this site only",
                    consequence=why,
                    example=f"https://{'registry' if 'registry' in key else 'gitlab'}.{name}.example.com",
                )


def _names_of_several(d: Deployment) -> Iterator[ConfigError]:
    hosts = {
        name: {urlsplit(site.external_url).hostname, urlsplit(site.registry_url).hostname}
        for name, site in d.sites.items()
    }
    for name, aws in d.created.items():
        others = set().union(*(names for other, names in hosts.items() if other != name))
        for host in sorted(filter(None, hosts[name] & others)):
            if aws.hosted_zone:
                yield ConfigError(
                    "hosted-zone-behind-unified-url",
                    f"sites.{name}.aws.hosted_zone",
                    f"provided, and {host} is also the host name of another site",
                    expectation="no hosted_zone for a site behind a unified URL",
                    consequence="the record that the stack creates would lead all users to this site",
                    example="remove it, and create a record that leads to the nearest site yourself",
                )
            if d.sites[name].https and not aws.tls.certificate:
                yield ConfigError(
                    "certificate-missing-behind-unified-url",
                    f"sites.{name}.aws.tls.certificate",
                    f"missing, and {host} is also the host name of another site",
                    expectation="your own certificate for all host names of the site",
                    consequence="Let's Encrypt verifies a host name at one address, which may be the other "
                    "site's",
                    example="the PEM text of the certificate and its chain",
                )


def _external(d: Deployment) -> Iterator[ConfigError]:
    for name, site in d.sites.items():
        external = site.external_registry
        if external is None:
            continue
        key = f"sites.{name}.external_registry"
        for node in site.nodes_with("registry"):
            yield ConfigError(
                "registry-role-beside-external",
                f"sites.{name}.nodes.{node}.roles",
                "has registry in a site with an external_registry",
                expectation="no node with the role registry beside an external_registry",
                consequence="the site would have two registries, and GitLab knows one",
                example="[rails, sidekiq]",
            )
        if site.aws:
            yield ConfigError(
                "external-registry-of-created-site",
                key,
                "provided in a site whose hosts are created",
                expectation="external_registry only for sites with existing hosts",
                consequence="a created site's registry runs on its own nodes",
                example="remove it, or remove aws",
            )
        if isinstance(d.driver_of(name), Filesystem):
            yield ConfigError(
                "filesystem-of-external-registry",
                f"sites.{name}.storage.filesystem",
                "provided for a site with an external_registry",
                expectation="keep, or object storage",
                consequence="this program cannot check on such a host that no other registry uses the "
                "directory",
                example="keep",
            )
        if d.shared and d.is_secondary(name) and not external.hosts:
            yield ConfigError(
                "external-hosts-missing",
                f"{key}.hosts",
                "missing at a secondary of shared storage",
                expectation="the hosts of the registry, or storage.mode: per_site",
                consequence="this program could not make the registry read-only, and Geo's worker could "
                "delete the primary's live images",
                example=field_help(ExternalRegistry, "hosts").example,
            )


def _trusted(d: Deployment) -> Iterator[ConfigError]:
    if not d.trusted_certificates:
        return
    try:
        certificates = x509.load_pem_x509_certificates(d.trusted_certificates.encode())
    except UNREADABLE:
        certificates = []
    private = "PRIVATE KEY" in d.trusted_certificates
    if private or not certificates:
        yield ConfigError(
            "trusted-certificates-with-key" if private else "trusted-certificates-invalid",
            "trusted_certificates",
            "[secret] contains a private key" if private else "contains no certificate",
            expectation="certificates in PEM form, without their keys",
            consequence="the key would be readable on every node"
            if private
            else "GitLab's reconfigure ignores it, and the sites could not connect to each other's registry",
            example="-----BEGIN CERTIFICATE----- … -----END CERTIFICATE-----",
        )
