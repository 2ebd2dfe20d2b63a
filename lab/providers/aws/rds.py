"""RDS: subnet groups, parameter groups, and single instances (no clusters, replicas or restores)."""

from __future__ import annotations

import time
from typing import Any

from lab.providers.aws import tagging
from lab.providers.aws.base import AwsResource
from lab.providers.protocol import PropertyMap, is_unknown


class RdsResource(AwsResource):
    """What all have in common: names in lowercase, and tags of their ARN."""

    service = "rds"
    longest_name = 255

    def tagged(self, inputs: PropertyMap) -> dict[str, Any]:
        return {"Tags": self.tag_list(inputs)} if self.tag_list(inputs) else {}

    def retag(self, client: Any, old: PropertyMap, inputs: PropertyMap) -> None:
        former, tags = old.get("tagsAll") or {}, self.tag_map(inputs)
        if lost := sorted(former.keys() - tags.keys()):
            client.remove_tags_from_resource(ResourceName=old["arn"], TagKeys=lost)
        if changed := {key: value for key, value in tags.items() if former.get(key) != value}:
            client.add_tags_to_resource(ResourceName=old["arn"], Tags=tagging.to_api(changed))

    @staticmethod
    def tags_of(client: Any, arn: str) -> tagging.Tags:
        return tagging.from_api(client.list_tags_for_resource(ResourceName=arn)["TagList"])


class SubnetGroup(RdsResource):
    token, what = "aws:rds/subnetGroup:SubnetGroup", "RDS DB Subnet Group"
    named = "name"
    replace_on = ("name", "namePrefix", "region")
    computed = ("arn", "supportedNetworkTypes", "tagsAll", "vpcId")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        client.create_db_subnet_group(
            DBSubnetGroupName=inputs["name"],
            DBSubnetGroupDescription=inputs.get("description", "Managed by Pulumi"),
            SubnetIds=inputs["subnetIds"],
            **self.tagged(inputs),
        )
        return str(inputs["name"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        if any(old.get(name) != inputs.get(name) for name in ("description", "subnetIds")):
            client.modify_db_subnet_group(
                DBSubnetGroupName=id,
                DBSubnetGroupDescription=inputs.get("description", "Managed by Pulumi"),
                SubnetIds=inputs["subnetIds"],
            )
        self.retag(client, old, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_db_subnet_groups(DBSubnetGroupName=id)["DBSubnetGroups"][0]
        return {
            "arn": found["DBSubnetGroupArn"],
            "description": found["DBSubnetGroupDescription"],
            "name": found["DBSubnetGroupName"],
            "subnetIds": [one["SubnetIdentifier"] for one in found["Subnets"]],
            "supportedNetworkTypes": ["IPV4"],
            "tags": self.tags_of(client, found["DBSubnetGroupArn"]),
            "vpcId": found["VpcId"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_db_subnet_group(DBSubnetGroupName=id)


class ParameterGroup(RdsResource):
    token, what = "aws:rds/parameterGroup:ParameterGroup", "RDS DB Parameter Group"
    named = "name"
    replace_on = ("description", "family", "name", "namePrefix", "region")
    computed = ("arn", "tagsAll")

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        listed = inputs.get("parameters")
        in_order = sorted(listed, key=lambda one: str(one["name"])) if isinstance(listed, list) else listed
        return {**super().comparable(inputs), "parameters": in_order}

    def make(self, client: Any, inputs: PropertyMap) -> str:
        client.create_db_parameter_group(
            DBParameterGroupName=inputs["name"],
            DBParameterGroupFamily=inputs["family"],
            Description=inputs.get("description", "Managed by Pulumi"),
            **self.tagged(inputs),
        )
        return str(inputs["name"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        # After the creation, as in the real provider: a database must not be created before that.
        if inputs.get("parameters"):
            parameters = [
                {
                    "ParameterName": one["name"],
                    "ParameterValue": one["value"],
                    "ApplyMethod": one.get("applyMethod", "immediate"),
                }
                for one in inputs["parameters"]
            ]
            client.modify_db_parameter_group(DBParameterGroupName=id, Parameters=parameters)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        self.finish(client, id, inputs)
        self.retag(client, old, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        groups = client.describe_db_parameter_groups(DBParameterGroupName=id)["DBParameterGroups"]
        if not groups:
            return None
        found = groups[0]
        real = {
            one["ParameterName"]: one
            for one in client.describe_db_parameters(DBParameterGroupName=id)["Parameters"]
        }
        # In the order of the program: a set in the real provider.
        names = [one["name"] for one in state.get("parameters") or []]
        names = [*(name for name in names if name in real), *(name for name in real if name not in names)]
        return {
            "arn": found["DBParameterGroupArn"],
            "description": found["Description"],
            "family": found["DBParameterGroupFamily"],
            "name": found["DBParameterGroupName"],
            "parameters": [
                {
                    "name": name,
                    "value": real[name]["ParameterValue"],
                    "applyMethod": real[name]["ApplyMethod"],
                }
                for name in names
            ],
            "tags": self.tags_of(client, found["DBParameterGroupArn"]),
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        client.delete_db_parameter_group(DBParameterGroupName=id)


_CHANGED = {
    "allocatedStorage": "AllocatedStorage",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "deletionProtection": "DeletionProtection",
    "engineVersion": "EngineVersion",
    "instanceClass": "DBInstanceClass",
    "multiAz": "MultiAZ",
    "parameterGroupName": "DBParameterGroupName",
    "password": "MasterUserPassword",
    "publiclyAccessible": "PubliclyAccessible",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
}
"""Input -> its name in CreateDBInstance and ModifyDBInstance."""
_CREATED = {
    **_CHANGED,
    "availabilityZone": "AvailabilityZone",
    "dbName": "DBName",
    "engine": "Engine",
    "identifier": "DBInstanceIdentifier",
    "kmsKeyId": "KmsKeyId",
    "port": "Port",
    "storageEncrypted": "StorageEncrypted",
    "username": "MasterUsername",
}
_NOT_HERE = (
    "identifierPrefix",
    "replicateSourceDb",
    "restoreToPointInTime",
    "s3Import",
    "snapshotIdentifier",
)


class Instance(RdsResource):
    """Its id is AWS's resource id, as since version 5 of Terraform's provider."""

    token, what = "aws:rds/instance:Instance", "RDS DB Instance"
    replace_on = (
        "availabilityZone",
        "characterSetName",
        "customIamInstanceProfile",
        "dbName",
        "engine",
        "kmsKeyId",
        "region",
        "storageEncrypted",
        "timezone",
        "username",
    )
    computed = (
        "address",
        "arn",
        "availabilityZone",
        "backupWindow",
        "caCertIdentifier",
        "endpoint",
        "engineVersionActual",
        "hostedZoneId",
        "kmsKeyId",
        "latestRestorableTime",
        "licenseModel",
        "maintenanceWindow",
        "optionGroupName",
        "replicas",
        "resourceId",
        "status",
        "tagsAll",
    )
    patience = 60.0
    """Seconds until an instance is available; 40 minutes in the real provider."""

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        found = [(name, "the lab's stand-in has new instances only") for name in _NOT_HERE if name in values]
        if "identifier" not in values:
            found.append(("identifier", "the lab's stand-in wants an identifier"))
        snapshot = values.get("finalSnapshotIdentifier")
        if (
            isinstance(snapshot, str)
            and not is_unknown(snapshot)
            and ("--" in snapshot or snapshot[-1] == "-")
        ):
            found.append(
                ("finalSnapshotIdentifier", "cannot contain two consecutive hyphens or end in a hyphen")
            )
        return found

    def deleted_first(self, name: str, old: PropertyMap, new: PropertyMap) -> bool:
        return old.get("identifier") == new.get("identifier")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        asked = {api: inputs[name] for name, api in _CREATED.items() if inputs.get(name) is not None}
        made = client.create_db_instance(**asked, **self.tagged(inputs))["DBInstance"]
        return str(made["DbiResourceId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        deadline = time.monotonic() + self.patience
        while (status := self._found(client, id)["DBInstanceStatus"]) != "available":
            if status == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"waiting for completion: unexpected state '{status}', wanted 'available'")
            time.sleep(0.2)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        changed = {
            api: inputs[name]
            for name, api in _CHANGED.items()
            if inputs.get(name) is not None and old.get(name) != inputs[name]
        }
        if changed:
            client.modify_db_instance(
                DBInstanceIdentifier=old["identifier"],
                ApplyImmediately=bool(inputs.get("applyImmediately")),
                AllowMajorVersionUpgrade=bool(inputs.get("allowMajorVersionUpgrade")),
                **changed,
            )
        self.retag(client, old, inputs)
        self.finish(client, id, inputs)

    @staticmethod
    def _found(client: Any, id: str) -> dict[str, Any]:
        by_id = [{"Name": "dbi-resource-id", "Values": [id]}]
        found: list[dict[str, Any]] = client.describe_db_instances(Filters=by_id)["DBInstances"]
        return found[0] if found else {"DBInstanceStatus": "failed"}

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        found = self._found(client, id)
        if "DBInstanceArn" not in found:
            return None
        actual, stated = found["EngineVersion"], str(state.get("engineVersion") or "")
        endpoint = found.get("Endpoint") or {}
        return {
            "address": endpoint.get("Address"),
            "allocatedStorage": found["AllocatedStorage"],
            "arn": found["DBInstanceArn"],
            "autoMinorVersionUpgrade": found["AutoMinorVersionUpgrade"],
            "availabilityZone": found.get("AvailabilityZone"),
            "backupRetentionPeriod": found["BackupRetentionPeriod"],
            "backupWindow": found.get("PreferredBackupWindow"),
            "caCertIdentifier": found.get("CACertificateIdentifier"),
            "copyTagsToSnapshot": found["CopyTagsToSnapshot"],
            "dbName": found.get("DBName"),
            "dbSubnetGroupName": (found.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
            "deletionProtection": found["DeletionProtection"],
            "endpoint": f"{endpoint.get('Address')}:{endpoint.get('Port')}",
            "engine": found["Engine"],
            # A prefix in the program stays, whatever the minor version is.
            "engineVersion": stated if stated and f"{actual}.".startswith(f"{stated}.") else actual,
            "engineVersionActual": actual,
            "identifier": found["DBInstanceIdentifier"],
            "instanceClass": found["DBInstanceClass"],
            "kmsKeyId": found.get("KmsKeyId"),
            "licenseModel": found.get("LicenseModel"),
            "maintenanceWindow": found.get("PreferredMaintenanceWindow"),
            "multiAz": found["MultiAZ"],
            "parameterGroupName": found["DBParameterGroups"][0]["DBParameterGroupName"],
            "port": endpoint.get("Port"),
            "publiclyAccessible": found["PubliclyAccessible"],
            "resourceId": id,
            "status": found["DBInstanceStatus"],
            "storageEncrypted": found["StorageEncrypted"],
            "storageType": found["StorageType"],
            "tags": self.tags_of(client, found["DBInstanceArn"]),
            "username": found["MasterUsername"],
            "vpcSecurityGroupIds": [one["VpcSecurityGroupId"] for one in found["VpcSecurityGroups"]],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        asked: dict[str, Any] = {"SkipFinalSnapshot": bool(state.get("skipFinalSnapshot"))}
        if not asked["SkipFinalSnapshot"]:
            if not state.get("finalSnapshotIdentifier"):
                # From the state: a value that only the program has is not enough.
                raise RuntimeError("final_snapshot_identifier is required when skip_final_snapshot is false")
            asked |= {"FinalDBSnapshotIdentifier": state["finalSnapshotIdentifier"]}
        client.delete_db_instance(
            DBInstanceIdentifier=state["identifier"],
            DeleteAutomatedBackups=state.get("deleteAutomatedBackups", True),
            **asked,
        )


TYPES: tuple[type[AwsResource], ...] = (SubnetGroup, ParameterGroup, Instance)
