"""A site's metadata database: a PostgreSQL of Amazon RDS in private subnets, for registry nodes only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.aws_firewall import GroupRules
from components.generated_secrets import GeneratedSecret, Notice
from plan.aws_database import BACKUP_DAYS, AwsDatabasePlan

PARAMETERS = {
    # Refuses connections without TLS.
    "rds.force_ssl": "1",
    # The registry's migrations lock hundreds of tables at once.
    "max_locks_per_transaction": "512",
}


@dataclass(frozen=True)
class AwsDatabaseArgs:
    """`zones`: the availability zones of the private subnets, one each."""

    plan: AwsDatabasePlan
    vpc_id: pulumi.Input[str]
    zones: Sequence[str]


class AwsDatabase(pulumi.ComponentResource):
    """`host`: its address; `password`: generated; `clients`: the id of the security group that may connect,
    and that the registry's nodes have; `rules`: of both groups; `ready`: what must exist before a node
    connects; `final_snapshot`: the name of the snapshot that remains when the database is deleted.
    """

    host: pulumi.Output[str]
    password: pulumi.Output[str]
    clients: pulumi.Output[str]
    final_snapshot: pulumi.Output[str]
    rules: dict[str, GroupRules]
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: AwsDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        plan = self._plan = args.plan
        shown = {"site": plan.site, "engine_version": plan.engine_version, "nodes": [*plan.nodes]}
        super().__init__("gitlabgeo:index:AwsDatabase", name, shown, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        # Without these, the database would exist, but its images' metadata could not be reached.
        self._protected = pulumi.ResourceOptions(parent=self, protect=plan.protect)
        self._tags = {"Name": f"gitlab-{plan.site}-database"}
        # Not protected: AWS accepts another one at any time, and a protected one could not be replaced.
        password = GeneratedSecret(f"{name}-database-password", 32, plan.password_rotation, self._child)
        self.password = password.value
        group = self._groups(name, args.vpc_id)
        instance = self._instance(name, self._subnets(name, args), group)
        self.host = instance.address
        self.ready = [instance, *(rule for of_group in self.rules.values() for rule in of_group.all)]
        self.register_outputs({"host": self.host, "final_snapshot": self.final_snapshot})

    def _groups(self, name: str, vpc_id: pulumi.Input[str]) -> aws.ec2.SecurityGroup:
        """The database's security group, and that of its clients: each names the other, and nothing else."""
        site, port = self._plan.site, self._plan.port

        def group(part: str, description: str) -> aws.ec2.SecurityGroup:
            return aws.ec2.SecurityGroup(
                f"{name}-{part}",
                vpc_id=vpc_id,
                description=description,
                tags=self._tags,
                opts=self._protected,
            )

        own = group("database-access", f"Metadata database of GitLab {site}: managed by Pulumi")
        clients = group("database-clients", f"Registry nodes of GitLab {site}: managed by Pulumi")
        inward = aws.vpc.SecurityGroupIngressRule(
            f"{name}-database-ingress",
            security_group_id=own.id,
            referenced_security_group_id=clients.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=f"registry nodes of {site}",
            opts=self._child,
        )
        outward = aws.vpc.SecurityGroupEgressRule(
            f"{name}-database-egress",
            security_group_id=clients.id,
            referenced_security_group_id=own.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=f"metadata database of {site}",
            opts=self._child,
        )
        self.clients = clients.id
        self.rules = {
            "database-rules": GroupRules(own.id, [inward], []),
            "database-clients-rules": GroupRules(clients.id, [], [outward]),
        }
        return own

    def _subnets(self, name: str, args: AwsDatabaseArgs) -> aws.rds.SubnetGroup:
        ids: list[pulumi.Input[str]] = [*args.plan.subnet_ids]
        if args.plan.subnets:
            # Without any route: there is no way to the Internet, and none from there.
            routes = aws.ec2.RouteTable(
                f"{name}-database-routes", vpc_id=args.vpc_id, tags=self._tags, opts=self._child
            )
            for number, (cidr, zone) in enumerate(zip(args.plan.subnets, args.zones, strict=True), 1):
                subnet = aws.ec2.Subnet(
                    f"{name}-database-subnet-{number}",
                    vpc_id=args.vpc_id,
                    cidr_block=cidr,
                    availability_zone=zone,
                    tags=self._tags,
                    # Another range or zone means other subnets, to which a database cannot move.
                    opts=pulumi.ResourceOptions.merge(
                        self._protected,
                        pulumi.ResourceOptions(ignore_changes=["cidrBlock", "availabilityZone"]),
                    ),
                )
                aws.ec2.RouteTableAssociation(
                    f"{name}-database-subnet-{number}-routes",
                    route_table_id=routes.id,
                    subnet_id=subnet.id,
                    opts=self._child,
                )
                ids.append(subnet.id)
        return aws.rds.SubnetGroup(f"{name}-database", subnet_ids=ids, tags=self._tags, opts=self._protected)

    def _instance(
        self, name: str, subnets: aws.rds.SubnetGroup, group: aws.ec2.SecurityGroup
    ) -> aws.rds.Instance:
        plan = self._plan
        parameters = aws.rds.ParameterGroup(
            f"{name}-database-parameters",
            family=f"postgres{plan.engine_version}",
            # A new instance starts with them; some of them change at a restart only.
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name=key, value=value, apply_method="pending-reboot")
                for key, value in PARAMETERS.items()
            ],
            tags=self._tags,
            opts=self._child,
        )
        # The generated name of the subnet group is unique and stays: a database that is created later must
        # not fail because a snapshot of the former one exists.
        identifier = subnets.name.apply(lambda found: re.sub("-+", "-", found))
        self.final_snapshot = identifier.apply(lambda found: f"{found}-final")
        said = self.final_snapshot.apply(
            lambda found: (
                f"{plan.site}: the metadata database is deleted; its final snapshot remains: {found}"
            )
        )
        # Deleted after the database, and only then.
        notice = Notice(f"{name}-database-snapshot", said, self._child)
        return aws.rds.Instance(
            f"{name}-database-server",
            identifier=identifier,
            engine="postgres",
            engine_version=plan.engine_version,
            # `engine_version` is the administrator's decision; without these it would wait, or be refused.
            allow_major_version_upgrade=True,
            apply_immediately=True,
            auto_minor_version_upgrade=True,
            instance_class=plan.instance_class,
            allocated_storage=plan.storage_gb,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=plan.kms_key_id,
            multi_az=plan.multi_az,
            db_name=plan.name,
            username=plan.user,
            password=self.password,
            port=plan.port,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            parameter_group_name=parameters.name,
            publicly_accessible=False,
            backup_retention_period=BACKUP_DAYS,
            copy_tags_to_snapshot=True,
            deletion_protection=plan.protect,
            skip_final_snapshot=False,
            final_snapshot_identifier=self.final_snapshot,
            tags=self._tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=plan.protect,
                # Another key would replace the database; its content would remain in the snapshot only.
                ignore_changes=["kmsKeyId"],
                # Two cannot have one identifier.
                delete_before_replace=True,
                depends_on=[notice],
            ),
        )
