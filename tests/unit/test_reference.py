"""The reference of the configuration: it is what the model makes, and its schema takes what the program takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from pydantic import SecretStr, TypeAdapter, ValidationError

from config.errors import field_help
from config.model import Deployment
from omnibus import versions
from tests.configurations import CREATED, SHARED, changed, created_databases, drop, per_site, put
from tests.examples import examples
from tests.invalid_configs import storages, topologies
from tests.invalid_configs.every import WRONG
from tests.invalid_configs.table import Wrong
from tests.storages import Case, cases
from tools.reference.__main__ import files
from tools.reference.page import Page
from tools.reference.schema import schema

ROOT = Path(__file__).resolve().parents[2]
PROJECT = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
NAMESPACE = PROJECT["name"]
SCHEMA = schema(Deployment, NAMESPACE)
STACKS = [ROOT / f"Pulumi.{name}.yaml" for name in ("dev", "existing", "replicated")]
RIGHT: list[dict[str, Any]] = [
    SHARED, CREATED, per_site(), *storages.RIGHT,
    topologies.BY_ROLE, topologies.UNIFIED, topologies.DATABASES, created_databases(), topologies.EXTERNAL, topologies.SNIPPET,
]  # fmt: skip


def refusal(raw: dict[str, Any]) -> str:
    """What the schema has against a configuration, with the place; nothing is ""."""
    return _refusal({"config": {f"{NAMESPACE}:{key}": value for key, value in raw.items()}})


def _refusal(stack: dict[str, Any]) -> str:
    error = best_match(Draft7Validator(SCHEMA).iter_errors(stack))
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}" if error else ""


def model_refuses(raw: dict[str, Any]) -> bool:
    """Whether a single value is refused; one whose text has to be understood first is beyond a schema."""
    try:
        Deployment.model_validate(raw)
    except ValidationError as error:
        return any(detail["type"] != "value_error" for detail in error.errors())
    return False


@pytest.mark.parametrize(("name", "content"), files().items(), ids=[*files()])
def test_the_committed_reference_is_what_the_model_makes(name: str, content: str) -> None:
    """A change of the model comes with `make reference`."""
    assert (ROOT / name).read_text(encoding="utf-8") == content, "stale: run `make reference`"


def test_the_schema_is_one() -> None:
    """Draft 7, which editors' YAML language server knows best."""
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("stack", STACKS, ids=[stack.name for stack in STACKS])
def test_the_committed_stacks_name_the_schema_and_keep_to_it(stack: Path) -> None:
    """Also by the regular expressions of JavaScript, which are an editor's."""
    first = stack.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=docs/stack.schema.json"
    assert (stack.parent / first.partition("=")[2]).exists()
    command: list[str | Path] = [
        Path(sys.executable).parent / "check-jsonschema",
        "--schemafile",
        "docs/stack.schema.json",
        stack,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("raw", RIGHT)
def test_what_the_program_takes_the_schema_takes(raw: dict[str, Any]) -> None:
    """Every kind of site and storage."""
    assert refusal(raw) == ""


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.name for wrong in WRONG])
def test_the_schema_refuses_just_what_is_wrong_with_single_values(wrong: Wrong) -> None:
    """A contradiction between two of them is left to the program."""
    assert bool(refusal(wrong.raw)) is model_refuses(wrong.raw), refusal(wrong.raw)


ANYTHING: list[Any] = [
    None, 0, -1, True, "", "x", "10.0.0.0/8", 22, [], ["x"], {}, {"x": 1}, 1.5, "keep", {"s3": {}},
]  # fmt: skip


@examples(300)
@given(case=cases() | st.sampled_from(RIGHT), data=st.data())
def test_schema_and_model_are_of_one_mind(case: Case | dict[str, Any], data: st.DataObject) -> None:
    """Whatever stands in place of any value or beside it."""
    raw = changed(case.raw if isinstance(case, Case) else case, lambda _: None)
    assert refusal(raw) == ""
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict | list):
            places.extend((value, key) for key in (value if isinstance(value, dict) else range(len(value))))
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)
        if isinstance(value, dict):
            places.append((value, "x"))

    collect([*raw.values()])
    del places[: len(raw)]  # what stands at the top is kept as text by Pulumi: see below
    holder, key = places[data.draw(st.integers(0, len(places) - 1))]
    holder[key] = data.draw(st.sampled_from(ANYTHING))
    assert bool(refusal(raw)) is model_refuses(raw), refusal(raw)


SITES, TOKYO = SHARED["sites"], SHARED["sites"]["tokyo"]
SECURE = {"secure": "v1:b25l:dHdv"}
TOP = [
    ("`pulumi config set` writes a boolean as text", "replication", "false", ""),
    ("text that is not a boolean", "replication", "yes", "replication"),
    ("a number that is not a boolean", "replication", 1, "replication"),
    ("a number as text", "reconfigure_seconds", "600", ""),
    ("text that is not a number", "reconfigure_seconds", "10 min", "reconfigure_seconds"),
    ("a number out of range", "reconfigure_seconds", 1, "reconfigure_seconds"),
    ("a version as text", "gitlab_version", "18.10", ""),
    ("a version as a number, which Pulumi makes 18.1", "gitlab_version", 18.10, "gitlab_version"),
    ("any text is a number too", "proof", 7, ""),
    ("a mapping that is not a text", "proof", {"a": 1}, "proof"),
    ("text that Pulumi takes for no mapping", "storage", "{}", "storage"),
    ("nothing, which Pulumi takes for text", "ssh", None, "ssh"),
    ("encrypted text", "issuer", SECURE, ""),
    ("an encrypted boolean, which Pulumi refuses", "replication", SECURE, "replication"),
    ("an encrypted mapping, which Pulumi refuses", "sites", SECURE, "sites"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "place"), [t[1:] for t in TOP], ids=[t[0] for t in TOP])
def test_the_top_level_is_taken_as_pulumi_hands_it_over(key: str, value: Any, place: str) -> None:
    """Tried with Pulumi 3.259, which checks the types in Pulumi.yaml before the program starts."""
    found = refusal({**SHARED, key: value})
    assert found.startswith(f"config.{NAMESPACE}:{place}") if place else found == ""


def test_the_types_of_the_top_level_are_those_in_the_project_file() -> None:
    """Pulumi goes by the latter, the schema by the model."""
    types = {"string": "string", "integer": "integer", "boolean": "boolean", "object": "map"}
    rows = Page(Deployment, NAMESPACE).text().partition("## Top level")[2].partition("\n## ")[0]
    for key in Deployment.model_fields:
        assert f"| `{key}` | {types[PROJECT['config'][key]['type']]}" in rows


def test_any_text_may_be_encrypted_and_nothing_else() -> None:
    """Pulumi hands over what it decrypts as text."""
    for at in (("sites", "tokyo", "external_url"), ("storage", "s3", "bucket"), ("ssh", "private_key")):
        assert refusal(changed(SHARED, put(*at, to=SECURE))) == ""
    for at in (("ssh", "port"), ("sites", "tokyo", "nodes"), ("storage", "s3", "create")):
        assert "secure" in refusal(changed(SHARED, put(*at, to=SECURE)))
    more = {"secure": "v1:x", "port": 22}
    assert refusal(changed(SHARED, put("storage", "s3", "bucket", to=more)))


TYPOS = [
    (put("stroage", to={}), "config: ", "stroage"),
    (put("sites", "tokyo", "regsitry_url", to="x"), "sites.tokyo: ", "regsitry_url"),
    (put("sites", "tokyo", "nodes", "tokyo-1", "hots", to="x"), "sites.tokyo.nodes.tokyo-1: ", "hots"),
    (put("sites", "tokyo", "storage", to={"bucket": "abc", "regoin": "eu-west-1"}), "sites.tokyo.storage: ", "regoin"),
    (put("storage", "s3", "options", to={"chunksiz": 26214400}), "storage.s3.options: ", "chunksiz"),
    (drop("sites", "tokyo", "registry_url"), "sites.tokyo: ", "registry_url"),
    (drop("primary"), "config: ", "primary"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "place", "name"), TYPOS, ids=[t[2] for t in TYPOS])
def test_a_wrong_key_is_told_where_it_stands(change: Any, place: str, name: str) -> None:
    """The place is the mapping that it stands in, which is what an editor underlines."""
    errors = list(
        Draft7Validator(SCHEMA).iter_errors(
            {"config": {f"{NAMESPACE}:{k}": v for k, v in changed(SHARED, change).items()}}
        )
    )
    found = [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in _leaves(errors)]
    assert any(
        text.partition(": ")[0].endswith(place.removesuffix(": ")) and name in text for text in found
    ), found


def _leaves(errors: list[Any]) -> list[Any]:
    return [leaf for error in errors for leaf in (_leaves(error.context) if error.context else [error])]


def test_the_rest_of_the_file_is_pulumis() -> None:
    """Keys of other projects, keys without a namespace, what the engine writes; an environment may hold any."""
    config = {f"{NAMESPACE}:{key}": value for key, value in SHARED.items()}
    assert (
        _refusal(
            {
                "config": {**config, "aws:region": "eu-west-1"},
                "encryptionsalt": "v1:x",
                "secretsprovider": "x",
            }
        )
        == ""
    )
    assert _refusal({"config": SHARED}) == ""
    assert "sotrage" in _refusal({"config": {**SHARED, "sotrage": {}}})
    assert _refusal({"encryptionsalt": "v1:x"})
    assert _refusal({"environment": ["prod"]}) == ""
    assert _refusal({"environment": ["prod"], "config": {f"{NAMESPACE}:primary": []}})


def test_the_page_says_something_of_every_key() -> None:
    """A row for each key of each model, with a sentence; what is secret says so."""
    page = Page(Deployment, NAMESPACE)
    text = page.text()
    for name, shape in page.known.items():
        section = text.partition(f"## {page._heading(name)}\n")[2].partition("\n## ")[0]
        rows = {row.split("`")[1]: row for row in section.splitlines() if row.startswith("| `")}
        assert [*rows] == [*shape["properties"]]
        assert all(re.split(r"(?<!\\)\|", row)[4].endswith(". ") for row in rows.values())
    secrets = sum(
        "SecretStr" in str(f.annotation)
        for kind in _models(Deployment, set())
        for f in kind.model_fields.values()
    )
    assert text.count("string, *secret*") == secrets > 10


def test_an_error_has_the_help_of_the_page() -> None:
    """Of the field itself where it has its own, else of its type."""
    page = Page(Deployment, NAMESPACE)
    for kind in {Deployment, *_models(Deployment, set())}:
        for key, shape in page.known[kind.__name__]["properties"].items():
            assert field_help(kind, key) == shape["x-help"], (kind, key)


def test_every_example_is_one_for_its_key() -> None:
    """As YAML. Where something is left out (…), what is there is known and nothing that is needed is missing."""
    words = r"^pulumi config set|\} or |\} for |^the PEM|\{…\}"
    tried = 0
    for kind in {Deployment, *_models(Deployment, set())}:
        for key, field in kind.model_fields.items():
            example = field_help(kind, key).example
            if re.search(words, example):
                continue
            shape: Any = Annotated[field.annotation, "", *field.metadata]
            try:
                TypeAdapter(shape).validate_python(yaml.safe_load(example.split(", or ")[0]))
            except ValidationError as error:
                found = {one["type"] for one in error.errors()}
                assert "…" in example and not found & {"missing", "extra_forbidden"}, (kind, key)
            tried += 1
    assert tried > 130


def _models(kind: Any, found: set[Any]) -> set[Any]:
    for field in getattr(kind, "model_fields", {}).values():
        for inner in _classes(field.annotation):
            if inner not in found and inner is not SecretStr and hasattr(inner, "model_fields"):
                found.add(inner)
                _models(inner, found)
    return found


def _classes(annotation: Any) -> list[Any]:
    args = getattr(annotation, "__args__", ())
    return [inner for arg in args for inner in _classes(arg)] if args else [annotation]


def test_what_versions_know_stands_at_the_keys() -> None:
    """Each row of the table of versions, with the way out."""
    text = Page(Deployment, NAMESPACE).text()
    for limit in (*versions.LIMITS, versions.METADATA_DATABASE):
        key = limit.key or limit.driver
        rows = [row for row in text.splitlines() if row.startswith(f"| `{key}` |")]
        assert any(limit.range.lower() in row.lower() and limit.way_out in row for row in rows), limit
    for row in (versions.S3_DRIVER, versions.AZURE_DRIVER, versions.NOTIFICATION_RETRIES):
        assert f"| `{row.before}` | {row.since[0]}.{row.since[1]} | `{row.after}` |" in text
