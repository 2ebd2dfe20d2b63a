"""What single values cannot show: contradictions between the parts of a configuration.

Each check yields `Problem`s; they are told all at once, before anything is touched.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import urlsplit

from omnibus import machine_checks, versions
from omnibus.model import S3, Deployment, Ssh
from omnibus.problems import Problem


def problems(d: Deployment) -> list[Problem]:
    """Every contradiction in a configuration whose single values are right."""
    checks = (_version, _primary, _names, _roles, _urls, _storage, _writers, _access, _ssh)
    return [p for check in (*checks, machine_checks.problems) for p in check(d)]


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


def _storage(d: Deployment) -> Iterator[Problem]:
    if d.shared and d.storage.s3 is None:
        yield Problem(
            "storage.s3",
            "missing",
            "mode shared puts all registries on one bucket, and none is named",
            "{bucket: acme-gitlab-registry, region: eu-west-1}",
        )
    if not d.shared and d.storage.s3 is not None:
        yield Problem(
            "storage.s3",
            f"{d.storage.s3.bucket!r} is given with mode per_site",
            "one bucket for all sites would make them share it",
            "sites.london.storage: {bucket: acme-registry-london, region: eu-west-1}",
        )
    used: dict[str, S3] = {}
    for name, site in d.sites.items():
        if d.shared and site.storage is not None:
            yield Problem(
                f"sites.{name}.storage",
                "is given with storage.mode shared",
                "shared storage is one for all sites; this one would be ignored",
                "storage.mode: per_site",
            )
        if not d.shared and site.storage is None:
            yield Problem(
                f"sites.{name}.storage",
                "missing",
                "with mode per_site each site says where its images are",
                "keep, or {bucket: acme-registry-" + name + ", region: eu-west-1}",
            )
        own = d.storage_of(name)
        if own is None or d.shared:
            continue
        for other, theirs in used.items():
            if own.same_place(theirs):
                yield Problem(
                    f"sites.{name}.storage.bucket",
                    f"{own.bucket!r} is the storage of {other} too",
                    "Geo's worker would delete live images there: one bucket under two sites is mode shared",
                    f"acme-registry-{name}, or storage.mode: shared",
                )
        used[name] = own


def _writers(d: Deployment) -> Iterator[Problem]:
    for name, site in d.secondaries.items():
        if d.shared and site.read_only is False:
            yield Problem(
                f"sites.{name}.read_only",
                "false on a secondary of shared storage",
                "Geo's worker deletes the tags that the primary lacks; with one bucket under both registries "
                "these are the primary's live images",
                "true, or storage.mode: per_site",
            )
        if not d.shared and site.read_only and d.replication:
            yield Problem(
                f"sites.{name}.read_only",
                "true on a secondary that copies images",
                "its registry would refuse every copy",
                "false, or replication: false",
            )
        if not d.shared and site.read_only and not d.replication and site.storage == "keep":
            yield Problem(
                f"sites.{name}.read_only",
                "true where the storage is kept",
                "kept storage is left to its gitlab.rb, so nothing would make it read-only",
                "remove it, or name the site's bucket",
            )
    if d.primary in d.sites and d.sites[d.primary].read_only:
        yield Problem(
            f"sites.{d.primary}.read_only",
            "true on the primary",
            "nobody could push an image any more",
            "false",
        )


def _access(d: Deployment) -> Iterator[Problem]:
    holders: dict[str, list[str]] = defaultdict(list)
    for name, site in d.sites.items():
        s3 = d.storage_of(name)
        if site.s3_keys:
            holders[site.s3_keys.access_key].append(name)
            if s3 is None:
                yield Problem(
                    f"sites.{name}.s3_keys",
                    "given for a site whose storage is kept as it is",
                    "they would be used nowhere",
                    "remove them, or name the bucket",
                )
        if s3 and s3.endpoint and not site.s3_keys:
            yield Problem(
                f"sites.{name}.s3_keys",
                "missing",
                f"{s3.endpoint} is not AWS: no user can be made there for the site",
                "{access_key: …, secret_key: …}",
            )
        if s3 and s3.endpoint and s3.create:
            where = "storage.s3" if d.shared else f"sites.{name}.storage"
            yield Problem(
                f"{where}.create", "true with an endpoint", "buckets are only made on AWS", "create: false"
            )
    if d.shared:
        for names in holders.values():
            if d.primary in names and len(names) > 1:
                other = next(n for n in names if n != d.primary)
                yield Problem(
                    f"sites.{other}.s3_keys.access_key",
                    f"the same as the primary's ({d.primary})",
                    "the secondary could write there, and Geo's worker delete the primary's live images",
                    "a key that may only read",
                )


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
