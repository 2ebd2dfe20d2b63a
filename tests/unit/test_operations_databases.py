"""The import of existing metadata into a database that the stack creates: where it is, by the stack's state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operations import import_registry
from operations.import_registry import Refused
from operations.stack import Stack, created_databases
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
