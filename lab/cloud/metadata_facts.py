"""What the metadata service reports to an instance, and the credentials of its role.

The credentials come from moto's STS, so that the role's policies are enforced for all their users.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from moto.ec2.models.instances import Instance
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from lab.cloud import desired_state
from lab.cloud.account import profile_role

LIFETIME = 6 * 3600
FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Credentials = dict[str, dict[str, str]]
"""By the role's ARN."""


def facts(id: str, instance: Instance, credentials: Credentials) -> dict[str, str]:
    """Path below /latest → text; `credentials` caches the role's credentials."""
    machine = desired_state.read().machines[id]
    meta = {
        "ami-id": instance.image_id,
        "instance-id": id,
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": machine.private,
        "mac": instance.nics[0].mac_address,
        "placement/availability-zone": str(instance.availability_zone),
        "placement/region": machine.region,
        "security-groups": "\n".join(group.name for group in instance.security_groups),
    }
    if machine.public:
        meta |= {"public-ipv4": machine.public, "public-hostname": _dns_name(machine)}
    if key := desired_state.public_key(id):
        meta["public-keys/0/openssh-key"] = key
    meta |= _role(instance, machine.region, credentials)
    tree = {f"meta-data/{path}": text for path, text in meta.items()}
    tree["dynamic/instance-identity/document"] = _identity(instance, machine)
    if data := desired_state.user_data(id):
        tree["user-data"] = data.decode(errors="replace")
    return tree


def _role(instance: Instance, region: str, credentials: Credentials) -> dict[str, str]:
    found = profile_role(instance)
    if found is None:
        return {}
    profile, role = found
    now = datetime.now(UTC).strftime(FORMAT)
    info = {
        "Code": "Success",
        "LastUpdated": now,
        "InstanceProfileArn": profile,
        "InstanceProfileId": instance.id,
    }
    name = role.rpartition("/")[2]
    return {
        "iam/info": json.dumps(info, indent=2),
        f"iam/security-credentials/{name}": json.dumps(
            _assume(role, region, instance, credentials), indent=2
        ),
    }


def _assume(role: str, region: str, instance: Instance, credentials: Credentials) -> dict[str, str]:
    """Credentials of the role for this instance, the same until shortly before they expire."""
    now = datetime.now(UTC)
    if not _trusts_ec2(role, instance.owner_id):
        return {
            "Code": "AssumeRoleUnauthorizedAccess",
            "Message": f"EC2 cannot assume the role {role.rpartition('/')[2]}.",
            "LastUpdated": now.strftime(FORMAT),
        }
    known = credentials.get(role)
    if known is None or datetime.strptime(known["Expiration"], FORMAT).replace(tzinfo=UTC) < now:
        assumed = sts_backends[instance.owner_id]["aws"].assume_role(
            region_name=region,
            role_session_name=instance.id,
            role_arn=role,
            policy="",
            duration=LIFETIME,
            external_id="",
        )
        known = {
            "Code": "Success",
            "LastUpdated": now.strftime(FORMAT),
            "Type": "AWS-HMAC",
            "AccessKeyId": assumed.access_key_id,
            "SecretAccessKey": assumed.secret_access_key,
            "Token": assumed.session_token,
            "Expiration": (now + timedelta(seconds=LIFETIME)).strftime(FORMAT),
        }
        credentials[role] = known
    return known


def _dns_name(machine: desired_state.Machine) -> str:
    zone = "compute-1" if machine.region == "us-east-1" else f"{machine.region}.compute"
    return f"ec2-{(machine.public or '').replace('.', '-')}.{zone}.amazonaws.com"


def _identity(instance: Instance, machine: desired_state.Machine) -> str:
    document = {
        "accountId": instance.owner_id,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "imageId": instance.image_id,
        "instanceId": machine.id,
        "instanceType": instance.instance_type,
        "pendingTime": instance.launch_time.strftime(FORMAT),
        "privateIp": machine.private,
        "region": machine.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


def _trusts_ec2(role: str, account: str) -> bool:
    """Whether the role's trust policy lets EC2 assume it."""
    document = iam_backends[account]["aws"].get_role_by_arn(role).assume_role_policy_document
    statements = json.loads(document)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        allowed = statement.get("Effect") == "Allow" and "sts:AssumeRole" in statement.get("Action", "")
        if allowed and "ec2.amazonaws.com" in ([services] if isinstance(services, str) else services):
            return True
    return False
