"""The resources that a policy's `Resource` is compared with, where moto uses "*".

They are those of IAM, RDS, Route 53 and S3 Control.

For EC2, moto also compares with "*" and ignores tags: policies with tag conditions cannot be tested in the
lab. It does not check iam:PassRole, treats a condition that it cannot evaluate as a denial, and refuses
requests to Route 53 and S3 Control with status 403, but without a code that SDKs can read.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from moto.core.responses import BaseResponse
from moto.iam.responses import IamResponse
from moto.rds.responses import RDSResponse
from moto.route53.responses import Route53
from moto.s3control.responses import S3ControlResponse

_KINDS = {"InstanceProfileName": "instance-profile", "RoleName": "role", "UserName": "user"}
"""In this order: AddRoleToInstanceProfile is about the profile."""
_DATABASE_KINDS = {"DBInstanceIdentifier": "db", "DBSubnetGroupName": "subgrp", "DBParameterGroupName": "pg"}
"""In this order: CreateDBInstance is about all three, and AWS asks for each."""


def prepare() -> None:
    """Change moto, before it serves its first request."""
    IamResponse._determine_resource = _named  # type: ignore[method-assign]  # noqa: SLF001 (moto asks for it)
    RDSResponse._determine_resource = _database  # type: ignore[attr-defined]  # noqa: SLF001
    Route53._determine_resource = _zone  # type: ignore[attr-defined]  # noqa: SLF001
    S3ControlResponse._determine_resource = _tagged  # type: ignore[attr-defined]  # noqa: SLF001


def _named(self: IamResponse) -> str:
    for parameter, kind in _KINDS.items():
        if names := self.data.get(parameter):
            return f"arn:aws:iam::{self.current_account}:{kind}/{names[0]}"
    return "*"


def _database(self: RDSResponse) -> str:
    if arn := self.data.get("ResourceName"):  # of a request about tags
        return str(arn[0])
    for parameter, kind in _DATABASE_KINDS.items():
        if names := self.data.get(parameter):
            return f"arn:aws:rds:{self.region}:{self.current_account}:{kind}:{names[0]}"
    return "*"


def _zone(self: BaseResponse) -> str:
    found = re.search(r"/(hostedzone|change)/([A-Za-z0-9]+)", self.path)
    return f"arn:aws:route53:::{found[1]}/{found[2]}" if found else "*"


def _tagged(self: BaseResponse) -> str:
    found = re.search(r"/tags/([^?]+)", unquote(self.path))
    return found[1] if found else "*"
