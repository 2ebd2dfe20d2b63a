"""One EC2 instance, whose host key is generated beforehand so that the first connection can verify it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.aws_firewall import AwsFirewall
from components.aws_network import AwsNetwork
from components.generated_secrets import GeneratedSshKey
from plan.aws import InstancePlan

# GitLab's images run it at their first boot (omnibus-gitlab, support/packer/ami-startup-script.sh). It calls
# the metadata service without a token, which fails here, and sets root's password to the instance id.
_STARTUP = "/var/lib/cloud/scripts/per-instance/gitlab"


INSTANCE_TAG = "gitlab-geo-instance"
"""Holds the instance's name in the stack."""


def instance_name(name: str, plan: InstancePlan) -> str:
    """The name of a node's instance in the stack: another name means another instance."""
    return f"{name}-instance-{plan.replace}" if plan.replace else f"{name}-instance"


@dataclass(frozen=True)
class AwsInstanceArgs:
    """`image`: the id of its AMI; `profile`: the name of its instance profile, if any; `groups`: the ids of
    the security groups that it has besides the site's.
    """

    plan: InstancePlan
    image: str
    network: AwsNetwork
    firewall: AwsFirewall
    key_name: pulumi.Input[str]
    profile: pulumi.Input[str] | None
    groups: Sequence[pulumi.Input[str]]


class AwsInstance(pulumi.ComponentResource):
    """`address`, `host_key`, `instance`; `ready`: what must exist before it accepts connections."""

    address: pulumi.Output[str]
    host_key: pulumi.Output[str]
    instance: aws.ec2.Instance

    def __init__(self, name: str, args: AwsInstanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan, network = args.plan, args.network
        shown = {"site": plan.site, "node": plan.node, "type": plan.instance_type}
        super().__init__("gitlabgeo:index:AwsInstance", name, shown, opts)
        # An instance keeps its host key for life, so the stack must not lose it either.
        child = pulumi.ResourceOptions(parent=self)
        protected = pulumi.ResourceOptions(parent=self, protect=plan.protect)
        key = GeneratedSshKey(f"{name}-host-key", protected)
        self.host_key = key.public_key
        self.instance = aws.ec2.Instance(
            instance_name(name, plan),
            ami=args.image,
            instance_type=plan.instance_type,
            key_name=args.key_name,
            subnet_id=network.subnet_id,
            vpc_security_group_ids=[args.firewall.group_id, *args.groups],
            iam_instance_profile=args.profile,
            user_data=user_data(plan.node, key.private_key, key.public_key),
            user_data_replace_on_change=False,
            # Only with a token: a request forged through GitLab cannot get the credentials.
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                volume_type="gp3",
                volume_size=plan.volume_gb,
                encrypted=True,
                kms_key_id=plan.kms_key_id,
                delete_on_termination=True,
            ),
            disable_api_termination=plan.protect,
            # `protect` below guards deletion; once it is lifted, Pulumi may terminate the instance.
            force_destroy=True,
            # components/aws_lookups.py looks up the instance by the last tag before it is changed.
            tags={
                "Name": plan.node,
                "gitlab-roles": " ".join(plan.roles),
                INSTANCE_TAG: instance_name(name, plan),
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=plan.protect,
                # None of these may replace or stop an instance: only `replace` may.
                ignore_changes=[
                    "ami",
                    "availabilityZone",
                    "keyName",
                    "rootBlockDevice.kmsKeyId",
                    # The provider's default tags are set on a disk only when it is created; without this,
                    # `up --refresh` removes tags (hashicorp/terraform-provider-aws, issue 38301).
                    "rootBlockDevice.tags",
                    "rootBlockDevice.tagsAll",
                    "subnetId",
                    "userData",
                ],
                depends_on=network.ready,
            ),
        )
        address = network.addresses[plan.node]
        joined = aws.ec2.EipAssociation(
            f"{name}-address-of-instance",
            allocation_id=address.allocation_id,
            instance_id=self.instance.id,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        # So that a refresh detects a stopped instance, which is not a change of the instance itself.
        running = aws.ec2transitgateway.InstanceState(
            f"{name}-running", instance_id=self.instance.id, state="running", opts=child
        )
        self.address = address.public_ip
        self.ready: Sequence[pulumi.Resource] = [joined, running, *network.ready, *args.firewall.ready]
        self.register_outputs({"address": self.address})


def user_data(name: str, private_key: pulumi.Input[str], public_key: pulumi.Input[str]) -> pulumi.Output[str]:
    """The cloud-init text: host name and SSH host key; nothing else in it is secret.

    JSON is valid YAML, with correct quoting.
    """
    keys = {"ed25519_private": private_key, "ed25519_public": public_key}
    config = {
        "hostname": name,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": keys,
        "bootcmd": [["rm", "-f", _STARTUP]],
    }
    return pulumi.Output.json_dumps(config, indent=1).apply(lambda text: f"#cloud-config\n{text}\n")
