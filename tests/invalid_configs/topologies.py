"""Sites of several kinds of node, of shared URLs and of other registries, and what is refused of them."""

from __future__ import annotations

from typing import Any

from tests.configurations import CREATED, HOST_KEY, SHARED, certificate, changed, drop, per_site, put
from tests.invalid_configs.table import Wrong, garbled, wrong

Raw = dict[str, Any]
CA = certificate("ca.example.com")["certificate"]


def node(number: int, *roles: str, **more: Any) -> Raw:
    return {"host": f"10.10.0.{number}", "host_key": HOST_KEY, "roles": list(roles), **more}


def by_role(raw: Raw) -> None:
    """London as large installations have it: each role on nodes of its own."""
    raw["sites"]["london"]["nodes"] = {
        "london-web-1": node(11, "rails"),
        "london-web-2": node(12, "rails"),
        "london-sidekiq": node(13, "sidekiq"),
        "london-registry": node(14, "registry"),
    }


def unified(raw: Raw) -> None:
    """People have one name for both sites; the sites have names of their own for each other."""
    for name, site in raw["sites"].items():
        site |= {
            "external_url": "https://gitlab.example.com",
            "registry_url": "https://registry.example.com:5050",
            "internal_url": f"https://gitlab.{name}.example.com",
            "registry_internal_url": f"https://registry.{name}.example.com:5050",
        }


def second_registry(raw: Raw) -> None:
    nodes = raw["sites"]["london"]["nodes"]
    nodes["london-2"] = {**nodes["london-1"], "host": "10.10.0.19"}


def databases(raw: Raw) -> None:
    for name, site in raw["sites"].items():
        site["metadata_database"] = {"host": f"db.{name}.example.com", "password": f"password-{name}"}


def external(raw: Raw, **hosts: Any) -> None:
    site = raw["sites"]["london"]
    site["nodes"]["london-1"]["roles"] = ["rails", "sidekiq"]
    site["external_registry"] = {"hosts": hosts} if hosts else {}


def promoted_beside(raw: Raw) -> None:
    """Tokyo is the primary, and London's registry is somebody else's to configure."""
    raw["primary"] = "tokyo"
    external(raw)


IMAGES = {
    "host": "10.10.0.15",
    "host_key": HOST_KEY,
    "config": "/etc/docker/registry/config.yml",
    "certificate": "/etc/docker/registry/gitlab-registry.crt",
    "restart": "systemctl restart docker-registry",
}
BY_ROLE = changed(SHARED, by_role)
UNIFIED = changed(SHARED, unified)
DATABASES = changed(per_site(), databases)
MANAGED = changed(per_site(), put("sites", "london", "metadata_database", to="managed"))
EXTERNAL = changed(SHARED, lambda raw: external(raw, **{"london-images": IMAGES}))
SNIPPET = changed(SHARED, external)

LONDON, TOKYO = ("sites", "london"), ("sites", "tokyo")
REGISTRY_NODE = (*LONDON, "nodes", "london-registry")
WRONG: list[Wrong] = [
    wrong("a rotation that waits for a registry somebody else configures", SNIPPET, put("rotate", to={"registry_key": 1}), "rotate.registry_key", "rotation-manual-registry"),
    wrong("a primary behind one URL without a registry of its own to copy from", UNIFIED, drop(*LONDON, "registry_internal_url"), "sites.london.registry_internal_url", "internal-url-missing"),
    wrong("a primary behind one URL without a GitLab of its own to notify", UNIFIED, drop(*LONDON, "internal_url"), "sites.london.internal_url", "internal-url-missing"),
    wrong("a registry of its own that is everybody's", UNIFIED, put(*LONDON, "registry_internal_url", to="https://Registry.example.com.:5050/"), "sites.london.registry_internal_url", "unified-url-as-internal"),
    wrong("nobody signs tokens", SHARED, put(*TOKYO, "nodes", "tokyo-1", "roles", to=["registry"]), "sites.tokyo.nodes", "rails-role-missing"),
    wrong("an address for no registry", BY_ROLE, put(*LONDON, "nodes", "london-web-1", "registry_http_addr", to="0.0.0.0:5000"), "sites.london.nodes.london-web-1.registry_http_addr", "registry-address-unused"),
    wrong("an address in brackets", changed(BY_ROLE, put(*REGISTRY_NODE, "registry_http_addr", to=":5000")), put(*REGISTRY_NODE, "registry_http_addr", to="[fd00::5]:5000"), "sites.london.nodes.london-registry.registry_http_addr", "registry-address-not-a-string"),
    wrong("all addresses of a node with Rails", changed(SHARED, put(*TOKYO, "nodes", "tokyo-1", "registry_http_addr", to="0.0.0.0:5000")), put(*TOKYO, "nodes", "tokyo-1", "registry_http_addr", to=":5000"), "sites.tokyo.nodes.tokyo-1.registry_http_addr", "registry-address-without-host"),
    wrong("an address without a port", BY_ROLE, put(*LONDON, "nodes", "london-registry", "registry_http_addr", to="10.10.0.14"), "sites.london.nodes.london-registry.registry_http_addr", "value-invalid", value="'10.10.0.14'"),
    wrong("an address with a port that is none", BY_ROLE, put(*LONDON, "nodes", "london-registry", "registry_http_addr", to="0.0.0.0:65536"), "sites.london.nodes.london-registry.registry_http_addr", "value-invalid", value="'0.0.0.0:65536'"),
    wrong("a name that Let's Encrypt knows nothing of", CREATED, put(*TOKYO, "registry_internal_url", to="https://registry.own.example.com"), "sites.tokyo.aws.tls.certificate", "certificate-missing-for-internal-url"),
    wrong("a name of your own without a certificate", changed(changed(CREATED, put(*TOKYO, "external_url", to="http://gitlab.tokyo.example.com")), put(*TOKYO, "registry_url", to="http://registry.tokyo.example.com")), put(*TOKYO, "internal_url", to="https://gitlab.own.example.com"), "sites.tokyo.internal_url", "https-on-http-site"),
    wrong("a registry where GitLab is", SHARED, put(*TOKYO, "registry_url", to="https://gitlab.Tokyo.example.com:443"), "sites.tokyo.registry_url", "registry-url-of-gitlab"),
    wrong("one registry for two sites, by its port", SHARED, put(*TOKYO, "registry_url", to="https://Registry.london.example.com:443/"), "sites.tokyo.registry_url", "registry-url-not-unique"),
    wrong("one GitLab for two sites, in capitals", SHARED, put(*TOKYO, "internal_url", to="https://GITLAB.london.example.com"), "sites.tokyo.internal_url", "gitlab-url-not-unique"),
    wrong("one database server, written twice", changed(DATABASES, put(*LONDON, "metadata_database", "host", to="fd00::1")), put(*TOKYO, "metadata_database", "host", to="FD00:0::1"), "sites.tokyo.metadata_database.name", "database-not-unique"),
    wrong("one GitLab for two sites", UNIFIED, put(*TOKYO, "internal_url", to="https://gitlab.london.example.com/"), "sites.tokyo.internal_url", "gitlab-url-not-unique"),
    wrong("one URL for two GitLabs", SHARED, put(*TOKYO, "external_url", to="https://gitlab.london.example.com"), "sites.tokyo.external_url", "gitlab-url-not-unique"),
    wrong("one registry for two sites", UNIFIED, put(*TOKYO, "registry_internal_url", to="https://registry.london.example.com:5050"), "sites.tokyo.registry_internal_url", "registry-url-not-unique"),
    wrong("an internal URL without a host", UNIFIED, put(*TOKYO, "internal_url", to="https://:443"), "sites.tokyo.internal_url", "value-invalid"),
    wrong("one database, two registries", DATABASES, put(*TOKYO, "metadata_database", "host", to="DB.london.example.com"), "sites.tokyo.metadata_database.name", "database-not-unique"),
    wrong("a database without a password", DATABASES, drop(*TOKYO, "metadata_database", "password"), "sites.tokyo.metadata_database.password", "database-password-missing"),
    wrong("neither managed nor a map", MANAGED, put(*LONDON, "metadata_database", to="prefer"), "sites.london.metadata_database", "value-type", value="a string"),
    wrong("the replica of a secondary", MANAGED, put(*TOKYO, "metadata_database", to="managed"), "sites.tokyo.metadata_database", "database-managed-at-secondary"),
    wrong("a promotion away from a managed database", MANAGED, put("primary", to="tokyo"), "sites.london.metadata_database", "database-managed-at-secondary"),
    wrong("a managed database on two nodes", MANAGED, second_registry, "sites.london.metadata_database", "database-managed-by-several-nodes"),
    wrong("a managed database before 18.3", MANAGED, put("gitlab_version", to="18.2"), "sites.london.metadata_database", "database-managed-not-in-version"),
    wrong("a managed database over shared storage", SHARED, put(*LONDON, "metadata_database", to="managed"), "sites.london.metadata_database", "database-with-shared-storage"),
    wrong("a database before 17.3", DATABASES, put("gitlab_version", to="17.2"), "sites.london.metadata_database", "database-not-in-version"),
    wrong("a database over shared storage", SHARED, databases, "sites.tokyo.metadata_database", "database-with-shared-storage"),
    wrong("two registries in one site", EXTERNAL, put(*LONDON, "nodes", "london-1", "roles", to=["rails", "registry"]), "sites.london.nodes.london-1.roles", "registry-role-beside-external"),
    wrong("an external registry and its database", DATABASES, lambda raw: external(raw, i=IMAGES), "sites.london.metadata_database", "database-of-external-registry"),
    wrong("an external registry of a created site", CREATED, put(*LONDON, "external_registry", to={}), "sites.london.external_registry", "external-registry-of-created-site"),
    wrong("an external host that is a node", EXTERNAL, put(*LONDON, "external_registry", "hosts", "london-images", "host", to="10.10.0.11"), "sites.london.external_registry.hosts.london-images.host", "ssh-address-not-unique"),
    wrong("an external host named as a node", EXTERNAL, put(*LONDON, "external_registry", "hosts", to={"tokyo-1": IMAGES}), "sites.tokyo.nodes.tokyo-1", "node-name-not-unique"),
    wrong("a restart with a shell in it", EXTERNAL, put(*LONDON, "external_registry", "hosts", "london-images", "restart", to="systemctl restart x; rm y"), "sites.london.external_registry.hosts.london-images.restart", "value-invalid"),
    wrong("a relative path", EXTERNAL, put(*LONDON, "external_registry", "hosts", "london-images", "config", to="config.yml"), "sites.london.external_registry.hosts.london-images.config", "value-invalid", value="'config.yml'"),
    wrong("a secondary nobody makes read-only", SHARED, promoted_beside, "sites.london.external_registry.hosts", "external-hosts-missing"),
    wrong("a directory on an external host", changed(per_site(), external), put(*LONDON, "storage", to={"filesystem": {"rootdirectory": "/srv/registry"}}), "sites.london.storage.filesystem", "filesystem-of-external-registry"),
    wrong("a driver that omnibus has no more", changed(SHARED, put("gitlab_version", to="18.5")), put("storage", to={"mode": "shared", "oss": {"bucket": "acme", "region": "oss-eu-central-1"}}), "storage.oss", "setting-not-in-version"),
    wrong("no certificate", SHARED, put("trusted_certificates", to="CERTIFICATE"), "trusted_certificates", "trusted-certificates-invalid"),
    wrong("a certificate of a version that is none", SHARED, put("trusted_certificates", to=garbled(certificate("x"), "a003020102", "a003020130")["certificate"]), "trusted_certificates", "trusted-certificates-invalid"),
    wrong("a private key to trust", SHARED, put("trusted_certificates", to=CA + certificate("x")["private_key"]), "trusted_certificates", "trusted-certificates-with-key"),
    wrong("a reconfigure without end", SHARED, put("reconfigure_seconds", to=86400), "reconfigure_seconds", "value-invalid"),
]  # fmt: skip
