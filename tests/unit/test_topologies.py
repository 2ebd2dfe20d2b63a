"""Registries on nodes of their own, URLs that sites share, databases, certificates: what is refused and what is rendered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from config import parse
from omnibus import base, settings
from tests.configurations import CREATED, HOST_KEY, SHARED, certificate, changed, deployment, per_site

pytestmark = pytest.mark.unit

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
EXTERNAL = changed(SHARED, lambda raw: external(raw, **{"london-images": IMAGES}))
SNIPPET = changed(SHARED, external)


def put(*path: str, to: Any) -> Callable[[Raw], None]:
    def change(raw: Raw) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = to

    return change


def drop(*path: str) -> Callable[[Raw], None]:
    def change(raw: Raw) -> None:
        for key in path[:-1]:
            raw = raw[key]
        del raw[path[-1]]

    return change


SITES = ("sites", "london"), ("sites", "tokyo")
LONDON, TOKYO = SITES
WRONG: list[tuple[str, Raw, Callable[[Raw], object], str, str]] = [
    ("nobody signs tokens", SHARED, put(*TOKYO, "nodes", "tokyo-1", "roles", to=["registry"]), "sites.tokyo.nodes", "no node has the role rails"),
    ("an address for no registry", BY_ROLE, put(*LONDON, "nodes", "london-web-1", "registry_http_addr", to="0.0.0.0:5000"), "sites.london.nodes.london-web-1.registry_http_addr", "without the role registry"),
    ("an address without a port", BY_ROLE, put(*LONDON, "nodes", "london-registry", "registry_http_addr", to="10.10.0.14"), "sites.london.nodes.london-registry.registry_http_addr", "not of the right form"),
    ("one GitLab for two sites", UNIFIED, put(*TOKYO, "internal_url", to="https://gitlab.london.example.com/"), "sites.tokyo.internal_url", "is the GitLab of london too"),
    ("one URL for two GitLabs", SHARED, put(*TOKYO, "external_url", to="https://gitlab.london.example.com"), "sites.tokyo.external_url", "is the GitLab of london too"),
    ("one registry for two sites", UNIFIED, put(*TOKYO, "registry_internal_url", to="https://registry.london.example.com:5050"), "sites.tokyo.registry_internal_url", "is the registry of london too"),
    ("an internal URL without a host", UNIFIED, put(*TOKYO, "internal_url", to="https://:443"), "sites.tokyo.internal_url", ""),
    ("one database, two registries", DATABASES, put(*TOKYO, "metadata_database", "host", to="DB.london.example.com"), "sites.tokyo.metadata_database.name", "is the database of london too"),
    ("a database for one site only", DATABASES, drop(*TOKYO, "metadata_database"), "sites.tokyo.metadata_database", "london has one"),
    ("a database before 17.3", DATABASES, put("gitlab_version", to="17.2"), "sites.london.metadata_database", "not known to GitLab 17.2"),
    ("a database over shared storage", SHARED, databases, "sites.tokyo.metadata_database", "storage.mode shared"),
    ("two registries in one site", EXTERNAL, put(*LONDON, "nodes", "london-1", "roles", to=["rails", "registry"]), "sites.london.nodes.london-1.roles", "external_registry"),
    ("an external registry and its database", DATABASES, lambda raw: external(raw, i=IMAGES), "sites.london.metadata_database", "external_registry"),
    ("an external registry of a created site", CREATED, put(*LONDON, "external_registry", to={}), "sites.london.external_registry", "hosts are created"),
    ("an external host that is a node", EXTERNAL, put(*LONDON, "external_registry", "hosts", "london-images", "host", to="10.10.0.11"), "sites.london.external_registry.hosts.london-images.host", "london-1 already"),
    ("an external host named as a node", EXTERNAL, put(*LONDON, "external_registry", "hosts", to={"tokyo-1": IMAGES}), "sites.tokyo.nodes.tokyo-1", "stands in sites.london too"),
    ("a restart with a shell in it", EXTERNAL, put(*LONDON, "external_registry", "hosts", "london-images", "restart", to="systemctl restart x; rm y"), "sites.london.external_registry.hosts.london-images.restart", "not of the right form"),
    ("a relative path", EXTERNAL, put(*LONDON, "external_registry", "hosts", "london-images", "config", to="config.yml"), "sites.london.external_registry.hosts.london-images.config", "not of the right form"),
    ("a secondary nobody makes read-only", SHARED, promoted_beside, "sites.london.external_registry.hosts", "missing at a secondary of shared storage"),
    ("a directory on an external host", changed(per_site(), external), put(*LONDON, "storage", to={"filesystem": {"rootdirectory": "/srv/registry"}}), "sites.london.storage.filesystem", "external_registry"),
    ("a driver that omnibus has no more", changed(SHARED, put("gitlab_version", to="18.5")), put("storage", to={"mode": "shared", "oss": {"bucket": "acme", "region": "oss-eu-central-1"}}), "storage.oss", "not known to GitLab 18.5"),
    ("no certificate", SHARED, put("trusted_certificates", to="CERTIFICATE"), "trusted_certificates", "no certificate in PEM form"),
    ("a private key to trust", SHARED, put("trusted_certificates", to=CA + certificate("x")["private_key"]), "trusted_certificates", "[secret] holds a private key"),
    ("a reconfigure without end", SHARED, put("reconfigure_seconds", to=86400), "reconfigure_seconds", "86400"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "change", "key", "text"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_sites_contradict_is_refused(
    raw: Raw, change: Callable[[Raw], object], key: str, text: str
) -> None:
    """By its key, with what is wrong; unchanged it is taken."""
    assert parse(raw)[0] is not None, parse(raw)[1]
    parsed, problems = parse(changed(raw, change))
    assert parsed is None
    told = {p.key: str(p) for p in problems}
    assert key in told, told
    assert text in told[key]
    assert "example: " in told[key]


def test_a_registry_on_a_node_of_its_own_is_told_what_it_cannot_know() -> None:
    """Its realm, since it has no external_url; nothing of Rails' and Geo's settings."""
    shown = settings.preview(deployment(BY_ROLE), "london", "london-registry")
    assert shown["registry_external_url"] == "'https://registry.london.example.com'"
    assert shown["registry['enable']"] == "true"
    assert shown["registry['token_realm']"] == "'https://gitlab.london.example.com'"
    assert shown["registry['internal_certificate']"] == "secrets['registry_certificate']"
    assert shown["registry['notifications']['geo_event']['name']"] == "'geo_event'"
    assert [name for name in shown if name.startswith("gitlab_rails")] == ["gitlab_rails['registry_issuer']"]


def test_each_rails_node_of_the_primary_knows_secret_and_registry() -> None:
    """The registry's notifications may come to any web node; none of them has a registry."""
    for name in ("london-web-1", "london-web-2", "london-sidekiq"):
        shown = settings.preview(deployment(BY_ROLE), "london", name)
        assert shown["gitlab_rails['registry_notification_secret']"] == "secrets['notification_secret']"
        assert shown["registry['internal_key']"] == "secrets['registry_key']"
        assert shown["registry['enable']"] == "false"
        assert shown["gitlab_rails['registry_api_url']"] == "'https://registry.london.example.com'"
        assert not any("notifications" in key or "storage" in key for key in shown)


def test_a_registry_behind_a_load_balancer_listens_where_it_is_told() -> None:
    """Rails on the same node asks by the site's URL: the address may be 0.0.0.0."""
    raw = changed(SHARED, put(*TOKYO, "nodes", "tokyo-1", "registry_http_addr", to="0.0.0.0:5000"))
    shown = settings.preview(deployment(raw), "tokyo", "tokyo-1")
    assert shown["registry['registry_http_addr']"] == "'0.0.0.0:5000'"
    assert shown["gitlab_rails['registry_api_url']"] == "'https://registry.tokyo.example.com'"
    assert "registry['registry_http_addr']" not in settings.preview(deployment(SHARED), "tokyo", "tokyo-1")


def test_sites_behind_one_url_reach_each_other_by_their_own() -> None:
    """People's names in what people see; the primary's own name in notifications and replication."""
    d = deployment(UNIFIED)
    primary = settings.preview(d, "london", "london-1")
    assert primary["registry_external_url"] == "'https://registry.example.com:5050'"
    events = "'https://gitlab.london.example.com/api/v4/container_registry_event/events'"
    assert primary["registry['notifications']['geo_event']['url']"] == events
    secondary = settings.preview(d, "tokyo", "tokyo-1")
    url = "gitlab_rails['geo_registry_replication_primary_api_url']"
    assert secondary[url] == "'https://registry.london.example.com:5050'"


def test_the_metadata_database_is_off_or_each_sites_own() -> None:
    """Off is stated: omnibus' default would point a secondary at its read-only replica. The password is read from the secrets."""
    off = settings.preview(deployment(SHARED), "tokyo", "tokyo-1")
    assert [k for k in off if "database" in k] == ["registry['database']['enabled']"]
    own = settings.preview(deployment(DATABASES), "tokyo", "tokyo-1")
    assert own["registry['database']['enabled']"] == "true"
    assert own["registry['database']['host']"] == "'db.tokyo.example.com'"
    assert own["registry['database']['password']"] == "secrets['database_password']"
    assert "database_password" in settings.secret_names(deployment(DATABASES), "tokyo", "tokyo-1")
    assert "password-tokyo" not in settings.text(deployment(DATABASES), "tokyo", "tokyo-1")


def test_each_certificate_to_trust_is_a_file_of_its_own() -> None:
    """omnibus passes over a file with several; a node without the web server gets them too."""
    two = CA + certificate("other.example.com")["certificate"]
    raw = changed(BY_ROLE, put("trusted_certificates", to=two))
    d = deployment(raw)
    for name, its in d.sites["london"].nodes.items():
        found = base.files(d, "london", its)
        assert [*found] == [f"/etc/gitlab/trusted-certs/geo-registry-{n}.crt" for n in (1, 2)], name
        assert "".join(found.values()) == two
    assert base.files(deployment(SHARED), "london", d.sites["london"].nodes["london-web-1"]) == {}


def test_an_external_registry_is_given_what_its_own_version_knows() -> None:
    """Distribution has the drivers that GitLab's registry has dropped, under their old names."""
    raw = changed(EXTERNAL, put("storage", to={"mode": "per_site"}))
    raw["sites"]["london"]["storage"] = {"oss": {"bucket": "acme", "region": "oss-eu-central-1"}}
    raw["sites"]["london"]["credentials"] = {"oss": {"accesskeyid": "a", "accesskeysecret": "b"}}
    raw["sites"]["tokyo"]["storage"] = {"bucket": "acme-tokyo", "region": "eu-west-1"}
    assert deployment(raw).registry_version("london") == (16, 0)
    shown = settings.preview(deployment(EXTERNAL), "london", "london-1")
    assert shown["registry['enable']"] == "false"
    assert shown["gitlab_rails['registry_notification_secret']"] == "secrets['notification_secret']"
    assert deployment(SNIPPET).sites["london"].external_registry is not None
