"""The hosts of a site that this stack creates: their rights, their names, their keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws

from components.accounts import Account
from components.firewall import SiteFirewall
from components.host import Host, Place
from components.network import SiteNetwork
from omnibus import storage
from omnibus.model import Deployment

_ASSUMED_BY_SERVERS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


class CreatedSite(pulumi.ComponentResource):
    """`hosts`: node → its server; `firewall`; `role` and `rights` of the servers, where they need them.

    All created sites' networks are given: firewalls name their peers.
    """

    def __init__(
        self,
        site: str,
        deployment: Deployment,
        *,
        networks: Mapping[str, SiteNetwork],
        account: Account,
        public_key: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        of = deployment.created[site]
        super().__init__("gitlabgeo:index:CreatedSite", f"{site}-hosts", {"region": of.region}, opts)
        here = pulumi.ResourceOptions(parent=self)
        self.firewall = SiteFirewall(site, deployment, networks, here)
        self.role: aws.iam.Role | None = None
        self.rights: aws.iam.RolePolicy | None = None
        login = aws.ec2.KeyPair(f"{site}-login", public_key=public_key, opts=here)
        profile = self._profile(site, deployment, here)
        place = Place(site, of, networks[site], self.firewall, login.key_name, profile)
        self.hosts: dict[str, Host] = {}
        for name, node in deployment.sites[site].nodes.items():
            image = node.aws.ami or of.ami or account.image(site, of.instance_type_of(node.aws))
            self.hosts[name] = Host(name, node, place, image, here)
        self.names = self._names(site, deployment, networks[site], account.zone(site), here)
        self.register_outputs({})

    def _profile(
        self, site: str, deployment: Deployment, here: pulumi.ResourceOptions
    ) -> pulumi.Input[str] | None:
        """The servers' own right to the registry's bucket: no key that could be copied."""
        s3 = deployment.storage_of(site)
        if s3 is None or not deployment.instance_profile(site):
            return None
        self.role = role = aws.iam.Role(
            f"{site}-servers", assume_role_policy=json.dumps(_ASSUMED_BY_SERVERS), opts=here
        )
        write = not deployment.read_only(site)
        self.rights = rights = aws.iam.RolePolicy(
            f"{site}-servers-rights-{storage.rights_name(s3)}",
            role=role.name,
            policy=json.dumps(storage.rights(s3, write=write)),
            opts=here,
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[rights])
        return aws.iam.InstanceProfile(f"{site}-servers-profile", role=role.name, opts=after).name

    def _names(
        self,
        site: str,
        deployment: Deployment,
        network: SiteNetwork,
        zone: pulumi.Input[str] | None,
        here: pulumi.ResourceOptions,
    ) -> list[pulumi.Resource]:
        if zone is None:
            return []
        found = deployment.sites[site]
        hosts = {
            urlsplit(found.registry_url).hostname or "": next(iter(found.nodes_with("registry"))),
            urlsplit(found.external_url).hostname or "": next(iter(found.nodes_with("rails"))),
        }
        return [
            aws.route53.Record(
                f"{site}-name-{host}",
                zone_id=zone,
                name=host,
                type="A",
                ttl=60,
                records=[network.addresses[node].public_ip],
                opts=here,
            )
            for host, node in hosts.items()
        ]
