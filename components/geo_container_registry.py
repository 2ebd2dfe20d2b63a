"""The container registry of all sites of a GitLab Geo deployment: the one component that a program uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.aws_database import AwsDatabase, AwsDatabaseArgs
from components.aws_lookups import AwsLookups, AwsProviders
from components.aws_network import AwsNetwork, AwsNetworkArgs
from components.aws_site import AwsSite, AwsSiteArgs
from components.exclusive_permissions import (
    ExclusiveInstances,
    ExclusiveInstancesArgs,
    ExclusiveUser,
    ExclusiveUserArgs,
)
from components.existing_storage import ExistingStorage, ExistingStorageArgs
from components.host_session import Secrets
from components.key_pair import KeyInUse
from components.lock_file import LockFile, LockFileArgs
from components.login_keys import LoginKeys
from components.node import HostArgs
from components.registry_secrets import RegistrySecrets, RegistrySecretsArgs
from components.registry_storage import RegistryStorage, RegistryStorageArgs
from components.registry_trust import RegistryTrust, RegistryTrustArgs
from components.session_hooks import SessionHooks
from components.site import PrimarySite, SecondarySite, Site, SiteArgs
from components.ssh_target import SshTarget, existing_host
from components.verification import Verification, VerificationArgs
from plan.aws import AwsSitePlan
from plan.database import HOST, PASSWORD
from plan.next_steps import Place, Step, next_steps
from plan.resolve import DeploymentPlan

Proof = dict[str, dict[str, str]]


@dataclass(frozen=True)
class GeoContainerRegistryArgs:
    """`plan`: the resolved configuration, from plan.resolve."""

    plan: DeploymentPlan


class GeoContainerRegistry(pulumi.ComponentResource):
    """Everything, in order: hosts, secrets, storage, the settings of all nodes at once, their verification.

    `sites`: site → its overview; `proof`: site → node → check → result; `next_steps`: the manual steps after
    hosts were created; `registry_config`: site → the lines for a registry that you configure manually;
    `login_key`: the key generated for created hosts, if none was provided.
    """

    sites: dict[str, dict[str, Any]]
    proof: dict[str, pulumi.Output[Proof]]
    next_steps: pulumi.Output[list[Step]]
    registry_config: dict[str, pulumi.Output[dict[str, str]]]
    login_key: pulumi.Output[str] | None

    def __init__(
        self, name: str, args: GeoContainerRegistryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gitlabgeo:index:GeoContainerRegistry", name, {}, opts)
        self._prefix, self._plan = name, args.plan
        self._child = pulumi.ResourceOptions(parent=self)
        self._node_names = {node: f"{name}-{node}" for node in args.plan.hosts}
        self._aws = AwsProviders(name, self)
        self._created: dict[str, AwsSite] = {}
        self._login_keys = LoginKeys(name, protect=args.plan.protect, parent=self)
        targets = self._targets()
        self.login_key = self._login_keys.generated

        in_use = self._key_in_use()
        secrets = RegistrySecrets(name, RegistrySecretsArgs(args.plan.secrets, targets, in_use), self._child)
        storage = self._storage()
        # Sites that keep their storage must not share it: checked before any node is changed.
        storage_checked: pulumi.Input[bool] = True
        if args.plan.existing_storage:
            existing = ExistingStorageArgs(args.plan.existing_storage, targets)
            storage_checked = ExistingStorage(name, existing, self._child).distinct
        # The lock file that read-only registries cannot write must exist before any node is changed.
        locks = self._lock_file(secrets, storage, targets)
        of_site = {
            site: {**secrets.of(site), **storage.secrets_of(site), **self._database_of(site)}
            for site in args.plan.sites
        }
        trusted = self._trusted(targets, of_site)
        hosts = {
            host: HostArgs(
                plan,
                targets[host],
                of_site[plan.site],
                storage_checked,
                [*storage.ready(plan.site), *self._database_ready(plan.site), *locks, *trusted],
            )
            for host, plan in args.plan.hosts.items()
        }
        sites = self._sites(hosts, of_site)
        self._record_key(secrets, sites)
        verified = self._verified(sites, hosts)
        self._exclusive(sites, storage)

        self.sites = {site: component.overview for site, component in sites.items()}
        self.proof = {site: _proof(sites[site], verified[site]) for site in sites}
        self.registry_config = {
            site: lines
            for site, site_component in sites.items()
            if (lines := site_component.manual_registry) is not None
        }
        self.next_steps = self._next_steps(targets)
        self.register_outputs({"sites": self.sites, "proof": self.proof})

    def _targets(self) -> dict[str, SshTarget]:
        """Every host, existing or created."""
        hooks = SessionHooks(self._prefix)
        targets = {
            host: existing_host(plan, hooks) for host, plan in self._plan.hosts.items() if not plan.created
        }
        created = [site.aws for site in self._plan.sites.values() if site.aws]
        if created:
            lookups = AwsLookups(self._plan.gitlab_version, created, self._aws, self._node_names)
            networks = {site.site: self._network(site) for site in created}
            addresses = {
                node: address for network in networks.values() for node, address in network.addresses.items()
            }
            for site in created:
                private, public = self._login_keys.of(site.login)
                component = self._created[site.site] = AwsSite(
                    f"{self._prefix}-{site.site}",
                    AwsSiteArgs(
                        site,
                        networks[site.site],
                        addresses,
                        lookups.images,
                        self._node_names,
                        lookups.zones.get(site.site),
                        public,
                        self._database(site, networks[site.site], lookups),
                    ),
                    self._on_aws(site),
                )
                for node, instance in component.instances.items():
                    targets[node] = SshTarget(
                        self._plan.hosts[node],
                        instance.address,
                        instance.host_key,
                        private,
                        hooks,
                        instance.instance,
                        [*instance.ready, *component.names],
                    )
        return targets

    def _network(self, site: AwsSitePlan) -> AwsNetwork:
        args = AwsNetworkArgs(site.network, self._node_names)
        return AwsNetwork(f"{self._prefix}-{site.site}", args, self._on_aws(site))

    def _database(self, site: AwsSitePlan, network: AwsNetwork, lookups: AwsLookups) -> AwsDatabase | None:
        if site.database is None:
            return None
        args = AwsDatabaseArgs(site.database, network.vpc_id, lookups.database_zones.get(site.site, ()))
        return AwsDatabase(f"{self._prefix}-{site.site}", args, self._on_aws(site))

    def _created_database(self, site: str) -> AwsDatabase | None:
        return self._created[site].database if site in self._created else None

    def _database_of(self, site: str) -> dict[str, pulumi.Input[Any]]:
        """Address and password of the site's created metadata database, by the names in plan/database.py."""
        created = self._created_database(site)
        return {HOST.name: created.host, PASSWORD.name: created.password} if created else {}

    def _database_ready(self, site: str) -> list[pulumi.Resource]:
        created = self._created_database(site)
        return created.ready if created else []

    def _on_aws(self, site: AwsSitePlan) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, providers=[self._aws.of_site(site)])

    def _storage(self) -> RegistryStorage:
        sites = {site: plan.storage for site, plan in self._plan.sites.items()}
        args = RegistryStorageArgs(self._plan.buckets, sites, self._aws.of_storage)
        return RegistryStorage(self._prefix, args, self._child)

    def _lock_file(
        self, secrets: RegistrySecrets, storage: RegistryStorage, targets: Mapping[str, SshTarget]
    ) -> list[pulumi.Resource]:
        plan, primary = self._plan.lock_file, self._plan.primary
        if plan is None:
            return []
        after = [secrets, *storage.ready(primary)]
        args = LockFileArgs(plan, targets[plan.node], storage.secrets_of(primary), after)
        return [LockFile(f"{self._prefix}-lock-file", args, self._child)]

    def _key_in_use(self) -> pulumi.Input[str]:
        """The fingerprint of the key pair that all nodes have; needed to remove former certificates."""
        rotation = self._plan.secrets.key_rotation
        if not rotation.number or rotation.overlapping:
            return ""
        return KeyInUse(f"{self._prefix}-key-in-use", "", self._child).fingerprint

    def _record_key(self, secrets: RegistrySecrets, sites: Mapping[str, Site]) -> None:
        """Once all nodes have the new key pair."""
        if self._plan.secrets.key_rotation.overlapping:
            hosts = [host for site in sites.values() for host in site.hosts.values()]
            after = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=hosts))
            KeyInUse(f"{self._prefix}-key-in-use", secrets.fingerprint, after)

    def _trusted(
        self, targets: Mapping[str, SshTarget], of_site: Mapping[str, Secrets]
    ) -> list[pulumi.Resource]:
        """Every registry trusts the new certificate, before any node signs with the new key."""
        plan = self._plan.secrets.key_rotation
        if not plan.overlapping:
            return []
        registries = {
            self._node_names[host]: (targets[host], of_site[host_plan.site])
            for host, host_plan in self._plan.hosts.items()
            if host_plan.trust is not None
        }
        args = RegistryTrustArgs(plan.number, registries)
        return [RegistryTrust(f"{self._prefix}-trust", args, self._child)]

    def _sites(self, hosts: Mapping[str, HostArgs], of_site: Mapping[str, Secrets]) -> dict[str, Site]:
        """The settings of every node, applied in parallel."""
        sites: dict[str, Site] = {}
        for site, plan in self._plan.sites.items():
            kind = PrimarySite if plan.role == "primary" else SecondarySite
            database = self._created_database(site)
            more = {"metadata_final_snapshot": database.final_snapshot} if database else {}
            args = SiteArgs(plan, self._named(hosts, plan.hosts), of_site[site], more)
            sites[site] = kind(f"{self._prefix}-{site}", args, self._child)
        return sites

    def _named(self, hosts: Mapping[str, HostArgs], some: Mapping[str, Any]) -> dict[str, HostArgs]:
        return {self._node_names[host]: hosts[host] for host in some}

    def _verified(self, sites: Mapping[str, Site], hosts: Mapping[str, HostArgs]) -> dict[str, Verification]:
        """What nodes answer to each other: those of the same site, and those of the primary."""
        primary = sites[self._plan.primary].hosts
        return {
            site: Verification(
                f"{self._prefix}-{site}",
                VerificationArgs(self._named(hosts, plan.hosts), {**primary, **sites[site].hosts}),
                self._child,
            )
            for site, plan in self._plan.sites.items()
        }

    def _exclusive(self, sites: Mapping[str, Site], storage: RegistryStorage) -> None:
        """Last: from then on, a refresh detects other firewall rules and permissions."""
        for site, plan in self._plan.sites.items():
            name = f"{self._prefix}-{site}"
            if plan.aws:
                instances = ExclusiveInstancesArgs(site, self._created[site], sites[site])
                ExclusiveInstances(name, instances, self._on_aws(plan.aws))
            if (access := storage.access.get(site)) and plan.storage.region:
                provider = self._aws.of_storage(plan.storage.region)
                on_aws = pulumi.ResourceOptions(parent=self, providers=[provider])
                ExclusiveUser(name, ExclusiveUserArgs(site, access, sites[site]), on_aws)

    def _next_steps(self, targets: Mapping[str, SshTarget]) -> pulumi.Output[list[Step]]:
        """Empty if every host existed: Geo is already set up there."""
        plan = self._plan.next_steps
        if not plan.created:
            return pulumi.Output.from_input([])
        places = {}
        for site in plan.sites.values():
            for node in site.nodes:
                target = targets[node]
                private = target.instance.private_ip if target.instance else target.host
                places[node] = pulumi.Output.all(target.host, private, target.plan.ssh.user, target.host_key)
        generated = self.login_key is not None
        return pulumi.Output.all(**places).apply(
            lambda known: next_steps(
                plan, {node: Place(*place) for node, place in known.items()}, key_made=generated
            )
        )


def _proof(site: Site, verified: Verification) -> pulumi.Output[Proof]:
    """node → check → result, of apply and of verification."""
    alone = pulumi.Output.all(**{name: host.proof for name, host in site.hosts.items()})
    return pulumi.Output.all(alone, verified.proof).apply(
        lambda both: {name: checks | both[1].get(name, {}) for name, checks in both[0].items()}
    )
