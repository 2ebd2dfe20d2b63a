"""What is created on AWS for a site: network, EC2 instances, firewall rules, host names."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from config.aws import Aws, architecture
from config.model import Deployment
from config.site import Node
from config.ssh import ResolvedSsh
from plan import firewall
from plan.aws_database import AwsDatabasePlan, aws_database
from plan.firewall import Rule
from plan.storage import PolicyPlan


@dataclass(frozen=True)
class NetworkPlan:
    """A VPC with one public subnet, or those that exist (`vpc_id`, `subnet_id`)."""

    site: str
    region: str
    cidr: str | None
    vpc_id: str | None
    subnet_id: str | None
    availability_zone: str | None
    nodes: tuple[str, ...]
    protect: bool


@dataclass(frozen=True)
class InstancePlan:
    """A node's EC2 instance. `ami`: None for GitLab's own image of `architecture`.

    `key`: the key of the node's `aws` in the configuration; `type_key`: that of its instance type.
    """

    node: str
    site: str
    roles: tuple[str, ...]
    instance_type: str
    architecture: str
    ami: str | None
    volume_gb: int
    kms_key_id: str | None
    replace: int
    protect: bool
    key: str
    type_key: str


@dataclass(frozen=True)
class AwsSitePlan:
    """Everything that is created for a site. `names`: host name → the node that has it, in `hosted_zone`.

    `tags`: the site's, on all resources. `login`: the SSH settings with the login key. `role`: the
    permissions of the instances. `database`: the metadata database to create, if any.
    """

    site: str
    region: str
    tags: dict[str, str]
    network: NetworkPlan
    rules: tuple[Rule, ...]
    instances: dict[str, InstancePlan]
    login: ResolvedSsh
    role: PolicyPlan | None
    database: AwsDatabasePlan | None
    hosted_zone: str | None
    names: dict[str, str]
    protect: bool


def aws_site(d: Deployment, name: str, role: PolicyPlan | None) -> AwsSitePlan | None:
    """None for a site with existing hosts. `role`: the permissions of its instances."""
    site, aws = d.sites[name], d.sites[name].aws
    if aws is None:
        return None
    first = next(iter(site.nodes))
    return AwsSitePlan(
        site=name,
        region=aws.region,
        tags={"gitlab-geo-site": name, "gitlab-geo-role": d.role(name), **aws.tags},
        network=NetworkPlan(
            site=name,
            region=aws.region,
            cidr=aws.cidr,
            vpc_id=aws.vpc_id,
            subnet_id=aws.subnet_id,
            availability_zone=aws.availability_zone,
            nodes=tuple(site.nodes),
            protect=aws.termination_protection,
        ),
        rules=tuple(firewall.rules(d, name)),
        instances={node: _instance(name, aws, node, node_config) for node, node_config in site.nodes.items()},
        login=d.ssh_of(name, first),
        role=role,
        database=aws_database(d, name),
        hosted_zone=aws.hosted_zone,
        names={
            urlsplit(site.registry_url).hostname or "": next(iter(site.nodes_with("registry"))),
            urlsplit(site.external_url).hostname or "": next(iter(site.nodes_with("rails"))),
        }
        if aws.hosted_zone
        else {},
        protect=aws.termination_protection,
    )


def _instance(site: str, aws: Aws, name: str, node: Node) -> InstancePlan:
    size, key = aws.instance_type_of(node.aws), f"sites.{site}.nodes.{name}.aws"
    return InstancePlan(
        node=name,
        site=site,
        roles=tuple(sorted(node.roles)),
        instance_type=size,
        architecture=architecture(size),
        ami=node.aws.ami or aws.ami,
        volume_gb=node.aws.volume_gb or aws.volume_gb,
        kms_key_id=aws.kms_key_id,
        replace=node.aws.replace,
        protect=aws.termination_protection,
        key=key,
        type_key=f"{key}.instance_type" if node.aws.instance_type else f"sites.{site}.aws.instance_type",
    )
