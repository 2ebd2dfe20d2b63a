"""A metadata database that the stack creates: its plan, and what the nodes get of it before it exists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from omnibus.ruby import Computed, Secret, Template, filled, literal, template
from plan.aws_database import aws_database, private_subnets, public_subnet
from plan.node import node_plan
from plan.resolve import resolve
from tests.configurations import HOST_KEY, changed, created_databases, deployment, put

RAW = created_databases()
CREATE = ("sites", "tokyo", "metadata_database", "create")
VALUES = {"database_host": "db.abc.eu-west-2.rds.amazonaws.com", "database_password": "s3cr3t"}


def test_the_defaults_are_small_current_and_protected() -> None:
    """As the site's nodes are; what is configured wins."""
    plan = aws_database(deployment(RAW), "tokyo")
    assert plan is not None
    assert (plan.engine_version, plan.instance_class, plan.storage_gb) == ("17", "db.t4g.medium", 20)
    assert (plan.region, plan.multi_az, plan.protect) == ("ap-northeast-1", False, True)
    more = {"engine_version": "16", "instance_class": "db.m7g.2xlarge", "storage_gb": 100, "multi_az": True}
    raw = changed(RAW, put(*CREATE, to=more))
    raw["sites"]["tokyo"]["aws"]["termination_protection"] = False
    raw["rotate"] = {"database_password": 2}
    plan = aws_database(deployment(raw), "tokyo")
    assert plan is not None
    assert {key: getattr(plan, key) for key in more} == more
    assert (plan.protect, plan.password_rotation) == (False, 2)
    without = changed(RAW, lambda r: r["sites"]["tokyo"].pop("metadata_database"))
    assert aws_database(deployment(without), "tokyo") is None


def test_only_nodes_with_a_registry_connect() -> None:
    """Web and Sidekiq nodes do not."""
    raw = changed(RAW, put("sites", "tokyo", "nodes", "tokyo-2", to={"roles": ["sidekiq"]}))
    plan = aws_database(deployment(raw), "tokyo")
    assert plan is not None and plan.nodes == ("tokyo-1",)


@pytest.mark.parametrize(
    ("cidr", "public", "private"),
    [
        ("10.120.0.0/16", "10.120.0.0/24", ("10.120.1.0/27", "10.120.1.32/27")),
        ("10.120.6.0/23", "10.120.6.0/24", ("10.120.7.0/27", "10.120.7.32/27")),
    ],
)
def test_the_private_subnets_are_behind_the_public_one(
    cidr: str, public: str, private: tuple[str, ...]
) -> None:
    """Also in the smallest network that has room for them."""
    assert (public_subnet(cidr), private_subnets(cidr)) == (public, private)
    raw = changed(RAW, put("sites", "tokyo", "aws", "cidr", to=cidr))
    plan = aws_database(deployment(raw), "tokyo")
    assert plan is not None and plan.subnets == private


def test_an_existing_network_has_its_subnets() -> None:
    """None are created there."""
    raw = changed(RAW, lambda r: r["sites"]["tokyo"]["aws"].pop("cidr"))
    raw["sites"]["tokyo"]["aws"] |= {"vpc_id": "vpc-01234567", "subnet_id": "subnet-01234567"}
    ids = ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"]
    raw["sites"]["tokyo"]["metadata_database"] = {"create": {"subnet_ids": ids}}
    plan = aws_database(deployment(raw), "tokyo")
    assert plan is not None and (plan.subnets, plan.subnet_ids) == ((), tuple(ids))


def test_a_node_gets_the_same_as_for_a_database_that_exists() -> None:
    """Settings, payload and names of secrets, once the address is known."""
    described: dict[str, Any] = {"host": VALUES["database_host"], "password": "x"}
    existing = changed(RAW, put("sites", "tokyo", "metadata_database", to=described))
    created, other = (node_plan(deployment(raw), "tokyo", "tokyo-1").apply for raw in (RAW, existing))
    assert isinstance(created["settings"], Template)
    keys = ("settings", "database")
    assert filled({key: created[key] for key in keys}, VALUES) == {key: other[key] for key in keys}
    assert created["secrets"] == other["secrets"]
    assert created["secrets"]["database_password"] == Secret("database_password")


def test_what_runs_before_the_database_exists_does_not_wait_for_it() -> None:
    """Neither the first inspection of a node nor its verification contains the address."""
    plan = node_plan(deployment(RAW), "tokyo", "tokyo-1")
    for payload in (plan.inspect, plan.verify):
        assert payload is not None
        assert payload["database"] == {
            "managed": False, "host": None, "port": 5432, "user": "registry", "name": "registry",
            "sslmode": "require", "sslrootcert": None,
        }  # fmt: skip
        assert filled(payload["database"], {}) == payload["database"]


def test_a_replaced_node_finds_its_images_in_the_database() -> None:
    """No other registry can have written them, so the node does not refuse them."""
    assert node_plan(deployment(RAW), "tokyo", "tokyo-1").apply["alone"] is False
    described = {"host": "db.example.com", "password": "x"}
    existing = changed(RAW, put("sites", "tokyo", "metadata_database", to=described))
    assert node_plan(deployment(existing), "tokyo", "tokyo-1").apply["alone"] is True


def test_a_preview_and_the_output_name_the_address_once_it_is_known() -> None:
    """Until then it is a template; a node without a registry has none."""
    raw = changed(RAW, put("sites", "tokyo", "nodes", "tokyo-2", to={"roles": ["sidekiq"]}))
    preview = node_plan(deployment(raw), "tokyo", "tokyo-1").preview
    templates = {key: value for key, value in preview.items() if isinstance(value, Template)}
    assert [*templates] == ["registry['database']['host']"]
    assert filled(templates, VALUES) == {"registry['database']['host']": f"'{VALUES['database_host']}'"}
    other = node_plan(deployment(raw), "tokyo", "tokyo-2")
    assert not any(
        isinstance(value, Template) for value in [*other.preview.values(), other.apply["settings"]]
    )
    overview = resolve(deployment(RAW)).sites["tokyo"].overview
    assert filled(overview, VALUES)["metadata"] == f"{VALUES['database_host']}:5432/registry"


def test_tls_is_configured_as_for_a_database_that_exists() -> None:
    """Without verification by default: the system does not trust the authority of Amazon RDS."""
    assert (
        node_plan(deployment(RAW), "tokyo", "tokyo-1").preview["registry['database']['sslmode']"]
        == "'require'"
    )
    verified = {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/certs/rds.pem"}
    preview = node_plan(deployment(changed(RAW, put(*CREATE, to=verified))), "tokyo", "tokyo-1").preview
    assert preview["registry['database']['sslrootcert']"] == "'/etc/ssl/certs/rds.pem'"


def test_only_marks_of_this_program_are_filled_in() -> None:
    """Settings are ASCII, so no value of the configuration can be one; an address cannot end a Ruby string."""
    assert literal("⟦database_host⟧") == '"\\u{27e6}database_host\\u{27e7}"'
    assert literal(Computed("database_host")) == "'⟦database_host⟧'"
    assert template("registry['issuer'] = 'x'") == "registry['issuer'] = 'x'"
    found = template("'⟦database_host⟧'")
    assert isinstance(found, Template)
    with pytest.raises(ValueError, match="database_host is not a host name"):
        found.filled({"database_host": "x'; system('id'); '"})


def test_no_password_is_among_the_plans_secrets() -> None:
    """It is generated by a component; one that is configured is there."""
    assert resolve(deployment(RAW)).secrets.databases == {}
    raw = changed(
        RAW,
        lambda r: r["sites"]["london"].update(nodes={"london-1": {"host": "10.1.2.3", "host_key": HOST_KEY}}),
    )
    raw["sites"]["london"].pop("aws")
    raw["sites"]["london"]["metadata_database"] = {"host": "db.example.com", "password": "of-london"}
    assert resolve(deployment(raw)).secrets.databases == {"london": "of-london"}
    assert "of-london" not in json.dumps(repr(resolve(deployment(raw))))
