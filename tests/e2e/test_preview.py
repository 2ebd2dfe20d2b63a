"""What a user sees before anything is done: previews and refusals of the real CLI."""

from __future__ import annotations

import time

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import Stack, measured

pytestmark = pytest.mark.e2e


def test_a_first_preview_needs_no_host(existing: Stack, fresh: Lab, london: Host, tokyo: Host) -> None:
    """Both hosts are off: every setting is shown all the same. Its time is printed."""
    for host in (london, tokyo):
        host.stop()
    began = time.monotonic()
    shown = existing.preview("--diff")
    measured("first preview", time.monotonic() - began)
    assert "registry['storage']['maintenance']['readonly']['enabled']" in shown
    assert "registry['notifications']['geo_event']['url']" in shown
    for host in (london, tokyo):
        host.start()


def test_a_wrong_configuration_is_told_without_a_traceback(existing: Stack) -> None:
    """All at once, with key, value, consequence and example; and nothing is planned."""
    text = existing.file.read_text()

    def spoil(config: dict[str, dict[str, dict[str, object]]]) -> None:
        config["sites"]["tokyo"]["registry_url"] = "https://registry.tokyo.example.com/path"
        config["sites"]["tokyo"]["read_only"] = False
        config["regions"] = {}

    existing.configure(spoil)
    said = existing.preview(check=False)
    existing.file.write_text(text)
    assert "Pulumi.existing.yaml has 3 problems; nothing was touched." in said
    for part in ("sites.tokyo.registry_url", "sites.tokyo.read_only", "regions: unknown key", "example:"):
        assert part in said
    assert "Traceback" not in said
    said = existing.preview()
    assert "nothing was touched" not in said and "+ 37 to create" in said


def test_two_sites_of_one_name_are_refused(existing: Stack) -> None:
    """YAML would keep one of the two without a word; the CLI does not."""
    text = existing.file.read_text()
    existing.file.write_text(text.replace("    tokyo:\n", "    london:\n"))
    said = existing.preview(check=False)
    existing.file.write_text(text)
    assert "london" in said and "already" in said
    assert "Traceback" not in said
