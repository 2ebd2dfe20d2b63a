"""The import of existing metadata into a database that the stack creates: where it is, by the stack's state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operations import import_registry
from operations.import_registry import Refused
from operations.stack import Stack, _sessions, created_databases
from plan.resolve import resolve
from tests.configurations import created_databases as configuration
from tests.configurations import deployment

PLAN = resolve(deployment(configuration()))


def state(site: str, **outputs: Any) -> dict[str, Any]:
    """As the Pulumi CLI exports it with secrets."""
    urn = (
        f"urn:pulumi:prod::gitlab-geo-registry::x$aws:rds/instance:Instance::registry-{site}-database-server"
    )
    resource = {"urn": urn, "type": "aws:rds/instance:Instance", "outputs": outputs}
    return {"deployment": {"resources": [{"urn": "x::stack", "type": "pulumi:pulumi:Stack"}, resource]}}


def test_address_and_password_are_those_of_the_state() -> None:
    """Also where the configuration has more sites, and none of a site that it does not have."""
    secret = {"4dabf18193072939515e22adb298388d": "x", "plaintext": json.dumps("of-tokyo")}
    found = created_databases(state("tokyo", address="db.example.com", password=secret), PLAN)
    assert found == {"tokyo": {"database_host": "db.example.com", "database_password": "of-tokyo"}}
    assert created_databases(state("sydney", address="db.example.com", password="x"), PLAN) == {}
    assert created_databases(state("tokyo"), PLAN) == {}
    assert created_databases({"deployment": None}, PLAN) == {}


def test_a_database_that_does_not_exist_yet_is_refused() -> None:
    """With the way to create it."""
    stack = Stack("prod", Path(), "x/prod", PLAN, {}, {})
    with pytest.raises(Refused, match=r"import-database-missing") as refused:
        import_registry._nodes(stack, "tokyo")
    assert "run `pulumi up`" in str(refused.value)
    exists = Stack("prod", Path(), "x/prod", PLAN, {}, {"tokyo": {}})
    assert [node.name for node in import_registry._nodes(exists, "tokyo")] == ["tokyo-1"]


def test_a_host_whose_name_ends_another_has_its_own_connection() -> None:
    """`make status` and the import must not act on another node."""
    sites = configuration()
    for site, name in (("london", "tokyo-web"), ("tokyo", "web")):
        nodes = sites["sites"][site]["nodes"]
        nodes[name] = nodes.pop(f"{site}-1")
    plan = resolve(deployment(sites))
    sessions = [
        {
            "urn": f"urn:pulumi:prod::p::x::registry-{name}-settings",
            "type": "command:remote:Command",
            "inputs": {"connection": {"host": name}},
        }
        for name in ("web", "tokyo-web")
    ]
    found = _sessions({"deployment": {"resources": sessions}}, plan)
    assert {host: one["connection"]["host"] for host, one in found.items()} == {
        "web": "web",
        "tokyo-web": "tokyo-web",
    }


def test_one_site_is_imported_at_a_time() -> None:
    """`pulumi up` would fail at the other one, and the first would stay read-only."""
    sent: dict[str, dict[str, Any]] = {"tokyo-1": {"database": None}, "london-1": {"database": None}}
    stack = Stack("prod", Path(), "x/prod", PLAN, {}, {"tokyo": {}, "london": {}}, sent)
    with pytest.raises(Refused, match=r"sites.london.metadata_database .*import-one-site-at-a-time"):
        import_registry._nodes(stack, "tokyo")
    sent["london-1"] = {"database": {"managed": True}}
    assert [node.name for node in import_registry._nodes(stack, "tokyo")] == ["tokyo-1"]
