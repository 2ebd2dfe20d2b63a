"""What this stack has not made is found: other rules in its groups, other policies on its roles and users.

AWS keeps those as things of their own, so a refresh of what is here sees nothing of them. These resources
hold whole lists: `pulumi preview --refresh` shows what is more, and `pulumi up --refresh` takes it away.

They come after the site's nodes. A node that refuses a change goes on with what it has, so what it needed
until now may only be taken away when all nodes of the site are done.
"""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from components.accounts import Providers
from components.created_site import CreatedSite
from components.hosts import Hosts
from components.registry_storage import RegistryStorage, StorageAccess
from omnibus.model import Deployment


class ExclusiveServers(pulumi.ComponentResource):
    """Of a created site: the rules of its security group, and the permissions of its servers."""

    def __init__(
        self, site: str, created: CreatedSite, after: pulumi.Resource, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("gitlabgeo:index:ExclusiveServers", f"{site}-exclusive", {}, opts)
        here = pulumi.ResourceOptions(parent=self, depends_on=[after])
        firewall = created.firewall
        aws.ec2.VpcSecurityGroupRulesExclusive(
            f"{site}-exclusive-rules",
            security_group_id=firewall.group_id,
            ingress_rule_ids=[rule.id for rule in firewall.ingress],
            egress_rule_ids=[rule.id for rule in firewall.egress],
            opts=here,
        )
        if created.role and created.rights:
            aws.iam.RolePoliciesExclusive(
                f"{site}-exclusive-role-policies",
                role_name=created.role.name,
                policy_names=[created.rights.name],
                opts=here,
            )
            aws.iam.RolePolicyAttachmentsExclusive(
                f"{site}-exclusive-role-attachments", role_name=created.role.name, policy_arns=[], opts=here
            )
        self.register_outputs({})


class ExclusiveUser(pulumi.ComponentResource):
    """The permissions of a site's user for its storage."""

    def __init__(
        self, site: str, access: StorageAccess, after: pulumi.Resource, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("gitlabgeo:index:ExclusiveUser", f"{site}-exclusive-user", {}, opts)
        here = pulumi.ResourceOptions(parent=self, depends_on=[after])
        aws.iam.UserPoliciesExclusive(
            f"{site}-exclusive-user-policies",
            user_name=access.user.name,
            policy_names=[access.rights.name],
            opts=here,
        )
        aws.iam.UserPolicyAttachmentsExclusive(
            f"{site}-exclusive-user-attachments", user_name=access.user.name, policy_arns=[], opts=here
        )
        self.register_outputs({})


def exclusive(
    deployment: Deployment,
    site: str,
    *,
    hosts: Hosts,
    storage: RegistryStorage,
    providers: Providers,
    after: pulumi.Resource,
) -> None:
    """Both for a site, as far as this stack makes its servers and its user."""
    if site in hosts.created:
        opts = pulumi.ResourceOptions(providers=[providers.of_site(site)])
        ExclusiveServers(site, hosts.created[site], after, opts)
    access, s3 = storage.access.get(site), deployment.storage_of(site)
    if access and s3:
        opts = pulumi.ResourceOptions(providers=[providers.of_storage(s3.region)])
        ExclusiveUser(site, access, after, opts)
