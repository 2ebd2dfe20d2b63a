"""What single values cannot show: contradictions between the parts of a configuration.

Each check yields `Problem`s; they are told all at once, before anything is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from omnibus import machine_checks, storage_checks, versions
from omnibus.model import Deployment, Ssh
from omnibus.problems import Problem


def problems(d: Deployment) -> list[Problem]:
    """Every contradiction in a configuration whose single values are right."""
    checks = (_version, _primary, _names, _roles, _urls, _ssh)
    return [p for check in (*checks, storage_checks.problems, machine_checks.problems) for p in check(d)]


def _version(d: Deployment) -> Iterator[Problem]:
    if versions.parse(d.gitlab_version) < versions.OLDEST:
        yield Problem(
            "gitlab_version",
            f"{d.gitlab_version!r} is older than 16.0",
            "its settings' names are not known here, and Geo's registry replication differs",
            '"18.5"',
        )


def _primary(d: Deployment) -> Iterator[Problem]:
    if d.primary not in d.sites:
        yield Problem(
            "primary",
            f"{d.primary!r} is no site of this stack",
            "every site would be a secondary of nothing",
            f"one of: {', '.join(d.sites) or '(there are no sites)'}",
        )


def _names(d: Deployment) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    places: dict[tuple[str, int], str] = {}
    for site_name, site in d.sites.items():
        for name, node in site.nodes.items():
            key = f"sites.{site_name}.nodes.{name}"
            if name in seen:
                yield Problem(
                    key,
                    f"a node named {name!r} stands in {seen[name]} too",
                    "the two would be one resource of the stack, and only one would be configured",
                    f"{site_name}-{len(site.nodes) + 1}",
                )
            seen.setdefault(name, f"sites.{site_name}")
            place = (node.host or "", d.ssh_of(site_name, name).port or 22)
            if node.host and place in places:
                yield Problem(
                    f"{key}.host",
                    f"{node.host!r} port {place[1]} is {places[place]} already",
                    "two sets of settings would overwrite each other on one server",
                    "an address of its own",
                )
            places.setdefault(place, name)


def _roles(d: Deployment) -> Iterator[Problem]:
    for site_name, site in d.sites.items():
        if not site.nodes_with("registry"):
            yield Problem(
                f"sites.{site_name}.nodes",
                "no node has the role registry",
                "the site would have no registry to replicate",
                "roles: [rails, sidekiq, registry] on one node",
            )
        for name, node in site.nodes.items():
            if node.has("registry") and not node.has("rails"):
                yield Problem(
                    f"sites.{site_name}.nodes.{name}.roles",
                    f"{node.roles} puts the registry on a node without Rails",
                    "this version configures a registry only beside Rails",
                    "[rails, registry]",
                )
            if len(set(node.roles)) != len(node.roles):
                yield Problem(
                    f"sites.{site_name}.nodes.{name}.roles",
                    f"{node.roles} repeats a role",
                    "one is meant",
                    "[rails]",
                )


def _urls(d: Deployment) -> Iterator[Problem]:
    of: dict[str, str] = {}
    for name, site in d.sites.items():
        for key in ("external_url", "registry_url"):
            try:
                parts = urlsplit(getattr(site, key))
                bad = parts.port == 0 or not parts.hostname or not re.search(r"[A-Za-z0-9]", parts.hostname)
            except ValueError:
                bad = True
            if bad:
                yield Problem(
                    f"sites.{name}.{key}",
                    f"{getattr(site, key)!r} has no usable host and port",
                    "omnibus would accept it and nothing would answer there",
                    f"https://registry.{name}.example.com",
                )
        url = site.registry_url.rstrip("/")
        if url in of:
            yield Problem(
                f"sites.{name}.registry_url",
                f"{url!r} is the registry of {of[url]} too",
                "a secondary would replicate from itself and report success",
                f"https://registry.{name}.example.com",
            )
        of.setdefault(url, name)


def _ssh(d: Deployment) -> Iterator[Problem]:
    given: list[tuple[str, Ssh]] = [("ssh", d.ssh)]
    for name, site in d.sites.items():
        given += [(f"sites.{name}.ssh", site.ssh)] if site.ssh else []
        given += [(f"sites.{name}.nodes.{n}.ssh", node.ssh) for n, node in site.nodes.items() if node.ssh]
    for key, ssh in given:
        if ssh.private_key and ssh.private_key_file:
            yield Problem(
                f"{key}.private_key_file",
                "given beside private_key",
                "only one of them can be used",
                "remove one",
            )
