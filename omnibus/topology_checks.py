"""What a configuration's sites contradict: their parts, their addresses, their registries' own places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509

from omnibus import spelling, versions
from omnibus.drivers import Filesystem
from omnibus.model import Deployment
from omnibus.problems import Problem
from omnibus.tls_checks import UNREADABLE


def problems(d: Deployment) -> Iterator[Problem]:
    """Every contradiction in what is said of sites, nodes and registries."""
    yield from _roles(d)
    yield from _urls(d)
    yield from _beside_gitlab(d)
    yield from _one_each(d)
    yield from _names_of_several(d)
    yield from _external(d)
    yield from _databases(d)
    yield from _trusted(d)


def _roles(d: Deployment) -> Iterator[Problem]:
    for site_name, site in d.sites.items():
        at = f"sites.{site_name}.nodes"
        if not site.nodes_with("registry") and not site.external_registry:
            yield Problem(
                at,
                "no node has the role registry",
                "the site would have no registry to replicate",
                "roles: [rails, sidekiq, registry] on one node, or external_registry",
            )
        if not site.nodes_with("rails"):
            yield Problem(
                at,
                "no node has the role rails",
                "nobody would sign the registry's tokens or take its notifications",
                "list the site's web nodes too, with roles: [rails]",
            )
        for name, node in site.nodes.items():
            if node.has("registry") and not node.has("rails") and site.aws:
                yield Problem(
                    f"{at}.{name}.roles",
                    f"{node.roles} puts the registry of a created site on a server without Rails",
                    "what else GitLab would start on that server is not seen to here",
                    "[rails, registry], or a host that exists",
                )
            if len(set(node.roles)) != len(node.roles):
                yield Problem(f"{at}.{name}.roles", f"{node.roles} repeats a role", "one is meant", "[rails]")
            if node.registry_http_addr and not node.has("registry"):
                yield Problem(
                    f"{at}.{name}.registry_http_addr",
                    "given to a node without the role registry",
                    "nothing would listen there",
                    "remove it, or give the node the role",
                )


def _urls(d: Deployment) -> Iterator[Problem]:
    for name, site in d.sites.items():
        for key in ("external_url", "registry_url", "internal_url", "registry_internal_url"):
            url = getattr(site, key)
            try:
                parts = urlsplit(url or "https://none.given")
                bad = parts.port == 0 or not parts.hostname or not re.search(r"[A-Za-z0-9]", parts.hostname)
            except ValueError:
                bad = True
            if bad:
                yield Problem(
                    f"sites.{name}.{key}",
                    f"{url!r} has no usable host and port",
                    "omnibus would accept it and nothing would answer there",
                    f"https://registry.{name}.example.com",
                )


def _beside_gitlab(d: Deployment) -> Iterator[Problem]:
    """On nodes of its own a registry may have GitLab's name: what is before them tells requests apart."""
    for name, site in d.sites.items():
        one = spelling.server(site.registry_url) == spelling.server(site.external_url)
        if one and any(node.has("rails") and node.has("registry") for node in site.nodes.values()):
            yield Problem(
                f"sites.{name}.registry_url",
                f"{site.registry_url!r} is the site's GitLab too",
                "nginx on one node answers for one of them only",
                f"https://registry.{name}.example.com, or external_url with a port of its own: :5050",
            )


def _one_each(d: Deployment) -> Iterator[Problem]:
    """Sites may share the URLs that people use; each needs one of its own for the other sites."""
    yield from _behind_one_url(d)
    registries: dict[tuple[str, int | None], str] = {}
    gitlabs: dict[tuple[str, int | None], str] = {}
    for name, site in d.sites.items():
        url = site.own_registry_url
        registry, gitlab = spelling.server(url), spelling.server(site.own_url)
        if registry in registries:
            key = "registry_internal_url" if site.registry_internal_url else "registry_url"
            yield Problem(
                f"sites.{name}.{key}",
                f"{url!r} is the registry of {registries[registry]} too",
                "a secondary would replicate from itself and report success",
                f"https://registry.{name}.example.com, or a registry_internal_url for each site",
            )
        registries.setdefault(registry, name)
        if gitlab in gitlabs:
            key = "internal_url" if site.internal_url else "external_url"
            yield Problem(
                f"sites.{name}.{key}",
                f"{site.own_url!r} is the GitLab of {gitlabs[gitlab]} too",
                "the primary's notifications could come to a secondary, which refuses them",
                f"https://gitlab.{name}.example.com, or an internal_url for each site",
            )
        gitlabs.setdefault(gitlab, name)


def _behind_one_url(d: Deployment) -> Iterator[Problem]:
    """What others are to know a site by must not lead to one of them: they would come to themselves."""
    for name, site in d.sites.items():
        others = [other for n, other in d.sites.items() if n != name]
        for key, own, public, why in (
            (
                "registry_internal_url",
                site.own_registry_url,
                {spelling.server(other.registry_url): other.own_registry_url for other in others},
                "a secondary would replicate from itself and report success",
            ),
            (
                "internal_url",
                site.own_url,
                {spelling.server(other.external_url): other.own_url for other in others},
                "the primary's notifications could come to a secondary, which refuses them",
            ),
        ):
            there = public.get(spelling.server(own))
            # Where the other has no URL of its own either, that is told below.
            if there and spelling.server(there) != spelling.server(own):
                given = getattr(site, key)
                yield Problem(
                    f"sites.{name}.{key}",
                    f"{given!r} is what people reach other sites by" if given else "missing behind one URL",
                    why,
                    f"https://{'registry' if 'registry' in key else 'gitlab'}.{name}.example.com",
                )


def _names_of_several(d: Deployment) -> Iterator[Problem]:
    hosts = {
        name: {urlsplit(site.external_url).hostname, urlsplit(site.registry_url).hostname}
        for name, site in d.sites.items()
    }
    for name, aws in d.created.items():
        others = set().union(*(of for other, of in hosts.items() if other != name))
        for host in sorted(filter(None, hosts[name] & others)):
            if aws.hosted_zone:
                yield Problem(
                    f"sites.{name}.aws.hosted_zone",
                    f"given, and {host} is another site's name too",
                    "the record made here would lead everybody to this site",
                    "remove it, and make a record that leads to the nearest site yourself",
                )
            if d.sites[name].https and not aws.tls.certificate:
                yield Problem(
                    f"sites.{name}.aws.tls.certificate",
                    f"missing, and {host} is another site's name too",
                    "Let's Encrypt looks for a name at one address, which may be the other site's",
                    "a certificate of your own for all of the site's names",
                )


def _external(d: Deployment) -> Iterator[Problem]:
    for name, site in d.sites.items():
        external = site.external_registry
        if external is None:
            continue
        at = f"sites.{name}.external_registry"
        for node in site.nodes_with("registry"):
            yield Problem(
                f"sites.{name}.nodes.{node}.roles",
                "has registry in a site with an external_registry",
                "the site would have two registries, and GitLab knows one",
                "[rails, sidekiq]",
            )
        if site.aws:
            yield Problem(
                at,
                "given in a site whose hosts are created",
                "a created site's registry is on its own servers",
                "remove it, or give the site's hosts",
            )
        if isinstance(d.driver_of(name), Filesystem):
            yield Problem(
                f"sites.{name}.storage.filesystem",
                "is given to a site with an external_registry",
                "whose disk that would be is not looked at on hosts without GitLab",
                "keep, which leaves the registry's storage as it is",
            )
        if d.shared and name != d.primary and not external.hosts:
            yield Problem(
                f"{at}.hosts",
                "missing at a secondary of shared storage",
                "nothing here could see to it that its registry only reads, and Geo's worker could delete "
                "the primary's images",
                "the registry's hosts, or storage.mode: per_site",
            )


def _databases(d: Deployment) -> Iterator[Problem]:
    some = [name for name, site in d.sites.items() if site.metadata_database]
    places: dict[tuple[str, int, str, str], str] = {}
    for name, site in d.sites.items():
        at, database = f"sites.{name}.metadata_database", site.metadata_database
        if database is None:
            if some and not d.shared:
                yield Problem(
                    at,
                    f"missing, and {some[0]} has one",
                    "all sites must keep their metadata alike, else a promotion loses tags",
                    "a database for each site, or for none",
                )
            continue
        if d.shared:
            yield Problem(
                at,
                "is given with storage.mode shared",
                "lock files of the first site's database lie in the bucket, and the others' registries do "
                "not start (ErrDatabaseInUse)",
                "storage.mode: per_site, or no metadata_database",
            )
        if site.external_registry:
            yield Problem(
                at,
                "is given beside external_registry",
                "the database of a registry that is not omnibus' is set in its own config.yml",
                "remove it",
            )
        host = spelling.host(database.host)
        at_home = name if host in ("localhost", "127.0.0.1", "::1") else ""
        place = (host, database.port, database.name, at_home)
        if place in places:
            yield Problem(
                f"{at}.name",
                f"{database.name!r} on {database.host} is the database of {places[place]} too",
                "each registry would hide the other's images",
                f"registry_{name.replace('-', '_')}",
            )
        places.setdefault(place, name)
        row = versions.METADATA_DATABASE
        if not row.allows(versions.parse(d.gitlab_version)):
            yield Problem(
                at, f"is not known to GitLab {d.gitlab_version}", f"it has it {row.range}", row.way_out
            )


def _trusted(d: Deployment) -> Iterator[Problem]:
    if not d.trusted_certificates:
        return
    try:
        found = x509.load_pem_x509_certificates(d.trusted_certificates.encode())
    except UNREADABLE:
        found = []
    private = "PRIVATE KEY" in d.trusted_certificates
    if private or not found:
        yield Problem(
            "trusted_certificates",
            "[secret] holds a private key" if private else "holds no certificate in PEM form",
            "it would be readable on every node" if private else "GitLab's reconfigure would pass over it",
            "-----BEGIN CERTIFICATE----- … -----END CERTIFICATE-----",
        )
