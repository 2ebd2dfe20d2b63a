"""The help of fields: every field has all of it, and it is what an error prints."""

from __future__ import annotations

from typing import Any

import pytest

from config.errors import ConfigError
from config.model import Deployment
from config.parsing import parse
from tests.configurations import CREATED, SHARED, Change, changed, drop, per_site, put
from tools.reference.shape import shapes

FIELDS = {
    f"{model}.{key}": field
    for model, shape in shapes(Deployment).items()
    for key, field in shape["properties"].items()
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_all_parts_of_its_help(name: str) -> None:
    """Each in its place: an expectation gives the form, a consequence neither a default nor advice."""
    about = FIELDS[name]["x-help"]
    assert about.description and about.expectation and about.consequence and about.example
    assert about.description.endswith((".", "`"))
    assert not about.consequence.endswith(".") and not about.expectation.endswith(".")
    assert "default" not in about.consequence.split() and "left out" not in about.consequence


def _limits(field: dict[str, Any]) -> list[Any]:
    keys = ("minimum", "maximum", "multipleOf", "const")
    return [*field.get("enum", []), *(field[key] for key in keys if key in field)]


LIMITED = [name for name, field in FIELDS.items() if _limits(field) and field.get("type") != "boolean"]


@pytest.mark.parametrize("name", LIMITED)
def test_an_expectation_names_the_limits_that_the_type_has(name: str) -> None:
    """Numbers and words alike, so that the two cannot drift apart."""
    for limit in _limits(FIELDS[name]):
        assert str(limit) in FIELDS[name]["x-help"].expectation


TOKYO = ("sites", "tokyo")
ERRORS: list[tuple[str, dict[str, Any], Change, ConfigError]] = [
    (
        "the form of a string",
        CREATED,
        put(*TOKYO, "aws", "availability_zone", to="x"),
        ConfigError(
            "value-invalid",
            "sites.tokyo.aws.availability_zone",
            "'x'",
            consequence="AWS refuses a subnet in a zone that does not exist, and the update would fail",
            example="eu-west-2a",
            expectation="an AWS availability zone: the site's region and a letter",
        ),
    ),
    (
        "a field's own consequence, and the form that its type has",
        SHARED,
        put(*TOKYO, "registry_url", to="https://registry.tokyo.example.com/path"),
        ConfigError(
            "value-invalid",
            "sites.tokyo.registry_url",
            "'https://registry.tokyo.example.com/path'",
            consequence="the Linux package refuses a registry URL with a path, and a wrong URL shows only "
            "when images are missing",
            example="https://registry.london.example.com",
            expectation="http:// or https://, a host name or IPv4 address and, if need be, a port; no path, "
            "user or password",
        ),
    ),
    (
        "the name of an entry",
        SHARED,
        put("sites", "Paris", to=SHARED["sites"]["london"]),
        ConfigError(
            "name-invalid",
            "sites.Paris",
            "'Paris'",
            consequence="the name is part of resource names and of file names on the nodes, which would be "
            "invalid",
            example="london-1",
            expectation="a name of 1 to 31 lowercase letters, digits and hyphens, with a letter first and no "
            "hyphen last",
        ),
    ),
    (
        "an item of a list, whose form is not the list's",
        CREATED,
        put(*TOKYO, "aws", "admin_cidrs", to=["198.51.100.7"]),
        ConfigError(
            "value-invalid",
            "sites.tokyo.aws.admin_cidrs.0",
            "'198.51.100.7'",
            consequence="AWS refuses a firewall rule or a network without a valid range",
            example="198.51.100.7/32",
            expectation="an IPv4 address, a slash and the number of network bits; /32 for one address",
        ),
    ),
    (
        "an item without help of its own: the list's, and what pydantic expects",
        SHARED,
        put(*TOKYO, "nodes", "tokyo-1", "roles", to=["web"]),
        ConfigError(
            "value-invalid",
            "sites.tokyo.nodes.tokyo-1.roles.0",
            "'web'",
            consequence="the node would get the settings of services that do not run there",
            example="[rails, sidekiq, registry]",
            expectation="'rails', 'sidekiq' or 'registry'",
        ),
    ),
    (
        "a required key that is missing",
        SHARED,
        drop("storage", "mode"),
        ConfigError(
            "key-missing",
            "storage.mode",
            "missing",
            consequence="the program could not tell whether a registry may write to the primary's live "
            "images",
            example="shared",
            expectation="shared or per_site",
        ),
    ),
    (
        "one value of several forms",
        per_site(),
        put(*TOKYO, "storage", to="kept"),
        ConfigError(
            "value-invalid",
            "sites.tokyo.storage",
            "'kept'",
            consequence="the registry would have no storage, or use another than you want",
            example="{bucket: acme-registry-london, region: eu-west-1}, or {gcs: {bucket: "
            "acme-registry-london}}",
            expectation="keep, a map of an S3 bucket, or a map with one driver",
        ),
    ),
    (
        "an unknown key",
        SHARED,
        put("stroage", to={}),
        ConfigError(
            "key-unknown",
            "stroage",
            "unknown key",
            consequence="the program would ignore it without a warning",
            example="storage (did you mean this?)",
            expectation="one of gitlab_version, issuer, primary, proof, reconfigure_seconds, replication, "
            "rotate, sites, ssh, storage, trusted_certificates",
        ),
    ),
]


@pytest.mark.parametrize(("raw", "change", "error"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_an_error_says_what_is_expected_apart_from_the_consequence(
    raw: dict[str, Any], change: Change, error: ConfigError
) -> None:
    """Code, key, bad value, expectation, consequence and example."""
    assert parse(changed(raw, change))[1] == [error]


def test_an_error_is_printed_with_a_line_for_each_part() -> None:
    """The key, its bad value and the code first."""
    error = ConfigError(
        "value-type",
        "ssh.port",
        "'22'",
        expectation="a whole number",
        consequence="nothing could connect",
        example="22",
    )
    assert str(error).splitlines() == [
        "ssh.port: '22' [value-type]",
        "    expected: a whole number",
        "    why:      nothing could connect",
        "    example:  22",
    ]
