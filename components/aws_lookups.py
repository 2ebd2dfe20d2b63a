"""AWS: one explicit provider per site or region, and lookups before anything is created."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import pulumi
import pulumi_aws as aws

from components.aws_instance import INSTANCE_TAG, instance_name
from config.aws import ARCHITECTURES
from config.errors import ConfigError, report
from plan.aws import AwsSitePlan, InstancePlan
from plan.aws_database import AwsDatabasePlan

GITLAB_AWS_ACCOUNT_ID = "782774275127"
"""The account that GitLab publishes its images from (docs.gitlab.com, "Amazon Machine Images")."""

_THROTTLED = ("RequestLimitExceeded", "Throttling", "TooManyRequests", "SlowDown")
"""AWS' error codes for too many requests (EC2, "API throttling"; others in IAM, Route 53 and S3)."""
_DENIED = ("UnauthorizedOperation", "AccessDenied")

T = TypeVar("T")


class AwsProviders:
    """Each has its region and sets the stack's tags on all resources.

    `of_site(plan)`: for the hosts of a site that is created; `of_storage(region)`: for the buckets of a
    region and their users. A provider is created when it is first needed.
    """

    def __init__(self, name: str, parent: pulumi.Resource) -> None:
        self._name, self._parent = name, parent
        self._providers: dict[str, aws.Provider] = {}

    def of_site(self, plan: AwsSitePlan) -> aws.Provider:
        return self._provider(f"{self._name}-{plan.site}-aws", plan.region, {**stack_tags(), **plan.tags})

    def of_storage(self, region: str) -> aws.Provider:
        return self._provider(f"{self._name}-storage-{region}", region, stack_tags())

    def _provider(self, name: str, region: str, tags: dict[str, str]) -> aws.Provider:
        if name not in self._providers:
            self._providers[name] = aws.Provider(
                name,
                region=region,
                default_tags=aws.ProviderDefaultTagsArgs(tags=tags),
                # With the default of 25, each with twice the pause of the one before, a lasting shortage of
                # instances would be reported after hours. Six are enough for half a minute of throttling.
                max_retries=6,
                opts=pulumi.ResourceOptions(parent=self._parent),
            )
        return self._providers[name]


def stack_tags() -> dict[str, str]:
    return {"pulumi-project": pulumi.get_project(), "pulumi-stack": pulumi.get_stack()}


def image_names(version: str) -> list[str]:
    """The names of GitLab's images of a version: `GitLab EE 18.5.1`, and `GitLab EE 18.5.1 (ARM64)`.

    Source: omnibus-gitlab, support/packer/ee.pkr.hcl and ee-arm64.pkr.hcl.
    """
    plain = re.sub(r"-.*", "", version)
    return (
        [f"GitLab EE {plain}.*"] if plain.count(".") < 2 else [f"GitLab EE {plain}", f"GitLab EE {plain} *"]
    )


class AwsLookups:
    """Lookups before anything is created: `images`: node → the id of its AMI; `zones`: site → the id of its
    Route 53 zone; `database_zones`: site → the availability zones of its database's subnets.

    Raises pulumi.RunError with all errors.
    """

    images: dict[str, str]
    zones: dict[str, str]
    database_zones: dict[str, list[str]]

    def __init__(
        self,
        version: str,
        sites: Sequence[AwsSitePlan],
        providers: AwsProviders,
        node_names: Mapping[str, str],
    ) -> None:
        self.images, self.zones, self.database_zones = {}, {}, {}
        errors: list[ConfigError] = []
        for site in sites:
            opts = pulumi.InvokeOptions(provider=providers.of_site(site))
            instances = [*site.instances.values()]
            newest: dict[str, str | None] = {}
            for kind in sorted({one.architecture for one in instances if not one.ami}):
                newest[kind] = _newest_image(version, kind, opts)
                if newest[kind] is None:
                    errors.append(_no_image(version, site, kind))
            self.images |= {
                one.node: image for one in instances if (image := one.ami or newest.get(one.architecture))
            }
            errors += _replaced(site, node_names, opts)
            if site.database and site.database.subnets:
                self.database_zones[site.site] = two = _database_zones(site.database, opts)
                errors += [] if len(two) == 2 else [_no_database_zones(site, two)]
            if site.hosted_zone:
                try:
                    self.zones[site.site] = _zone(site.hosted_zone, opts)
                except LookupError:
                    errors.append(_no_zone(site.site, site.hosted_zone))
        if errors:
            raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", errors))


def _newest_image(version: str, kind: str, opts: pulumi.InvokeOptions) -> str | None:
    filters = [
        aws.ec2.GetAmiIdsFilterArgs(name="name", values=image_names(version)),
        aws.ec2.GetAmiIdsFilterArgs(name="architecture", values=[kind]),
    ]
    # Newest first; the image of an older release is deprecated after two years, but still the right one.
    images = call_aws(
        lambda: (
            aws.ec2.get_ami_ids(
                owners=[GITLAB_AWS_ACCOUNT_ID], filters=filters, include_deprecated=True, opts=opts
            ).ids
        )
    )
    return images[0] if images else None


def _no_image(version: str, site: AwsSitePlan, kind: str) -> ConfigError:
    return ConfigError(
        "image-not-found",
        f"sites.{site.site}.aws.region",
        f"{site.region!r} has no image of GitLab EE {version} for {kind}",
        expectation="a region and gitlab_version for which GitLab published an image, or your own image in "
        "aws.ami",
        consequence="no node could be created there",
        example="eu-west-1",
    )


def _replaced(
    site: AwsSitePlan, node_names: Mapping[str, str], opts: pulumi.InvokeOptions
) -> Iterator[ConfigError]:
    """Instances whose processor architecture would change, which AWS cannot do.

    The provider would replace such an instance and delete its disk, protected or not.
    """
    for kind in ARCHITECTURES:
        wanted = {
            instance_name(node_names[name], one): one
            for name, one in site.instances.items()
            if one.architecture == kind
        }
        others = [other for other in ARCHITECTURES if other != kind]
        if not wanted or not _instances([*wanted], others, opts):
            continue
        for name, one in wanted.items():
            if ids := _instances([name], others, opts):
                yield _another_architecture(one, ids[0])


def _instances(
    names: Sequence[str], architectures: Sequence[str], opts: pulumi.InvokeOptions
) -> Sequence[str]:
    """The ids of this stack's instances of these names and architectures."""
    tags = {INSTANCE_TAG: names, **{key: [value] for key, value in stack_tags().items()}}
    filters = [aws.ec2.GetInstancesFilterArgs(name=f"tag:{key}", values=[*v]) for key, v in tags.items()]
    filters.append(aws.ec2.GetInstancesFilterArgs(name="architecture", values=[*architectures]))
    states = ["pending", "running", "stopping", "stopped"]
    return call_aws(
        lambda: aws.ec2.get_instances(filters=filters, instance_state_names=states, opts=opts).ids
    )


def _another_architecture(plan: InstancePlan, instance: str) -> ConfigError:
    return ConfigError(
        "architecture-mismatch",
        plan.type_key,
        f"{plan.instance_type!r} is for {plan.architecture}, and the instance of {plan.node} ({instance}) "
        "has another processor",
        expectation="an instance type for the same processor, or a higher replace after a backup of the node",
        consequence="AWS cannot change the processor: the node would be replaced, and its disk deleted",
        example=f"{plan.key}.replace: {plan.replace + 1}",
    )


def _database_zones(plan: AwsDatabasePlan, opts: pulumi.InvokeOptions) -> list[str]:
    """Two availability zones of the region, among them that of the nodes if it is configured."""
    # Not local zones, which a database cannot be in.
    kind = aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"])
    found = call_aws(lambda: aws.get_availability_zones(state="available", filters=[kind], opts=opts).names)
    return sorted(found, key=lambda zone: (zone != plan.zone, zone))[:2]


def _no_database_zones(site: AwsSitePlan, found: Sequence[str]) -> ConfigError:
    return ConfigError(
        "database-zones-missing",
        f"sites.{site.site}.metadata_database.create",
        f"{site.region!r} has {len(found)} availability zones for this account",
        expectation="a region with two availability zones",
        consequence="AWS refuses a database without subnets in two availability zones",
        example="eu-west-1",
    )


def _zone(name: str, opts: pulumi.InvokeOptions) -> str:
    """The id of the account's public zone of that name. Raises LookupError where there is none."""
    return call_aws(lambda: aws.route53.get_zone(name=name, private_zone=False, opts=opts).zone_id)


def _no_zone(site: str, zone: str) -> ConfigError:
    return ConfigError(
        "hosted-zone-not-found",
        f"sites.{site}.aws.hosted_zone",
        f"{zone!r} is not a public Route 53 zone of this account",
        expectation="a public Route 53 zone of this account, or no hosted_zone",
        consequence="the site's host names could not be created, and Let's Encrypt looks for them",
        example="leave it out and create both host names yourself",
    )


def call_aws(request: Callable[[], T]) -> T:
    """What AWS answers. Raises LookupError if it has no such thing, otherwise pulumi.RunError."""
    try:
        return request()
    except Exception as error:  # noqa: BLE001 (the SDK raises nothing more exact)
        if "no matching" in str(error):
            raise LookupError(str(error)) from None
        code, remedy = _remedy(str(error))
        raise pulumi.RunError(
            f"An AWS API call failed; nothing was changed. [{code}]\n  {error}\n  do: {remedy}"
        ) from None


def _remedy(error: str) -> tuple[str, str]:
    """The message's code, and what to do."""
    if any(name in error for name in _THROTTLED):
        return "aws-request-throttled", _WAIT
    if any(name in error for name in _DENIED):
        return "aws-request-denied", _GRANT
    # Most often the credentials are wrong: these are the first requests to AWS.
    return "aws-request-failed", _CHECK


_WAIT = (
    "wait some minutes and run the same command again: AWS limits the requests of an account and region, "
    "and others use them up at the moment. The credentials are not the cause"
)
_GRANT = "grant the role the action that is named: ci/preview-role.json, and for changes ci/up-role.json"
_CHECK = "check the credentials in your environment (aws sts get-caller-identity) and the region"
