"""What a change means to a person: the words of the comment, as data and pure functions."""

from __future__ import annotations

from collections.abc import Collection

from ci.changes import Change, NodeSettings
from ci.text import inline

NODE_COMMAND = "command:remote:Command"

NAMES = {
    "aws:ec2/instance:Instance": "server",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:ec2/eip:Eip": "address",
    "aws:ec2/eipAssociation:EipAssociation": "address of a server",
    "aws:ec2/vpc:Vpc": "network",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/securityGroup:SecurityGroup": "firewall",
    "aws:iam/accessKey:AccessKey": "access key",
    "aws:iam/user:User": "user",
    "aws:iam/userPolicy:UserPolicy": "rights of a user",
    "aws:iam/role:Role": "role of servers",
    "aws:iam/rolePolicy:RolePolicy": "rights of servers",
    "aws:route53/record:Record": "name",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "firewall rule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "firewall rule",
    "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": "list of firewall rules",
    "aws:iam/rolePoliciesExclusive:RolePoliciesExclusive": "list of policies of servers",
    "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive": "list of policies of servers",
    "aws:iam/userPoliciesExclusive:UserPoliciesExclusive": "list of policies of a user",
    "aws:iam/userPolicyAttachmentsExclusive:UserPolicyAttachmentsExclusive": "list of policies of a user",
    "aws:ec2transitgateway/instanceState:InstanceState": "running state of a server",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSecret": "secret",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSshKey": "SSH key",
    NODE_COMMAND: "settings of a node",
}

# The worst first; what is not named here comes after these.
LOST = {
    "aws:s3/bucket:Bucket": "the bucket goes, **and every image in it**",
    "aws:ec2/instance:Instance": "the server goes, **and its disk with all that is on it**",
    "aws:ec2/eip:Eip": "the address is given back to AWS and cannot be had again",
    NODE_COMMAND: "they are taken out of the node, and it is reconfigured without them",
    "aws:iam/accessKey:AccessKey": "whatever still signs with the key is refused",
    "aws:iam/user:User": "whatever still signs as this user is refused",
    "aws:iam/userPolicy:UserPolicy": "who had them is refused where they led",
    "aws:iam/rolePolicy:RolePolicy": "who had them is refused where they led",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSecret": "the value is forgotten",
    "aws:route53/record:Record": "the name no longer resolves",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "what it let in is shut out",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "what it let out is shut in",
    "aws:ec2/eipAssociation:EipAssociation": "the address no longer leads to the server",
    **{
        kind: "nothing changes at AWS; what somebody adds or stops there is no longer found"
        for kind, noun in NAMES.items()
        if noun.startswith(("list of", "running state"))
    },
}
REPLACED = {
    "aws:s3/bucket:Bucket": "another, empty bucket takes its place, and **no image is copied**",
    "aws:ec2/instance:Instance": "a new server, **the old one's disk goes with all that is on it**",
    "aws:ec2/eipAssociation:EipAssociation": "the same address, which leads to another server from then on",
    "aws:ec2/eip:Eip": "another address takes its place: DNS, firewalls and peers must learn it",
    NODE_COMMAND: "they are taken out of the former server first, then applied to the one named now",
    "aws:iam/accessKey:AccessKey": "a new key; the old one is refused from then on",
    "pulumi-python:dynamic/gitlabgeo:GeneratedSecret": "a new value, which every node that uses it gets",
}
STAYS = "stays as it is at AWS, but this stack no longer looks after it"
IMAGES_STAY = (
    "bucket and images stay at AWS, **and no image is copied**; this stack no longer looks after them"
)
BUCKET = "aws:s3/bucket:Bucket"
SERVER = "aws:ec2/instance:Instance"
MADE_HERE = "pulumi-python:dynamic/gitlabgeo:"
LEAVES = "LET GO"
VERBS = {"create": "created", "update": "updated", "delete": "DELETED", "replace": "REPLACED"}


def noun(change: Change) -> str:
    """`server`; of a type without a word of its own the type's last part."""
    if change.type.startswith("aws:s3/bucket") and change.type != BUCKET:
        return "setting of a bucket"
    if change.type == NODE_COMMAND and change.external:
        return "configuration of a registry"
    return NAMES.get(change.type) or inline(change.type.rpartition(":")[2])


def verb(change: Change) -> str:
    """What happens to it, as it stands in a sentence."""
    if "delete" in change.op and _kept_at_aws(change):
        return LEAVES
    return VERBS.get(change.op, change.op)


def _kept_at_aws(change: Change) -> bool:
    # What this program generates is marked as retained too, but has no place to stay at.
    return change.retained and not change.type.startswith(MADE_HERE)


def gravity(change: Change) -> tuple[int, int, str]:
    """To sort by: what is lost for good first, then what is replaced, then what stays at AWS."""
    worst = list(LOST)
    kind = worst.index(change.type) if change.type in worst else len(worst)
    return (1 if _kept_at_aws(change) else 0, kind, change.name)


def consequence(change: Change, servers_gone: Collection[str] = ()) -> str:
    """What is lost, in a clause. `servers_gone`: nodes whose server is deleted in the same update."""
    if change.protected:
        return (
            "it is protected: `pulumi up` refuses. Set `termination_protection: false` and `pulumi up` first"
        )
    if "replace" in change.op:
        kept = "; the former stays at AWS" if _kept_at_aws(change) else ""
        return REPLACED.get(change.type, "a new one takes its place") + kept
    if _kept_at_aws(change):
        return IMAGES_STAY if change.type == BUCKET else STAYS
    if change.type == NODE_COMMAND and change.node in servers_gone:
        return "they go with the server, without being tidied up first"
    if change.type == NODE_COMMAND and change.external:
        return "its file says again what it said before, and the registry restarts"
    return LOST.get(change.type, "it is gone afterwards")


def restarts(settings: NodeSettings | None) -> str:
    """What a reconfigure restarts for these settings: omnibus restarts what gets another configuration."""
    changed = settings.changed if settings else []
    roles = settings.roles if settings else ()
    words = (
        ["registry"] if "registry" in roles and any(name.startswith("registry") for name in changed) else []
    )
    if any(name.startswith(("gitlab_rails", "registry_external_url", "external_url")) for name in changed):
        words += [word for role, word in (("rails", "Puma"), ("sidekiq", "Sidekiq")) if role in roles]
    if not words:
        return ""
    return (
        f"; {words[0]} restarts" if len(words) == 1 else f"; {', '.join(words[:-1])} and {words[-1]} restart"
    )


def node_action(
    command: Change, settings: NodeSettings | None, *, server: str, secrets: Collection[str]
) -> str:
    """What happens on the node itself. `server`: what happens to it, "" for nothing; `secrets`: made anew."""
    done = "**restarted**" if command.external else "**reconfigured**"
    if command.op == "delete":
        return "goes with its server" if server else f"settings taken out, {done} without them"
    if server:
        return f"new server: settings applied, {done}, proven"
    if "replace" in command.op:
        return f"taken out at the former server; applied, {done} and proven at the other"
    first = " for the first time" if command.op == "create" else ""
    if settings and settings.changed:
        return f"settings applied{first}, {done}, proven{restarts(settings)}"
    if secrets:
        return f"new {', '.join(sorted(secrets))} applied, {done}, proven"
    return (
        "no setting changes, but a secret, the server or this program does: applied and proven again, "
        f"{done} if its files differ"
    )
