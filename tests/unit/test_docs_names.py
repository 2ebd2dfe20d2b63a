"""The names that the pages of docs/ speak of: keys of the configuration, files, variables, outputs exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs import DOCS, FOR_DEVELOPERS, PAGES, commands, read, spans

ROOT = DOCS.parent
MADE = "configuration.md"
WRITTEN = [page for page in [*PAGES, *FOR_DEVELOPERS] if page != MADE]
"""The reference is made from the model, and so not looked at for names."""


def texts(*folders: str) -> str:
    """All programs and tests in these folders of the project, as one text."""
    kinds = {".py", ".rb", ".sh", ".json", ".yml"}
    files = [
        path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in kinds
    ]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files if not own(path))


def own(path: Path) -> bool:
    """Whether it is a test of the pages: what only that names need not exist."""
    return path.name.startswith("test_docs")


def known_keys() -> set[str]:
    """Every key of the configuration by its whole path, sites and nodes by SITE and NODE."""
    found: set[str] = set()
    text = read(MADE)
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        also = re.search(r"Also: ([^\n]*?)\.$", body, re.MULTILINE)
        owners = re.findall(r"`([^`]+)`", heading + (also[1] if also else "")) or [""]
        keys = re.findall(r"^\| `([a-z0-9_]+)` \|", body, re.MULTILINE)
        if not heading.startswith("What GitLab"):
            found |= {f"{owner}.{key}".lstrip(".") for owner in owners for key in keys}
    return found


KEYS = known_keys()
NAMED = {"sites": "SITE", "nodes": "NODE", "hosts": "HOST"}


def is_key(said: str) -> bool:
    """Whether the model knows it, also without what stands before it: ssh.wait_seconds of a node.

    A site, node or host has any name; a word in capitals stands for any key.
    """
    parts = said.split(".")
    if len(parts) > 1 and parts[-2] in NAMED:
        parts.pop()
    named = [NAMED.get(before, part) for before, part in zip(["", *parts], parts, strict=False)]
    provided = [part if part in NAMED.values() or not part.isupper() else "[a-z0-9_]+" for part in named]
    pattern = re.compile(rf"(?:.*\.)?{re.escape('.').join(provided)}")
    return any(pattern.fullmatch(known) for known in KEYS)


def said_keys(text: str) -> Iterator[str]:
    """What of a span, or a command, is meant as a key of the configuration."""
    first = {part for known in KEYS for part in known.split(".")[:1]} | {"aws", "nodes", "credentials"}
    for said in re.findall(r"(?<![\w./-])([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_-]+)+)(?![\w/])", text):
        if said.split(".")[0] in first and not re.search(r"\.(rb|yaml|yml|md|json|py|example|com)\b", said):
            yield said.rstrip(".")
    yield from re.findall(r"^([a-z][a-z0-9_]+): (?:true|false)$", text)


@pytest.mark.parametrize("page", WRITTEN)
def test_no_page_names_a_key_that_is_none(page: str) -> None:
    """In its prose between back-ticks, and in `pulumi config set --path`."""
    config = [re.sub("^pulumi config (set|rm)", "", line) for line in commands(page) if " config " in line]
    said = {key for text in [*spans(page), *config] for key in said_keys(text)}
    assert {key for key in said if not is_key(key)} == set()


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_yaml_have_known_keys(page: str) -> None:
    """Wherever they stand; a site, a node or a host has any name."""
    last = {known.rpartition(".")[2] for known in KEYS}

    def keys(tree: dict[str, Any]) -> Iterator[str]:
        for name, below in tree.items():
            key = name.rpartition(":")[2]
            yield key
            inner = [*below.values()] if key in NAMED else [below]
            yield from (found for one in inner if isinstance(one, dict) for found in keys(one))

    for block in re.findall(r"^```yaml\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL):
        tree = yaml.safe_load(block)
        sites = tree if {"sites", "config"} & {*tree} else {"sites": tree}
        assert {*keys(sites)} - last == set(), block


ELSEWHERE = {
    "/etc/gitlab/gitlab-cluster.json": "GitLab: docs.gitlab.com, Disaster recovery (Geo)",
    "/opt/gitlab/version-manifest.txt": "omnibus-gitlab: its build puts it there",
    "PULUMI_CONFIG_PASSPHRASE_FILE": "Pulumi: docs, environment variables",
    "REGISTRY_AUTH_TOKEN_REALM": "Distribution: docs, configuration by environment",
}
"""Names of others that the program has nothing to do with, and who says what they are."""


@pytest.mark.parametrize("page", WRITTEN)
def test_files_that_are_named_exist(page: str) -> None:
    """Those of this project, and on a node those that program, lab or tests know."""
    top = {path.name for path in ROOT.iterdir()}
    known = texts(
        "config", "plan", "omnibus", "hosts", "components", "operations", "lab", "ci", "tools", "tests"
    )
    for word in (word for span in spans(page) for word in re.findall(r"(?<![\w:/~*.-])[\w./-]+", span)):
        if re.match("/(etc|opt|var|srv)/", word):
            folder, _, name = word.rstrip("/").rpartition("/")
            assert (
                word.rstrip("/") in known or (folder in known and f"/{name}" in known) or word in ELSEWHERE
            ), word
        elif (word.split("/")[0] in top and "/" in word) or re.fullmatch(r"Pulumi\.[a-z]+\.yaml", word):
            assert (ROOT / word).exists() or word == "Pulumi.prod.yaml", word


@pytest.mark.parametrize("page", WRITTEN)
def test_environment_variables_that_are_named_exist(page: str) -> None:
    """In the program, in the lab, or in the CIs' variables."""
    known = texts(
        "config",
        "plan",
        "omnibus",
        "hosts",
        "components",
        "operations",
        "lab",
        "ci",
        "tools",
        "benchmarks",
        "tests",
        ".github",
    )
    known += (ROOT / "Makefile").read_text() + (ROOT / ".gitlab-ci.yml").read_text()
    plain = (span for span in spans(page) if "://" not in span)
    said = {word for span in plain for word in re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b", span)}
    assert {word for word in said if word not in known and word not in ELSEWHERE} == set()


def test_outputs_that_are_named_are_the_programs() -> None:
    """`pulumi stack output NAME`, in every page."""
    program = (ROOT / "__main__.py").read_text()
    said = {name for page in PAGES for name in re.findall(r"stack output (?:--\S+ )*([a-z_]+)", read(page))}
    assert said
    assert {name for name in said if f'"{name}"' not in program} == set()
