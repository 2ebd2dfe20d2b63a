"""The plugin: `python -m lab.providers.aws` is pulumi-resource-aws."""

from __future__ import annotations

from lab.providers.aws import (
    ec2,
    ec2_addresses,
    ec2_groups,
    ec2_instance,
    ec2_network,
    ec2_routes,
    exclusive,
    functions,
    iam,
    iam_roles,
    rds,
    route53,
    s3,
    s3_settings,
    schema,
)
from lab.providers.aws.api import Api
from lab.providers.aws.base import AwsResource
from lab.providers.plugin import main
from lab.providers.servicer import Servicer

VERSION = "7.51.1"
_TYPES: tuple[type[AwsResource], ...] = (
    s3.Bucket,
    *s3_settings.TYPES,
    *iam.TYPES,
    *iam_roles.TYPES,
    *ec2.TYPES,
    *ec2_network.TYPES,
    *ec2_routes.TYPES,
    *ec2_groups.TYPES,
    *ec2_addresses.TYPES,
    *ec2_instance.TYPES,
    *rds.TYPES,
    *route53.TYPES,
    *exclusive.TYPES,
)


def servicer() -> Servicer:
    api = Api()
    resources = {kind.token: kind(api) for kind in _TYPES}
    schema.prepare(resources)
    return Servicer(VERSION, resources, functions.table(api), api.configure)


if __name__ == "__main__":
    main(servicer())
