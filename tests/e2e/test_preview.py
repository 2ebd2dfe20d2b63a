"""What a user sees before anything is done: previews and refusals of the real CLI."""

from __future__ import annotations

import time

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import Stack, measured


def test_a_first_preview_needs_no_host(existing: Stack, fresh: Lab, london: Host, tokyo: Host) -> None:
    """Both hosts are off: every setting is still shown. Its time is printed."""
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
    """First all wrong values, then all contradictions, each with all its parts; and nothing is planned."""
    text = existing.file.read_text()

    def contradict(config: dict[str, dict[str, dict[str, object]]]) -> None:
        config["sites"]["tokyo"]["read_only"] = False

    def spoil(config: dict[str, dict[str, dict[str, object]]]) -> None:
        contradict(config)
        config["sites"]["tokyo"]["registry_url"] = "https://registry.tokyo.example.com/path"
        config["regions"] = {}

    rounds = (
        (spoil, "2 errors", ("sites.tokyo.registry_url: 'https://registry.", "regions: unknown key")),
        (contradict, "1 error", ("sites.tokyo.read_only: false on a secondary of shared storage",)),
    )
    for change, count, keys in rounds:
        existing.file.write_text(text)
        existing.configure(change)
        said = existing.preview(check=False)
        for part in (f"Pulumi.existing.yaml has {count}; nothing was touched.", *keys):
            assert part in said
        assert said.count("expected:") == said.count("why:") == said.count("example:") == len(keys)
        assert "Traceback" not in said
    existing.file.write_text(text)
    said = existing.preview()
    assert "nothing was touched" not in said and "+ 43 to create" in said


def test_two_sites_of_one_name_are_refused(existing: Stack) -> None:
    """YAML would keep one of the two without a word; the CLI does not."""
    text = existing.file.read_text()
    existing.file.write_text(text.replace("    tokyo:\n", "    london:\n"))
    said = existing.preview(check=False)
    existing.file.write_text(text)
    assert "london" in said and "already" in said
    assert "Traceback" not in said
