"""What moto's RDS lacks: network interfaces, minor versions, ids, and refusals of what is still in use.

Each function names what AWS does and moto does not.
"""

from __future__ import annotations

import secrets
import string
from typing import Any

from moto.ec2.models import ec2_backends
from moto.rds.exceptions import RDSClientError
from moto.rds.models import DBInstance, DBParameterGroup, DBSubnetGroup, RDSBackend

MINOR = "4"
"""Of every version that is requested without its minor part."""


def prepare() -> None:
    """Change moto, before it serves its first request."""
    _create_as_aws()
    _attach_interfaces()
    _want_two_zones()
    _keep_changed_groups()
    _keep_groups_in_use()
    _want_a_final_snapshot()


def _create_as_aws() -> None:
    """Each instance has a unique id, and a version with its minor part."""
    create, update = DBInstance.__init__, DBInstance.update

    def created(self: DBInstance, *arguments: Any, **named: Any) -> None:
        create(self, *arguments, **named)
        letters = string.ascii_uppercase + string.digits
        self.dbi_resource_id = "db-" + "".join(secrets.choice(letters) for _ in range(26))
        _complete(self)

    def updated(self: DBInstance, *arguments: Any, **named: Any) -> None:
        if named.get("engine_version") == self.engine_version.partition(".")[0]:
            named.pop("engine_version")
        update(self, *arguments, **named)
        _complete(self)

    def _complete(self: DBInstance) -> None:
        if "." not in self.engine_version:
            self.engine_version = f"{self.engine_version}.{MINOR}"

    DBInstance.__init__ = created  # type: ignore[method-assign]
    DBInstance.update = updated  # type: ignore[method-assign]


def _attach_interfaces() -> None:
    """An instance has an interface in a subnet of its group, with its security groups."""
    create, modify, delete = (
        RDSBackend.create_db_instance,
        RDSBackend.modify_db_instance,
        RDSBackend.delete_db_instance,
    )

    def created(self: RDSBackend, db_kwargs: dict[str, Any]) -> DBInstance:
        database: Any = create(self, db_kwargs)
        if group := getattr(database, "db_subnet_group", None):
            ec2 = ec2_backends[self.account_id][self.region_name]
            subnet = ec2.get_subnet(group.subnets[0]["SubnetIdentifier"])
            database.lab_interface = ec2.create_network_interface(
                subnet,
                subnet.get_available_subnet_ip(database),
                group_ids=[*database.vpc_security_group_ids],
                description="RDSNetworkInterface",
            )
        return database  # type: ignore[no-any-return]

    def modified(self: RDSBackend, *arguments: Any, **named: Any) -> DBInstance:
        database: Any = modify(self, *arguments, **named)
        if interface := getattr(database, "lab_interface", None):
            groups = map(interface.ec2_backend.get_security_group_from_id, database.vpc_security_group_ids)
            interface._group_set = [*groups]  # noqa: SLF001
        return database  # type: ignore[no-any-return]

    def deleted(self: RDSBackend, *arguments: Any, **named: Any) -> DBInstance:
        database: Any = delete(self, *arguments, **named)
        if interface := getattr(database, "lab_interface", None):
            interface.ec2_backend.delete_network_interface(interface.id)
        return database  # type: ignore[no-any-return]

    RDSBackend.create_db_instance = created  # type: ignore[method-assign]
    RDSBackend.modify_db_instance = modified  # type: ignore[method-assign]
    RDSBackend.delete_db_instance = deleted  # type: ignore[method-assign]


def _want_two_zones() -> None:
    """A subnet group has subnets in two availability zones or more."""
    create = RDSBackend.create_subnet_group

    def created(
        self: RDSBackend, subnet_name: str, description: str, subnets: list[Any], tags: list[dict[str, str]]
    ) -> DBSubnetGroup:
        if len({subnet.availability_zone for subnet in subnets}) < 2:
            raise RDSClientError(
                "DBSubnetGroupDoesNotCoverEnoughAZs",
                "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement.",
            )
        return create(self, subnet_name, description, subnets, tags)

    RDSBackend.create_subnet_group = created  # type: ignore[method-assign]


def _keep_changed_groups() -> None:
    """A subnet group stays when it is changed."""
    modify = RDSBackend.modify_db_subnet_group

    def modified(self: RDSBackend, subnet_name: str, description: str, subnets: list[Any]) -> DBSubnetGroup:
        group = modify(self, subnet_name, description, subnets)
        self.subnet_groups[subnet_name] = group
        return group

    RDSBackend.modify_db_subnet_group = modified  # type: ignore[method-assign]


def _keep_groups_in_use() -> None:
    """A subnet group or parameter group that an instance uses is not deleted."""
    subnets, parameters = RDSBackend.delete_subnet_group, RDSBackend.delete_db_parameter_group

    def used(self: RDSBackend, name: str) -> bool:
        groups = [
            (one.db_parameter_group_name, getattr(getattr(one, "db_subnet_group", None), "name", None))
            for one in self.databases.values()
        ]
        return any(name in pair for pair in groups)

    def subnets_deleted(self: RDSBackend, subnet_name: str) -> DBSubnetGroup:
        if used(self, subnet_name):
            problem = f"Cannot delete the subnet group '{subnet_name}': it is in use"
            raise RDSClientError("InvalidDBSubnetGroupStateFault", problem)
        return subnets(self, subnet_name)

    def parameters_deleted(self: RDSBackend, db_parameter_group_name: str) -> DBParameterGroup:
        if used(self, db_parameter_group_name):
            problem = f"One or more database instances are still members of {db_parameter_group_name}"
            raise RDSClientError("InvalidDBParameterGroupState", problem)
        return parameters(self, db_parameter_group_name)

    RDSBackend.delete_subnet_group = subnets_deleted  # type: ignore[method-assign]
    RDSBackend.delete_db_parameter_group = parameters_deleted  # type: ignore[method-assign]


def _want_a_final_snapshot() -> None:
    """An instance is deleted with a final snapshot, unless the request declines one."""
    delete = RDSBackend.delete_db_instance

    def deleted(self: RDSBackend, *arguments: Any, **named: Any) -> DBInstance:
        if not named.get("skip_final_snapshot") and not named.get("final_db_snapshot_identifier"):
            raise RDSClientError(
                "InvalidParameterCombination",
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.",
            )
        return delete(self, *arguments, **named)

    RDSBackend.delete_db_instance = deleted  # type: ignore[method-assign]
