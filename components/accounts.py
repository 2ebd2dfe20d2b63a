"""The AWS side of a stack: one explicit provider a region, and what is looked up before anything is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pulumi
import pulumi_aws as aws

from components.host import SERVER_TAG, server_name
from omnibus.machines import ARCHITECTURES, Aws, architecture
from omnibus.model import Deployment, Node
from omnibus.problems import Problem, report

GITLAB = "782774275127"
"""The account that GitLab publishes its images from (docs.gitlab.com, "Amazon Machine Images")."""

_THROTTLED = ("RequestLimitExceeded", "Throttling", "TooManyRequests", "SlowDown")
"""What AWS calls too many requests (EC2, "API throttling"; IAM, Route 53 and S3 have words of their own)."""
_DENIED = ("UnauthorizedOperation", "AccessDenied")

T = TypeVar("T")


class Providers:
    """Each has its region and puts the stack's tags on all that it makes."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._of_storage: dict[str, aws.Provider] = {}
        self._of_site = {name: self._make(f"{name}-aws", name, a) for name, a in deployment.created.items()}

    def of_site(self, site: str) -> aws.Provider:
        """For the hosts of a site that is created."""
        return self._of_site[site]

    def of_storage(self, region: str) -> aws.Provider:
        """For the buckets of a region, and the users that may read them."""
        if region not in self._of_storage:
            self._of_storage[region] = _provider(f"storage-{region}", region, _tags())
        return self._of_storage[region]

    def _make(self, name: str, site: str, of: Aws) -> aws.Provider:
        role = "primary" if site == self._deployment.primary else "secondary"
        tags = {**_tags(), "gitlab-geo-site": site, "gitlab-geo-role": role, **of.tags}
        return _provider(name, of.region, tags)


def _provider(name: str, region: str, tags: dict[str, str]) -> aws.Provider:
    return aws.Provider(
        name,
        region=region,
        default_tags=aws.ProviderDefaultTagsArgs(tags=tags),
        # Its default of 25, each with twice the pause of the one before, would tell of a lasting shortage of
        # servers after hours. Six outlast half a minute of throttling.
        max_retries=6,
    )


def _tags() -> dict[str, str]:
    return {"pulumi-project": pulumi.get_project(), "pulumi-stack": pulumi.get_stack()}


def image_names(version: str) -> list[str]:
    """What GitLab calls its images of a version: `GitLab EE 18.5.1`, and `GitLab EE 18.5.1 (ARM64)`.

    Source: omnibus-gitlab, support/packer/ee.pkr.hcl and ee-arm64.pkr.hcl.
    """
    plain = re.sub(r"-.*", "", version)
    return (
        [f"GitLab EE {plain}.*"] if plain.count(".") < 2 else [f"GitLab EE {plain}", f"GitLab EE {plain} *"]
    )


class Account:
    """`image(site, instance_type)`, `zone(site)`. Raises pulumi.RunError with all that is missing."""

    def __init__(self, deployment: Deployment, providers: Providers) -> None:
        self._images: dict[tuple[str, str], str] = {}
        self._zones: dict[str, str] = {}
        problems: list[Problem] = []
        for name, of in deployment.created.items():
            opts = pulumi.InvokeOptions(provider=providers.of_site(name))
            nodes = deployment.sites[name].nodes.values()
            wanted = {architecture(of.instance_type_of(n.aws)) for n in nodes if not (n.aws.ami or of.ami)}
            for kind in sorted(wanted):
                found = _newest_image(deployment.gitlab_version, kind, opts)
                if found is None:
                    problems.append(_no_image(deployment.gitlab_version, name, of, kind))
                else:
                    self._images[name, kind] = found
            problems += _replaced(deployment, name, of, opts)
            if of.hosted_zone:
                try:
                    self._zones[name] = _zone(of.hosted_zone, opts)
                except LookupError:
                    problems.append(_no_zone(name, of.hosted_zone))
        if problems:
            raise pulumi.RunError(report(f"Pulumi.{pulumi.get_stack()}.yaml", problems))

    def image(self, site: str, instance_type: str) -> str:
        return self._images[site, architecture(instance_type)]

    def zone(self, site: str) -> str | None:
        return self._zones.get(site)


def _newest_image(version: str, kind: str, opts: pulumi.InvokeOptions) -> str | None:
    filters = [
        aws.ec2.GetAmiIdsFilterArgs(name="name", values=image_names(version)),
        aws.ec2.GetAmiIdsFilterArgs(name="architecture", values=[kind]),
    ]
    # Newest first; an image of an older release is deprecated after two years, and is still the right one.
    found = asked(
        lambda: aws.ec2.get_ami_ids(owners=[GITLAB], filters=filters, include_deprecated=True, opts=opts).ids
    )
    return found[0] if found else None


def _no_image(version: str, site: str, of: Aws, kind: str) -> Problem:
    return Problem(
        f"sites.{site}.aws.region",
        f"{of.region!r} has no image of GitLab EE {version} for {kind}",
        "no server could be started there",
        "a region and gitlab_version that GitLab has published, or an image of your own in aws.ami",
    )


def _replaced(deployment: Deployment, site: str, of: Aws, opts: pulumi.InvokeOptions) -> Iterator[Problem]:
    """Servers that are there and run on another kind of processor than they shall: AWS cannot change it.

    The provider would replace such a server, and its disk would go with it, also where nothing is protected.
    """
    nodes = deployment.sites[site].nodes
    for kind in ARCHITECTURES:
        wanted = [name for name, node in nodes.items() if architecture(of.instance_type_of(node.aws)) == kind]
        others = [other for other in ARCHITECTURES if other != kind]
        if not wanted or not _servers([server_name(name, nodes[name]) for name in wanted], others, opts):
            continue
        for name in wanted:
            if servers := _servers([server_name(name, nodes[name])], others, opts):
                yield _another_architecture(site, name, of, nodes[name], servers[0])


def _servers(names: Sequence[str], architectures: Sequence[str], opts: pulumi.InvokeOptions) -> Sequence[str]:
    """The ids of this stack's servers of these names and architectures."""
    tags = {SERVER_TAG: names, **{key: [value] for key, value in _tags().items()}}
    filters = [aws.ec2.GetInstancesFilterArgs(name=f"tag:{key}", values=[*v]) for key, v in tags.items()]
    filters.append(aws.ec2.GetInstancesFilterArgs(name="architecture", values=[*architectures]))
    states = ["pending", "running", "stopping", "stopped"]
    return asked(lambda: aws.ec2.get_instances(filters=filters, instance_state_names=states, opts=opts).ids)


def _another_architecture(site: str, name: str, of: Aws, node: Node, server: str) -> Problem:
    size, key = of.instance_type_of(node.aws), f"sites.{site}.nodes.{name}.aws"
    return Problem(
        f"{key}.instance_type" if node.aws.instance_type else f"sites.{site}.aws.instance_type",
        f"{size!r} is for {architecture(size)}, and the server of {name} ({server}) has another processor",
        "AWS cannot change that: the server would be replaced, and its disk deleted with all that is on it",
        f"a type for the same processor; or back {name} up, and in the same change {key}.replace: "
        f"{node.aws.replace + 1}",
    )


def _zone(name: str, opts: pulumi.InvokeOptions) -> str:
    """The id of the account's public zone of that name. Raises LookupError where there is none."""
    return asked(lambda: aws.route53.get_zone(name=name, private_zone=False, opts=opts).zone_id)


def _no_zone(site: str, zone: str) -> Problem:
    return Problem(
        f"sites.{site}.aws.hosted_zone",
        f"{zone!r} is no public Route 53 zone of this account",
        "the site's names could not be made, and Let's Encrypt would look for them",
        "a zone that is there, or leave it out and make both names yourself",
    )


def asked(question: Callable[[], T]) -> T:
    """What AWS answers. LookupError where it knows no such thing; else pulumi.RunError says what to do."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 (the SDK raises nothing more exact)
        if "no matching" in str(error):
            raise LookupError(str(error)) from None
        raise pulumi.RunError(
            f"AWS could not be asked; nothing was touched.\n  {error}\n  do: {_remedy(str(error))}"
        ) from None


def _remedy(error: str) -> str:
    if any(code in error for code in _THROTTLED):
        return (
            "wait some minutes and run the same command again: AWS limits the requests of an account and "
            "region, and others use them up at this moment. The credentials are not the cause"
        )
    if any(code in error for code in _DENIED):
        return "give the role the action that is named: ci/preview-role.json, and for changes ci/up-role.json"
    # Most often the credentials are wrong: these are the first questions that AWS is asked.
    return "check the credentials in your environment (aws sts get-caller-identity) and the region"
