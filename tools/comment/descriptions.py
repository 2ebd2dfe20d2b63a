"""The wording of the comment: names, impact and actions of changes, as data and pure functions."""

from __future__ import annotations

from collections.abc import Collection

from tools.comment.changes import Change, NodeSettings
from tools.comment.sanitize import inline

NODE_COMMAND = "command:remote:Command"

NAMES = {
    "aws:ec2/instance:Instance": "instance",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:rds/instance:Instance": "metadata database",
    "aws:rds/subnetGroup:SubnetGroup": "subnet group of a database",
    "aws:rds/parameterGroup:ParameterGroup": "parameters of a database",
    "aws:ec2/eip:Eip": "address",
    "aws:ec2/eipAssociation:EipAssociation": "address of an instance",
    "aws:ec2/vpc:Vpc": "network",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/securityGroup:SecurityGroup": "firewall",
    "aws:iam/accessKey:AccessKey": "access key",
    "aws:iam/user:User": "user",
    "aws:iam/userPolicy:UserPolicy": "permissions of a user",
    "aws:iam/role:Role": "role of instances",
    "aws:iam/rolePolicy:RolePolicy": "permissions of instances",
    "aws:route53/record:Record": "DNS record",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "firewall rule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "firewall rule",
    "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": "list of firewall rules",
    "aws:iam/rolePoliciesExclusive:RolePoliciesExclusive": "list of policies of instances",
    "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive": "list of policies of instances",
    "aws:iam/userPoliciesExclusive:UserPoliciesExclusive": "list of policies of a user",
    "aws:iam/userPolicyAttachmentsExclusive:UserPolicyAttachmentsExclusive": "list of policies of a user",
    "aws:ec2transitgateway/instanceState:InstanceState": "running state of an instance",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSecret": "secret",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSshKey": "SSH key",
    "pulumi-python:dynamic/gitlabgeo:Notice": "notice",
    "pulumi-python:dynamic/gitlabgeo:KeyPair": "registry key pair",
    NODE_COMMAND: "settings of a node",
}

# The most severe first; other types come after these.
DELETE_IMPACT = {
    "aws:s3/bucket:Bucket": "the bucket is deleted, **with every image in it**",
    "aws:ec2/instance:Instance": "the instance is terminated, **and its disk is deleted with all data**",
    "aws:rds/instance:Instance": "the database is deleted, **and with it the metadata of the site's "
    "images**; its final snapshot remains in AWS",
    "aws:ec2/eip:Eip": "the address is released to AWS and cannot be recovered",
    NODE_COMMAND: "they are removed from the node, and it is reconfigured without them",
    "aws:iam/accessKey:AccessKey": "requests that are still signed with the key are refused",
    "aws:iam/user:User": "requests that are still signed as this user are refused",
    "aws:iam/userPolicy:UserPolicy": "requests that need them are refused",
    "aws:iam/rolePolicy:RolePolicy": "requests that need them are refused",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSecret": "the value is lost",
    "pulumi-python:dynamic/gitlabgeo:Notice": "`pulumi up` prints its text",
    "aws:route53/record:Record": "the name no longer resolves",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "inbound traffic that it allowed is blocked",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "outbound traffic that it allowed is blocked",
    "aws:ec2/eipAssociation:EipAssociation": "the address no longer points to the instance",
    **{
        kind: "nothing changes in AWS; manual additions and stopped instances are no longer detected"
        for kind, noun in NAMES.items()
        if noun.startswith(("list of", "running state"))
    },
}
REPLACE_IMPACT = {
    "aws:s3/bucket:Bucket": "a new, empty bucket replaces it, and **no image is copied**",
    "aws:ec2/instance:Instance": "a new instance replaces it, **and the old disk is deleted with all data**",
    "aws:rds/instance:Instance": "a new, empty database replaces it, and **no image metadata is copied**; "
    "the final snapshot of the former one remains in AWS",
    "aws:ec2/eipAssociation:EipAssociation": "the same address then points to another instance",
    "aws:ec2/eip:Eip": "a new address replaces it: update DNS, firewalls and peers",
    NODE_COMMAND: "they are removed from the former host first, then applied to the new one",
    "aws:iam/accessKey:AccessKey": "a new key; the old one is refused from then on",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSecret": "a new value, applied to every node that uses it",
}
VERIFIED = "verified, not changed"
STAYS = "remains unchanged in AWS (retain on delete), but this stack no longer manages it"
IMAGES_STAY = (
    "bucket and images remain in AWS (retain on delete), **and no image is copied**; "
    "this stack no longer manages them"
)
BUCKET = "aws:s3/bucket:Bucket"
INSTANCE = "aws:ec2/instance:Instance"
GENERATED = "pulumi-python:dynamic/gitlabgeo:"
RETAINED = "RETAINED"
VERBS = {"create": "created", "update": "updated", "delete": "DELETED", "replace": "REPLACED"}


def noun(change: Change) -> str:
    """`instance`; for other types the last part of the type."""
    if change.type.startswith("aws:s3/bucket") and change.type != BUCKET:
        return "setting of a bucket"
    if change.type == NODE_COMMAND and change.external:
        return "configuration of a registry"
    return NAMES.get(change.type) or inline(change.type.rpartition(":")[2])


def verb(change: Change) -> str:
    """What happens to it, as a participle."""
    if "delete" in change.op and _retained(change):
        return RETAINED
    return VERBS.get(change.op, change.op)


def _retained(change: Change) -> bool:
    # Generated values are marked as retained too, but exist only in the state.
    return change.retained and not change.type.startswith(GENERATED)


def severity(change: Change) -> tuple[int, int, str]:
    """A sort key: permanent losses first, then what is retained."""
    types = list(DELETE_IMPACT)
    kind = types.index(change.type) if change.type in types else len(types)
    return (1 if _retained(change) else 0, kind, change.name)


def consequence(change: Change, terminated: Collection[str] = ()) -> str:
    """The impact, in a clause. `terminated`: nodes whose instance is deleted in the same update."""
    if change.protected:
        return "it is protected: `pulumi up` fails. Set `termination_protection: false` and `pulumi up` first"
    if "replace" in change.op:
        kept = "; the former one remains in AWS" if _retained(change) else ""
        return REPLACE_IMPACT.get(change.type, "a new one replaces it") + kept
    if _retained(change):
        return IMAGES_STAY if change.type == BUCKET else STAYS
    if change.type == NODE_COMMAND and change.node in terminated:
        return "they are deleted with the instance, without being removed first"
    if change.type == NODE_COMMAND and change.external:
        return "its former file is restored, and the registry restarts"
    return DELETE_IMPACT.get(change.type, "it is deleted")


def restarts(settings: NodeSettings | None) -> str:
    """The services that restart: a reconfigure restarts those whose configuration changes."""
    changed = settings.changed if settings else []
    roles = settings.roles if settings else ()
    services = (
        ["registry"] if "registry" in roles and any(name.startswith("registry") for name in changed) else []
    )
    if any(name.startswith(("gitlab_rails", "registry_external_url", "external_url")) for name in changed):
        services += [name for role, name in (("rails", "Puma"), ("sidekiq", "Sidekiq")) if role in roles]
    if not services:
        return ""
    return (
        f"; {services[0]} restarts"
        if len(services) == 1
        else f"; {', '.join(services[:-1])} and {services[-1]} restart"
    )


def node_action(
    command: Change, settings: NodeSettings | None, *, instance: str, secrets: Collection[str]
) -> str:
    """What happens on the node. `instance`: the operation on its instance, or ""; `secrets`: regenerated."""
    done = "**restarted**" if command.external else "**reconfigured**"
    if command.op == "delete":
        return "deleted with its instance" if instance else f"settings removed, {done} without them"
    if instance:
        return f"new instance: settings applied, {done}, checked"
    if "replace" in command.op:
        return f"removed from the former host; applied, {done} and checked on the new one"
    first = " for the first time" if command.op == "create" else ""
    if settings and settings.changed:
        return f"settings applied{first}, {done}, checked{restarts(settings)}"
    if secrets:
        return f"new {', '.join(sorted(secrets))} applied, {done}, checked"
    return (
        "no setting changes, but a secret, the instance or this program does: applied and checked again, "
        f"{done} if its files differ"
    )
