"""What single values cannot show: contradictions between the parts of a configuration.

Each check yields `Problem`s; they are told all at once, before anything is touched.
"""

from __future__ import annotations

from collections.abc import Iterator

from omnibus import machine_checks, spelling, storage_checks, template_checks, topology_checks, versions
from omnibus.model import Deployment, Ssh
from omnibus.problems import Problem
from omnibus.ssh import key_problem
from omnibus.together import groups, untouched


def problems(d: Deployment) -> list[Problem]:
    """Every contradiction in a configuration whose single values are right."""
    checks = (_version, _names, topology_checks.problems, template_checks.problems, _ssh)
    found = [p for check in (*checks, storage_checks.problems, machine_checks.problems) for p in check(d)]
    wrong = [*_primary(d)]
    # Where nobody is the primary, all sites would be told what secondaries may not.
    return wrong + untouched(found, {*groups(["primary"])} if wrong else set())


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
        hosts = site.external_registry.hosts if site.external_registry else {}
        servers = [(f"sites.{site_name}.nodes.{name}", name, node.host) for name, node in site.nodes.items()]
        servers += [
            (f"sites.{site_name}.external_registry.hosts.{name}", name, its.host)
            for name, its in hosts.items()
        ]
        for key, name, host in servers:
            if name in seen:
                yield Problem(
                    key,
                    f"a node named {name!r} stands in {seen[name]} too",
                    "the two would be one resource of the stack, and only one would be configured",
                    f"{site_name}-{len(servers) + 1}",
                )
            seen.setdefault(name, f"sites.{site_name}")
            place = (spelling.host(host or ""), d.ssh_of(site_name, name).port or 22)
            if host and place in places:
                yield Problem(
                    f"{key}.host",
                    f"{host!r} port {place[1]} is {places[place]} already",
                    "two sets of settings would overwrite each other on one server",
                    "an address of its own",
                )
            places.setdefault(place, name)


def _ssh(d: Deployment) -> Iterator[Problem]:
    given: list[tuple[str, Ssh]] = [("ssh", d.ssh)]
    for name, site in d.sites.items():
        given += [(f"sites.{name}.ssh", site.ssh)] if site.ssh else []
        given += [(f"sites.{name}.nodes.{n}.ssh", node.ssh) for n, node in site.nodes.items() if node.ssh]
        hosts = site.external_registry.hosts if site.external_registry else {}
        given += [
            (f"sites.{name}.external_registry.hosts.{n}.ssh", host.ssh)
            for n, host in hosts.items()
            if host.ssh
        ]
    for key, ssh in given:
        if ssh.private_key and ssh.private_key_file:
            yield Problem(
                f"{key}.private_key_file",
                "given beside private_key",
                "only one of them can be used",
                "remove one",
            )
        why = key_problem(ssh.private_key.get_secret_value()) if ssh.private_key else None
        if why:
            yield Problem(
                f"{key}.private_key",
                f"[secret] {why}",
                "the SSH login would fail",
                f"pulumi config set --secret --path {key}.private_key < ~/.ssh/id_ed25519",
            )
