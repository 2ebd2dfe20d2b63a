"""The page of `make status`: well-formed, self-contained, and it contains what was found as text only."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from operations.findings import Comparison, NodeStatus, Status
from operations.status_page import page

NOW = datetime(2026, 11, 30, 8, 5, tzinfo=UTC)
HOSTILE = '<script>document.title = "x"</script><img src=x> & "'
REGISTRY = {"answers": 401, "read_only": True, "lock_file": "filesystem-in-use"}
CHROMIUM = shutil.which("chromium")
VOID = ("meta", "br")
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "section",
        "table",
        "tr",
        "th",
        "td",
    ),
    *("span", "ul", "li", "pre", "code", "details", "summary", "progress"),
}


class Document(HTMLParser):
    """Its tags and its texts; every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())


def findings() -> Status:
    """Of three sites: one with a difference, one that was not compared, with texts that are HTML."""
    certificates = {"/etc/a.crt": "2027-02-01T00:00:00Z", "/etc/b.crt": "2026-12-24T00:00:00Z"}
    nodes = [
        NodeStatus("london-1", "london", ["rails", "registry"], "19.2", REGISTRY, certificates),
        NodeStatus("tokyo-1", "tokyo", ["registry"], "19.2", REGISTRY, differences=[HOSTILE]),
        NodeStatus("sydney-1", "sydney", ["registry"], failure=HOSTILE),
    ]
    tokyo = Comparison("tokyo", 3, tags=20)
    tokyo.counts.update(missing=4, surplus=300)
    tokyo.images.update(missing=["group/app:1"], surplus=[HOSTILE])
    return Status("prod", "london", nodes, [tokyo, Comparison("sydney", failure=f"401\n{HOSTILE}")])


def test_the_page_is_self_contained_and_what_was_found_is_text() -> None:
    """Nothing is loaded and nothing runs, whatever a repository or a message is called."""
    document = Document(page(findings(), NOW))
    assert {tag for tag, _ in document.tags} <= ALLOWED
    names = {name for _, attributes in document.tags for name in attributes}
    assert not names & {"src", "href", "style", "onclick", "onload"}
    policy = [attributes["content"] for tag, attributes in document.tags if "http-equiv" in attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert document.texts.count(HOSTILE) == 3 and f"401\n{HOSTILE}" in document.texts


def test_it_has_each_site_with_a_bar_for_the_secondaries_that_were_compared() -> None:
    """The bar is the share of equal tags; no bar says anything about a site that was not compared."""
    document = Document(page(findings(), NOW))
    said = " ".join(document.texts)
    assert "Registries of prod Something could not be determined 30 November 2026, 08:05 UTC" in said
    assert [text for text in document.texts if text.endswith("ary")] == [
        "london, primary",
        "tokyo, secondary",
        "sydney, secondary",
    ]
    (bar,) = (attributes for tag, attributes in document.tags if tag == "progress")
    assert (bar["value"], bar["max"]) == ("16", "20")
    assert "20 tags in 3 repositories of london: 4 missing, 0 different, 300 surplus" in said
    assert "4 missing group/app:1 and 3 more" in said and "and 299 more" in said
    assert "read-only, filesystem-in-use 2026-12-24 ok" in said
    assert "Not compared" in said and "could not be asked" in said


def test_a_healthy_deployment_has_a_full_bar() -> None:
    """Also without any image."""
    node = NodeStatus("london-1", "london", ["registry"], "19.2", REGISTRY)
    for tags, expected in ((0, {"value": "1"}), (7, {"value": "7", "max": "7"})):
        found = Status("prod", "tokyo", [node], [Comparison("london", tags=tags)])
        document = Document(page(found, NOW))
        (bar,) = (attributes for tag, attributes in document.tags if tag == "progress")
        assert bar == {**expected, "aria-label": "equal tags"}
        assert "Everything is as it should be" in document.texts


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (Debian package chromium)")
def test_a_browser_shows_it_and_runs_nothing_in_it(tmp_path: Path) -> None:
    """With JavaScript on: the hostile texts stay texts."""
    file = tmp_path / "page.html"
    file.write_text(page(findings(), NOW), encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [str(CHROMIUM), *quiet, "--dump-dom", file.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "<title>Registries of prod</title>" in done.stdout
    assert done.stdout.count("<progress") == 1 and "<img" not in done.stdout
