"""The registry key is replaced while tokens are used and images pushed, pulled and copied: on three sites, in a lab of its own."""

from __future__ import annotations

from lab.api import Lab
from tests.e2e.test_layouts import run


def test_the_registry_key_is_replaced_without_a_refused_token(lab: Lab) -> None:
    """What layouts/key_rotation.py says in its docstrings."""
    done = run(lab, "three-sites", "key_rotation")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
