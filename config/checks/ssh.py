"""The private keys for SSH: one of two, and one that can log in."""

from __future__ import annotations

from collections.abc import Iterator

from config.errors import ConfigError, field_help
from config.model import Deployment, Ssh
from config.ssh import key_problem


def errors(d: Deployment) -> Iterator[ConfigError]:
    """Every contradiction in the SSH settings of the stack, its sites, nodes and hosts."""
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
