"""What single values cannot show: contradictions between the parts of a configuration.

Each check yields a `ConfigError` for each contradiction; all are reported together, and nothing is touched.
"""

from __future__ import annotations

from collections.abc import Iterator

from config import normalize
from config.checks import databases, hosts, sites, storage, templates
from config.errors import ConfigError, field_help
from config.model import Deployment, Ssh
from config.ssh import key_problem
from omnibus import versions


def errors(d: Deployment) -> list[ConfigError]:
    """Every contradiction in a configuration whose single values are valid."""
    checks = (
        _primary, _version, _names, sites.errors, templates.errors, _ssh,
        databases.errors, storage.errors, hosts.errors,
    )  # fmt: skip
    return [error for check in checks for error in check(d)]


def _version(d: Deployment) -> Iterator[ConfigError]:
    if versions.parse(d.gitlab_version) < versions.OLDEST:
        yield ConfigError(
            "gitlab-version-too-old",
            "gitlab_version",
            f"{d.gitlab_version!r} is older than 16.0",
            expectation="GitLab 16.0 or later",
            consequence="settings have other names in older versions, and Geo replicates registries "
            "differently",
            example='"18.5"',
        )


def _primary(d: Deployment) -> Iterator[ConfigError]:
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


def _names(d: Deployment) -> Iterator[ConfigError]:
    names: dict[str, str] = {}
    addresses: dict[tuple[str, int], str] = {}
    for site_name, site in d.sites.items():
        hosts = [(f"sites.{site_name}.nodes.{name}", name, node.host) for name, node in site.nodes.items()]
        hosts += [
            (f"sites.{site_name}.external_registry.hosts.{name}", name, host.host)
            for name, host in site.external_hosts.items()
        ]
        for key, name, host in hosts:
            if name in names:
                yield ConfigError(
                    "node-name-not-unique",
                    key,
                    f"{names[name]} also has a node named {name!r}",
                    expectation="a name that is unique in the stack",
                    consequence="both nodes would be one resource of the stack, and only one would be "
                    "configured",
                    example=f"{site_name}-{len(hosts) + 1}",
                )
            names.setdefault(name, f"sites.{site_name}")
            address = (normalize.host(host or ""), d.ssh_of(site_name, name).port)
            if host and address in addresses:
                yield ConfigError(
                    "ssh-address-not-unique",
                    f"{key}.host",
                    f"{host!r} port {address[1]} is also the address of {addresses[address]}",
                    expectation="an address for each node",
                    consequence="the settings of two nodes would overwrite each other on one host",
                    example="10.10.0.12",
                )
            addresses.setdefault(address, name)


def _ssh(d: Deployment) -> Iterator[ConfigError]:
    settings: list[tuple[str, Ssh | None]] = [("ssh", d.ssh)]
    for name, site in d.sites.items():
        site_key = f"sites.{name}"
        settings.append((f"{site_key}.ssh", site.ssh))
        settings += [(f"{site_key}.nodes.{n}.ssh", node.ssh) for n, node in site.nodes.items()]
        settings += [
            (f"{site_key}.external_registry.hosts.{n}.ssh", h.ssh) for n, h in site.external_hosts.items()
        ]
    for key, ssh in settings:
        if ssh is None:
            continue
        if ssh.private_key and ssh.private_key_file:
            yield ConfigError(
                "ssh-keys-exclusive",
                f"{key}.private_key_file",
                "provided together with private_key",
                expectation="private_key or private_key_file, not both",
                consequence="the program could not tell which key to log in with",
                example="remove one of them",
            )
        problem = key_problem(ssh.private_key.get_secret_value()) if ssh.private_key else None
        if problem:
            yield ConfigError(
                "ssh-key-unusable",
                f"{key}.private_key",
                f"[secret] {problem}",
                expectation=field_help(Ssh, "private_key").expectation,
                consequence="the SSH login would fail",
                example=f"pulumi config set --secret --path {key}.private_key < ~/.ssh/id_ed25519",
            )
