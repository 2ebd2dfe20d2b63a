"""Every node's server: one that exists, as the configuration gives it, or one that this stack creates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from components.accounts import Account, Providers
from components.created_site import CreatedSite
from components.explanations import Explanations
from components.generated import GeneratedSshKey, public_key
from components.network import SiteNetwork
from omnibus.model import Deployment, Node
from omnibus.registries import ExternalHost
from omnibus.ssh import Ssh, key_problem


@dataclass(frozen=True)
class Reach:
    """How a server is reached, and what must be there before it can be; `instance` where it is created."""

    host: pulumi.Input[str]
    host_key: pulumi.Input[str]
    private_key: pulumi.Input[str] | None
    explanations: Explanations
    instance: aws.ec2.Instance | None = None
    ready: Sequence[pulumi.Resource] = ()
    unread: bool = False
    """Whether a preview does without the key's file, which is not where it runs."""


class Hosts(pulumi.ComponentResource):
    """`of(name)`: how a node, or a host of an external registry, is reached; `created`: site → its servers.

    `login_key`: the key made for the servers, where none was given.
    """

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        providers: Providers,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("gitlabgeo:index:Hosts", name, {}, opts)
        self._reach: dict[str, Reach] = {}
        self.created: dict[str, CreatedSite] = {}
        self._explanations = Explanations(f"{name}-sessions", deployment)
        self.login_key: pulumi.Output[str] | None = None
        self._protected = deployment.protected
        for site in deployment.sites:
            if site not in deployment.created:
                self._given(deployment, site)
        if deployment.created:
            self._create(deployment, providers)
        self.register_outputs({})

    def of(self, node: str) -> Reach:
        return self._reach[node]

    def _given(self, deployment: Deployment, site: str) -> None:
        of = deployment.sites[site]
        servers: dict[str, Node | ExternalHost] = {**of.nodes, **of.external_hosts}
        for name, host in servers.items():
            ssh = deployment.ssh_of(site, name)
            unread = pulumi.runtime.is_dry_run() and _unreadable(ssh) is not None
            key = None if unread else private_key(ssh)
            secret = None if key is None else pulumi.Output.secret(key)
            self._reach[name] = Reach(
                host.host or "", host.host_key or "", secret, self._explanations, unread=unread
            )

    def _create(self, deployment: Deployment, providers: Providers) -> None:
        account = Account(deployment, providers)
        here = {
            site: pulumi.ResourceOptions(parent=self, providers=[providers.of_site(site)])
            for site in deployment.created
        }
        networks = {
            site: SiteNetwork(site, of, list(deployment.sites[site].nodes), here[site])
            for site, of in deployment.created.items()
        }
        for site in deployment.created:
            node = next(iter(deployment.sites[site].nodes))
            private, public = self._login(deployment.ssh_of(site, node))
            made = self.created[site] = CreatedSite(
                site, deployment, networks=networks, account=account, public_key=public, opts=here[site]
            )
            for name, host in made.hosts.items():
                ready = [*host.ready, *made.names]
                self._reach[name] = Reach(
                    host.address, host.host_key, private, self._explanations, host.instance, ready
                )

    def _login(self, ssh: Ssh) -> tuple[pulumi.Output[str], pulumi.Input[str]]:
        """The key pair that a site's servers are logged into with: the given one, or one for the stack."""
        given = private_key(ssh)
        if given:
            try:
                return pulumi.Output.secret(given), public_key(given)
            except ValueError:
                raise pulumi.RunError(
                    "ssh.private_key or ssh.private_key_file: [secret] is no key for a server to be created "
                    "with; nobody could log in.\n"
                    "Give an ed25519 or RSA private key without passphrase, or leave it out to have one made."
                ) from None
        if self.login_key is None:
            kept = pulumi.ResourceOptions(parent=self, protect=self._protected)
            self._made = GeneratedSshKey("login-key", kept)
            self.login_key = self._made.private_key
        return self.login_key, self._made.public_key


def private_key(ssh: Ssh) -> str | None:
    """The private key that is given; None leaves it to the SSH agent."""
    if ssh.private_key:
        return ssh.private_key.get_secret_value()
    if not ssh.private_key_file:
        return None
    why = _unreadable(ssh)
    if why:
        raise pulumi.RunError(
            f"ssh.private_key_file: {ssh.private_key_file} cannot be read ({why}); "
            "no node could be reached. Name a file that exists, or leave it out to use the SSH agent."
        )
    text = Path(ssh.private_key_file).expanduser().read_text(encoding="utf-8")
    wrong = key_problem(text)
    if wrong:
        raise pulumi.RunError(
            f"ssh.private_key_file: {ssh.private_key_file} {wrong}; no node could be reached. "
            "Name a private key without passphrase, or leave it out to use the SSH agent."
        )
    return text


def _unreadable(ssh: Ssh) -> str | None:
    """Why the private key's file cannot be read; None where it can, or none is asked for."""
    if ssh.private_key or not ssh.private_key_file:
        return None
    try:
        Path(ssh.private_key_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return str(error.strerror) if isinstance(error, OSError) else "it is no text"
    return None
