"""The plan of each host: settings, SSH connection, payloads of its program. Secrets are only named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config.model import Deployment
from config.site import Node
from config.ssh import ResolvedSsh
from omnibus import settings, versions
from omnibus.created_site import TLS_CERTIFICATE, TLS_KEY, CreatedNode
from omnibus.ruby import Secret, Template, template
from omnibus.settings import GitlabNode, NodeSettings
from plan import database, external_registry, storage
from plan.secrets import key_rotation

Payload = dict[str, Any]
"""The input of a program on a host, as JSON values; `Secret`, `Computed` and `Template` stand for values that
the components have; `Secret("revoked")`, for certificates' fingerprints."""

TRUSTED = "/etc/gitlab/trusted-certs"
SETTINGS = "-settings"
"""The end of the name of the session that applies a host's settings, in the stack."""
_PAIR = ["registry_key", "registry_certificate"]


@dataclass(frozen=True)
class HostPlan:
    """A host that the program configures over SSH: a GitLab node, or one with an external registry.

    `key`: its key in the configuration. `host`, `host_key`: None if this stack creates the host.
    `preview`: what a preview shows, setting → value. `after`: hosts of the site that are configured
    before. `trust`: None if the host has no registry, or no rotation of the registry key is under way.
    `verify`: None if the host verifies nothing on other hosts; `answering`: the hosts whose answers
    its verification depends on, including itself.
    """

    name: str
    site: str
    key: str
    host: str | None
    host_key: str | None
    ssh: ResolvedSsh
    preview: Mapping[str, str | Template]
    inspect: Payload
    apply: Payload = field(repr=False)
    trust: Payload | None
    verify: Payload | None
    after: tuple[str, ...]
    answering: tuple[str, ...]

    @property
    def created(self) -> bool:
        return self.host is None


@dataclass(frozen=True)
class NodePlan(HostPlan):
    """A GitLab node."""

    roles: tuple[str, ...]


@dataclass(frozen=True)
class ExternalHostPlan(HostPlan):
    """A host with a registry that the Linux package does not manage."""


def hosts(d: Deployment, site: str) -> dict[str, HostPlan]:
    """The hosts of a site by name, those with a registry first."""
    names = dict.fromkeys([*d.sites[site].registries, *d.sites[site].nodes])
    return {
        name: node_plan(d, site, name) if name in d.sites[site].nodes else external_plan(d, site, name)
        for name in names
    }


def node_plan(d: Deployment, site_name: str, name: str) -> NodePlan:
    site = d.sites[site_name]
    node = site.nodes[name]
    rendered = node_settings(d, site_name, name)
    payload = _payload(d, site_name, name)
    inspect = {**payload, "storage": storage.target(d, site_name)}
    # Replication deletes what the primary does not have: enabled only once the registry is read-only.
    after = site.registries if d.read_only(site_name) and name not in site.registries else []
    asks = site_name == d.primary or node.has_rails
    return NodePlan(
        name=name,
        site=site_name,
        key=f"sites.{site_name}.nodes.{name}",
        host=None if site.aws else node.host,
        host_key=node.host_key,
        ssh=d.ssh_of(site_name, name),
        preview={setting: template(value) for setting, value in rendered.preview.items()},
        inspect=inspect,
        apply={
            **inspect,
            "settings": template(rendered.text),
            "database": database.payload(site),
            "secrets_file": settings.SECRETS_FILE,
            "secrets": _named(rendered.secret_names),
            "storage": storage.access(d, site_name),
            "files": files(d, site_name, node),
            "revoked": Secret("revoked"),
        },
        trust={
            **payload,
            "secrets_file": settings.SECRETS_FILE,
            "secrets": _named(_PAIR),
            "files": {},
        }
        if node.has("registry") and key_rotation(d).overlapping
        else None,
        verify={**payload, "secrets": _named(_verification_secrets(d, site_name))} if asks else None,
        after=tuple(after),
        answering=_answering(d, site_name, name),
        roles=tuple(sorted(node.roles)),
    )


def node_settings(d: Deployment, site_name: str, name: str) -> NodeSettings:
    """The settings file of a node."""
    site, primary, version = d.sites[site_name], d.sites[d.primary], versions.parse(d.gitlab_version)
    node, registry = site.nodes[name], site.nodes[name].has("registry")
    return settings.node_settings(
        GitlabNode(
            name=name,
            site=site_name,
            primary=site_name == d.primary,
            version=version,
            rails=node.has("rails"),
            sidekiq=node.has("sidekiq"),
            registry=registry,
            external_url=site.external_url.rstrip("/"),
            registry_url=site.registry_url.rstrip("/"),
            registry_internal_url=site.own_registry_url,
            primary_url=primary.own_url,
            primary_registry_url=primary.own_registry_url,
            issuer=d.issuer,
            replication=d.replication,
            registry_http_addr=node.registry_http_addr,
            database=database.settings(site),
            database_managed=database.managed(site),
            storage=storage.registry_storage(d, site_name) if registry else None,
            created=_created(d, site_name, node),
        )
    )


def _created(d: Deployment, site_name: str, node: Node) -> CreatedNode | None:
    site = d.sites[site_name]
    if site.aws is None:
        return None
    return CreatedNode(
        site=site_name,
        primary=site_name == d.primary,
        external_url=site.external_url.rstrip("/"),
        rails=node.has("rails"),
        registry=node.has("registry"),
        certificate=site.aws.tls.certificate is not None,
        letsencrypt_email=site.aws.tls.letsencrypt_email,
    )


def files(d: Deployment, site_name: str, node: Node) -> dict[str, str]:
    """path → content of the certificates that are provided for a node.

    One file per trusted certificate: the Linux package ignores a file with several
    (gitlab-ctl's and the cookbook's CertificateHelper).
    """
    certificate = r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----"
    trusted = re.findall(certificate, d.trusted_certificates, re.DOTALL)
    paths = {f"{TRUSTED}/geo-registry-{n}.crt": f"{text}\n" for n, text in enumerate(trusted, 1)}
    tls = aws.tls if (aws := d.sites[site_name].aws) else None
    if tls and tls.certificate and tls.private_key and node.has("rails"):
        paths |= {TLS_CERTIFICATE: tls.certificate, TLS_KEY: tls.private_key.get_secret_value()}
    return paths


def _payload(d: Deployment, site_name: str, name: str) -> Payload:
    """The part of the payload that all verbs of the program on a node need; no secrets."""
    kind, site, primary = d.role(site_name), d.sites[site_name], d.sites[d.primary]
    node = site.nodes[name]
    beside = node.has("registry") and not node.registry_http_addr
    return {
        "node": name,
        "site": site_name,
        "kind": kind,
        "roles": sorted(node.roles),
        "resource": f"{kind}/{name}",
        "created": site.aws is not None,
        "issuer": d.issuer,
        # For secondaries only: the setting does not affect a primary.
        "replication": kind == "secondary" and d.replication,
        # Otherwise another node of the site could have filled its metadata database; one that the stack
        # creates has no other users, and a replaced node finds its images there.
        "alone": len(site.registries) == 1 and site.created_database is None,
        "read_only": d.read_only(site_name),
        "data_moved": d.storage.data_moved,
        "registry_url": site.own_registry_url,
        "registry_kind": site.registry_kind,
        # The URLs that users and GitLab use; None: GitLab uses the address where the local registry listens.
        "public": {
            "external_url": site.external_url.rstrip("/"),
            "registry_url": site.registry_url.rstrip("/"),
            "api_url": None if beside else site.own_registry_url,
        },
        "registry_url_changes": site.registry_url_changes,
        "database": database.known(site),
        "primary": {
            "site": d.primary,
            "external_url": primary.own_url,
            "events_url": external_registry.events_url(d),
            "registry_url": primary.own_registry_url,
            "registry_kind": primary.registry_kind,
        },
        "reconfigure_seconds": d.reconfigure_seconds,
        "triggers": {"proof": d.proof},
    }


def _verification_secrets(d: Deployment, site_name: str) -> list[str]:
    return [*_PAIR, "notification_secret"] if site_name == d.primary else _PAIR


def _answering(d: Deployment, site_name: str, name: str) -> tuple[str, ...]:
    """The hosts whose answers a host's verification depends on, including itself.

    A registry of the primary checks that GitLab accepts its notifications, a node without a registry checks
    its site's registry, and Rails and Sidekiq of a secondary check the primary's.
    """
    site, primary = d.sites[site_name], d.sites[d.primary]
    names = {name: None}
    if name not in site.registries:
        names |= dict.fromkeys(site.registries)
    if site_name != d.primary:
        names |= dict.fromkeys(primary.registries)
    elif name in site.registries or site.registry_kind == "manual":
        names |= dict.fromkeys(site.nodes_with("rails"))
    return tuple(names)


def external_plan(d: Deployment, site_name: str, name: str) -> ExternalHostPlan:
    site = d.sites[site_name]
    host, primary, driver = site.external_hosts[name], site_name == d.primary, d.driver_of(site_name)
    edits = external_registry.edits(d, site_name, host.certificate)
    names = external_registry.secret_names(edits)
    inspect: Payload = {
        "node": name,
        "site": site_name,
        "config": host.config,
        "reconfigure_seconds": d.reconfigure_seconds,
        "secrets": {},
    }
    apply: Payload = {
        **inspect,
        "resource": f"{d.role(site_name)}/{name}",
        "certificate": host.certificate,
        "certificate_text": Secret("registry_certificate"),
        "restart": host.restart,
        "edits": edits,
        "secrets": _named(names),
        "storage": storage.shown_identity(driver) if driver else None,
        "data_moved": d.storage.data_moved,
        "challenge": {
            "realm": external_registry.realm(d, site_name),
            "service": external_registry.SERVICE,
        },
        "registry_url": site.own_registry_url,
        # Otherwise another host could answer for the site.
        "alone": len(site.external_hosts) == 1,
        "triggers": {"proof": d.proof},
        "revoked": Secret("revoked"),
    }
    needed = ("resource", "certificate", "certificate_text", "restart", "challenge", "registry_url", "alone")
    trust = {**inspect, **{key: apply[key] for key in needed}}
    verify: Payload = {
        **inspect,
        "events_url": external_registry.events_url(d),
        "secrets": _named(["notification_secret"]),
        "triggers": {"proof": d.proof},
    }
    return ExternalHostPlan(
        name=name,
        site=site_name,
        key=f"sites.{site_name}.external_registry.hosts.{name}",
        host=host.host,
        host_key=host.host_key,
        ssh=d.ssh_of(site_name, name),
        preview=external_registry.preview(edits),
        inspect=inspect,
        apply=apply,
        trust=trust if key_rotation(d).overlapping else None,
        verify=verify if primary else None,
        after=(),
        answering=_answering(d, site_name, name),
    )


def _named(names: list[str]) -> dict[str, Secret]:
    return {name: Secret(name) for name in names}
