"""The configuration, resolved once: every default applied, each part for one component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from config.model import Deployment
from config.storage_drivers.identity import shown
from plan import (
    aws,
    database,
    existing_storage,
    external_registry,
    lock_file,
    next_steps,
    node,
    secrets,
    storage,
)
from plan.aws import AwsSitePlan
from plan.existing_storage import ExistingStoragePlan
from plan.external_registry import Edit
from plan.lock_file import LockFilePlan
from plan.next_steps import StepsPlan
from plan.node import HostPlan
from plan.secrets import SecretsPlan
from plan.storage import BucketPlan, SiteStoragePlan


@dataclass(frozen=True)
class ManualRegistryPlan:
    """An external registry that you configure manually: the lines for it, and the secrets in them."""

    site: str
    edits: list[Edit] = field(repr=False)
    secret_names: list[str]

    def lines(self, values: Mapping[str, str]) -> dict[str, str]:
        """`config.yml` and `certificate`, with the secrets' values."""
        return {
            "config.yml": external_registry.snippet(self.site, self.edits, values),
            "certificate": values["registry_certificate"],
        }


@dataclass(frozen=True)
class SitePlan:
    """A site. `hosts`: its nodes and the hosts of its external registry, those with a registry first.

    `overview`: the part of the output `sites` that is known beforehand. `aws`: None for existing hosts.
    """

    name: str
    role: Literal["primary", "secondary"]
    external_url: str
    registry_url: str
    hosts: dict[str, HostPlan]
    overview: dict[str, Any]
    storage: SiteStoragePlan
    aws: AwsSitePlan | None
    manual_registry: ManualRegistryPlan | None


@dataclass(frozen=True)
class DeploymentPlan:
    """A whole deployment. `protect`: whether a destroy must not delete what created nodes depend on."""

    primary: str
    gitlab_version: str
    sites: dict[str, SitePlan]
    secrets: SecretsPlan
    buckets: dict[str, BucketPlan]
    existing_storage: ExistingStoragePlan | None
    lock_file: LockFilePlan | None
    next_steps: StepsPlan
    protect: bool

    @property
    def hosts(self) -> dict[str, HostPlan]:
        """All hosts of all sites, by name."""
        return {name: host for site in self.sites.values() for name, host in site.hosts.items()}


def resolve(d: Deployment) -> DeploymentPlan:
    """The plan of a valid configuration."""
    return DeploymentPlan(
        primary=d.primary,
        gitlab_version=d.gitlab_version,
        sites={name: _site(d, name) for name in d.sites},
        secrets=secrets.secrets(d),
        buckets=storage.buckets(d),
        existing_storage=existing_storage.existing_storage(d),
        lock_file=lock_file.lock_file(d),
        next_steps=next_steps.steps_plan(d),
        protect=d.protected,
    )


def _site(d: Deployment, name: str) -> SitePlan:
    site, driver = d.sites[name], d.driver_of(name)
    manual = site.registry_kind == "manual"
    kept = "kept as it was, not looked at" if manual else "kept as it was"
    role, site_storage = d.role(name), storage.site_storage(d, name)
    edits = external_registry.edits(d, name, external_registry.CERTIFICATE) if manual else []
    return SitePlan(
        name=name,
        role=role,
        external_url=site.external_url,
        registry_url=site.registry_url,
        hosts=node.hosts(d, name),
        overview={
            "role": role,
            "registry": site.registry_url,
            "storage": shown(driver) if driver else kept,
            "metadata": database.shown(site),
            "read_only": d.read_only(name),
        },
        storage=site_storage,
        aws=aws.aws_site(d, name, site_storage.role),
        manual_registry=ManualRegistryPlan(name, edits, external_registry.secret_names(edits))
        if manual
        else None,
    )
