"""The policies of ci/ as the lab's AWS can enforce them: a user who has them and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.api import Lab

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "acme-gitlab-registry"


def document(lab: Lab, *names: str) -> dict[str, Any]:
    """These files of ci/ in one, their words in capitals filled in.

    What moto cannot judge is left out: ARNs of EC2 and all conditions. Of S3 it calls one action by its
    request's name.
    """
    zone = lab.route53().list_hosted_zones()["HostedZones"][0]["Id"].rpartition("/")[2]
    values = {
        "REGISTRY-BUCKET": BUCKET,
        "ZONE-ID": zone,
        "ACCOUNT-ID": lab.sts().get_caller_identity()["Account"],
    }
    statements = []
    for name in names:
        text = (ROOT / "ci" / name).read_text()
        for word, value in values.items():
            text = text.replace(word, value)
        statements += json.loads(text)["Statement"]
    for statement in statements:
        statement.pop("Condition", None)
        actions = statement["Action"] = [
            *([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        ]
        if actions[0].startswith("ec2:"):
            statement["Resource"] = "*"
        if "s3:ListBucket" in actions:
            actions.append("s3:HeadBucket")
    # A name of a statement stands once in a policy.
    return {
        "Version": "2012-10-17",
        "Statement": [{k: v for k, v in s.items() if k != "Sid"} for s in statements],
    }


def permitted(lab: Lab, user: str, *names: str) -> dict[str, str]:
    """The environment with the key of a new user who has the permissions of these files, and no others."""
    iam = lab.iam()
    iam.create_user(UserName=user)
    allow(lab, user, document(lab, *names))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def allow(lab: Lab, user: str, permissions: dict[str, Any]) -> None:
    """Give the user these permissions in place of the former ones."""
    lab.iam().put_user_policy(UserName=user, PolicyName=user, PolicyDocument=json.dumps(permissions))
