"""Registries on nodes of their own, URLs that sites share, databases, certificates: the nodes' settings."""

from __future__ import annotations

import pytest

from plan.node import files, node_settings
from tests.configurations import SHARED, certificate, changed, deployment, put
from tests.invalid_configs.topologies import BY_ROLE, CA, DATABASES, EXTERNAL, SNIPPET, TOKYO, UNIFIED


def test_a_registry_on_a_node_of_its_own_is_told_what_it_cannot_know() -> None:
    """Its realm, since it has no external_url; nothing of Rails' and Geo's settings."""
    shown = node_settings(deployment(BY_ROLE), "london", "london-registry").preview
    assert shown["registry_external_url"] == "'https://registry.london.example.com'"
    assert shown["registry['enable']"] == "true"
    assert shown["registry['token_realm']"] == "'https://gitlab.london.example.com'"
    assert shown["registry['internal_certificate']"] == "secrets['registry_certificate']"
    assert shown["registry['notifications']['geo_event']['name']"] == "'geo_event'"
    # Its nginx sends people to this port, and its registry has this issuer.
    rails = {name for name in shown if name.startswith("gitlab_rails")}
    assert rails == {"gitlab_rails['registry_issuer']", "gitlab_rails['registry_port']"}


def test_each_rails_node_of_the_primary_knows_secret_and_registry() -> None:
    """The registry's notifications may come to any web node; none of them has a registry."""
    for name in ("london-web-1", "london-web-2", "london-sidekiq"):
        shown = node_settings(deployment(BY_ROLE), "london", name).preview
        assert shown["gitlab_rails['registry_notification_secret']"] == "secrets['notification_secret']"
        assert shown["registry['internal_key']"] == "secrets['registry_key']"
        assert shown["registry['enable']"] == "false"
        assert shown["gitlab_rails['registry_api_url']"] == "'https://registry.london.example.com'"
        assert not any("notifications" in key or "storage" in key for key in shown)


def test_a_registry_behind_a_load_balancer_listens_where_it_is_told() -> None:
    """Rails on the same node asks by the site's URL: the address may be 0.0.0.0."""
    raw = changed(SHARED, put(*TOKYO, "nodes", "tokyo-1", "registry_http_addr", to="0.0.0.0:5000"))
    shown = node_settings(deployment(raw), "tokyo", "tokyo-1").preview
    assert shown["registry['registry_http_addr']"] == "'0.0.0.0:5000'"
    assert shown["gitlab_rails['registry_api_url']"] == "'https://registry.tokyo.example.com'"
    assert (
        "registry['registry_http_addr']" not in node_settings(deployment(SHARED), "tokyo", "tokyo-1").preview
    )


@pytest.mark.parametrize(
    ("version", "off"),
    [("18.5", "registry_nginx['enable']"), ("19.2", "registry['nginx']['enable']")],
)
def test_a_registry_on_all_addresses_is_not_in_its_nodes_nginx(version: str, off: str) -> None:
    """nginx has no upstream `:5000`: with a server for the registry it would not start."""
    node = ("sites", "london", "nodes", "london-registry")
    raw = changed(BY_ROLE, put(*node, "registry_http_addr", to=":5000")) | {"gitlab_version": version}
    shown = node_settings(deployment(raw), "london", "london-registry").preview
    assert shown["registry['registry_http_addr']"] == "':5000'"
    assert {key: value for key, value in shown.items() if "nginx" in key} == {off: "false"}
    raw = changed(raw, put(*node, "registry_http_addr", to="0.0.0.0:5000"))
    assert not any(
        "nginx" in key for key in node_settings(deployment(raw), "london", "london-registry").preview
    )


def test_sites_behind_one_url_reach_each_other_by_their_own() -> None:
    """People's names in what people see; the primary's own name in notifications and replication."""
    d = deployment(UNIFIED)
    primary = node_settings(d, "london", "london-1").preview
    assert primary["registry_external_url"] == "'https://registry.example.com:5050'"
    events = "'https://gitlab.london.example.com/api/v4/container_registry_event/events'"
    assert primary["registry['notifications']['geo_event']['url']"] == events
    secondary = node_settings(d, "tokyo", "tokyo-1").preview
    url = "gitlab_rails['geo_registry_replication_primary_api_url']"
    assert secondary[url] == "'https://registry.london.example.com:5050'"


def test_the_metadata_database_is_off_or_each_sites_own() -> None:
    """Off is stated: omnibus' default would point a secondary at its read-only replica. The password is read from the secrets."""
    off = node_settings(deployment(SHARED), "tokyo", "tokyo-1").preview
    assert [k for k in off if "database" in k] == ["registry['database']['enabled']"]
    own = node_settings(deployment(DATABASES), "tokyo", "tokyo-1").preview
    assert own["registry['database']['enabled']"] == "true"
    assert own["registry['database']['host']"] == "'db.tokyo.example.com'"
    assert own["registry['database']['password']"] == "secrets['database_password']"
    assert "database_password" in node_settings(deployment(DATABASES), "tokyo", "tokyo-1").secret_names
    assert "password-tokyo" not in node_settings(deployment(DATABASES), "tokyo", "tokyo-1").text


def test_each_certificate_to_trust_is_a_file_of_its_own() -> None:
    """omnibus passes over a file with several; a node without the web server gets them too."""
    two = CA + certificate("other.example.com")["certificate"]
    raw = changed(BY_ROLE, put("trusted_certificates", to=two))
    d = deployment(raw)
    for name, its in d.sites["london"].nodes.items():
        found = files(d, "london", its)
        assert [*found] == [f"/etc/gitlab/trusted-certs/geo-registry-{n}.crt" for n in (1, 2)], name
        assert "".join(found.values()) == two
    assert files(deployment(SHARED), "london", d.sites["london"].nodes["london-web-1"]) == {}


def test_an_external_registry_is_given_what_its_own_version_knows() -> None:
    """Distribution has the drivers that GitLab's registry has dropped, under their old names."""
    raw = changed(EXTERNAL, put("storage", to={"mode": "per_site"}))
    raw["sites"]["london"]["storage"] = {"oss": {"bucket": "acme", "region": "oss-eu-central-1"}}
    raw["sites"]["london"]["credentials"] = {"oss": {"accesskeyid": "a", "accesskeysecret": "b"}}
    raw["sites"]["tokyo"]["storage"] = {"bucket": "acme-tokyo", "region": "eu-west-1"}
    assert deployment(raw).registry_version("london") < (16, 0)
    shown = node_settings(deployment(EXTERNAL), "london", "london-1").preview
    assert shown["registry['enable']"] == "false"
    assert shown["gitlab_rails['registry_notification_secret']"] == "secrets['notification_secret']"
    assert deployment(SNIPPET).sites["london"].external_registry is not None
