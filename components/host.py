"""One server on AWS, which the very first connection can verify: its host key is handed over at boot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.firewall import SiteFirewall
from components.generated import GeneratedSshKey
from components.network import SiteNetwork
from omnibus.machines import Aws
from omnibus.model import Node

# Run by GitLab's images at their first boot (omnibus-gitlab, support/packer/ami-startup-script.sh). It asks
# the metadata service without a token, which is refused here, and makes the instance id root's password.
_STARTUP = "/var/lib/cloud/scripts/per-instance/gitlab"


SERVER_TAG = "gitlab-geo-server"
"""Holds the server's name in the stack."""


def server_name(name: str, node: Node) -> str:
    """What a node's server is called in the stack: another name, another server."""
    return f"{name}-server-{node.aws.replace}" if node.aws.replace else f"{name}-server"


@dataclass(frozen=True)
class Place:
    """What all servers of a site have in common."""

    site: str
    aws: Aws
    network: SiteNetwork
    firewall: SiteFirewall
    key_name: pulumi.Input[str]
    profile: pulumi.Input[str] | None


class Host(pulumi.ComponentResource):
    """`address`, `host_key`, `instance`; `ready`: what must be there before it can be reached."""

    def __init__(
        self,
        name: str,
        node: Node,
        place: Place,
        image: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        of = place.aws
        size = of.instance_type_of(node.aws)
        super().__init__("gitlabgeo:index:Host", f"{name}-host", {"site": place.site, "type": size}, opts)
        # A server keeps its host key for life, so the stack must not lose it either.
        here = pulumi.ResourceOptions(parent=self)
        kept = pulumi.ResourceOptions(parent=self, protect=of.termination_protection)
        key = GeneratedSshKey(f"{name}-host-key", kept)
        self.host_key = key.public_key
        self.instance = aws.ec2.Instance(
            server_name(name, node),
            ami=image,
            instance_type=size,
            key_name=place.key_name,
            subnet_id=place.network.subnet_id,
            vpc_security_group_ids=[place.firewall.group_id],
            iam_instance_profile=place.profile,
            user_data=user_data(name, key.private_key, key.public_key),
            user_data_replace_on_change=False,
            # With a token only: a request forged through GitLab cannot fetch the credentials.
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                volume_type="gp3",
                volume_size=node.aws.volume_gb or of.volume_gb,
                encrypted=True,
                kms_key_id=of.kms_key_id,
                delete_on_termination=True,
            ),
            disable_api_termination=of.termination_protection,
            # What the engine is let to destroy it shall: `protect` below is what refuses.
            force_destroy=True,
            # By the last one the server is found again before it is changed: see components/accounts.py.
            tags={
                "Name": name,
                "gitlab-roles": " ".join(sorted(node.roles)),
                SERVER_TAG: server_name(name, node),
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=of.termination_protection,
                # Nothing of this is a reason to replace or stop a server: `replace` is the only one.
                ignore_changes=[
                    "ami",
                    "availabilityZone",
                    "keyName",
                    "rootBlockDevice.kmsKeyId",
                    # The provider's default tags reach a disk when it is made and never again; without this
                    # `up --refresh` takes tags away (hashicorp/terraform-provider-aws, issue 38301).
                    "rootBlockDevice.tags",
                    "rootBlockDevice.tagsAll",
                    "subnetId",
                    "userData",
                ],
                depends_on=place.network.ready,
            ),
        )
        address = place.network.addresses[name]
        joined = aws.ec2.EipAssociation(
            f"{name}-address-of-server",
            allocation_id=address.allocation_id,
            instance_id=self.instance.id,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        # A refresh finds a server that somebody has stopped, which is no change of the server itself.
        running = aws.ec2transitgateway.InstanceState(
            f"{name}-running", instance_id=self.instance.id, state="running", opts=here
        )
        self.address = address.public_ip
        self.ready: Sequence[pulumi.Resource] = [joined, running, *place.network.ready, *place.firewall.ready]
        self.register_outputs({"address": self.address})


def user_data(name: str, private_key: pulumi.Input[str], public_key: pulumi.Input[str]) -> pulumi.Output[str]:
    """cloud-init's text: the host's name and its SSH host key, and nothing else that is secret.

    JSON is YAML; it needs no quoting of our own.
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
