"""Secrets that we make: once, and anew only when asked."""

from __future__ import annotations

import base64
import pickletools

import pytest
from pulumi.dynamic.dynamic import serialize_provider

from components.registry_secrets import _Provider, generate

pytestmark = pytest.mark.components


def test_only_a_raised_number_asks_for_a_new_secret() -> None:
    """What else is in the inputs, the serialized program among it, asks for nothing."""
    old = {"length": 32, "rotation": 0, "value": "kept", "__provider": "by Python 3.11"}
    kept = _Provider().diff("id", old, {"length": 32, "rotation": 0, "__provider": "by Python 3.14"})
    assert (kept.changes, kept.replaces) == (False, [])
    asked = _Provider().diff("id", old, {"length": 32, "rotation": 1, "__provider": "by Python 3.11"})
    assert (asked.changes, asked.replaces) == (True, ["rotation"])


def test_the_state_names_the_provider_and_holds_none_of_its_code() -> None:
    """A pickle by reference: another Python, or a changed program, reads it as well."""
    pickled = base64.b64decode(serialize_provider(_Provider()))
    names = [str(argument) for code, argument, _ in pickletools.genops(pickled) if "UNICODE" in code.name]
    assert "components.registry_secrets" in names
    assert "_Provider" in names
    assert len(pickled) < 200


def test_a_secret_is_alphanumeric_and_starts_with_a_letter() -> None:
    """32 letters and digits: nothing that a shell, YAML or Ruby could read as something else."""
    made = {generate(32) for _ in range(200)}
    assert len(made) == 200
    assert all(len(s) == 32 and s.isascii() and s.isalnum() and s[0].isalpha() for s in made)
