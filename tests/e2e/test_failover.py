"""A failover that is checked beforehand, carried out by its steps, and reverted. Tests build on each other."""

from __future__ import annotations

import re
import sys
import time
from functools import partial

import pytest

from lab.api import Lab
from lab.host import Host
from tests import installed
from tests.docs import commands
from tests.e2e.importer import ends, types
from tests.e2e.stack import OURS, Stack, measured, play, settle

pytestmark = pytest.mark.e2e


def failover_check(stack: Stack, to: str, code: int) -> str:
    """What it prints; its exit status must be `code`: 0 go, 2 no-go, 1 not known."""
    module = ["-m", "tools.interruptible", "operations.failover_check", "--stack", stack.name, "--to", to]
    return ends([sys.executable, *module, "--project", str(stack.lab.dir / "project")], code)


@pytest.fixture(scope="module", params=["replicated", "existing"])
def stack(request: pytest.FixtureRequest, fresh: Lab) -> Stack:
    """Up, per-site storage or shared, with an image that both sites have."""
    fresh.reset()
    found = Stack(fresh, request.param)
    found.up()
    digest = fresh.push("london", "group/app:1")
    fresh.wait(lambda: fresh.tags("tokyo", "group/app").get("1") == digest, 60, "the image at tokyo")
    return found


def test_a_secondary_with_everything_is_a_go(stack: Stack) -> None:
    """With the steps in order, and this stack's values."""
    (check,) = commands("operations.md", "Prepare a failover")
    said = types(stack, check)
    assert "tokyo as the primary: go" in said and "lost" not in said
    moves = [f"pulumi config set primary tokyo --stack {stack.name}", f"pulumi up --stack {stack.name}"]
    assert re.findall(r"`(pulumi [^`]*)`", said) == moves
    assert said.index("gitlab-ctl geo promote") < said.index(moves[0]) < said.index("make status")


@pytest.fixture
def per_site(stack: Stack) -> Stack:
    """For what is the same with shared storage, or cannot be there."""
    if stack.name != "replicated":
        pytest.skip("shown with storage per site")
    return stack


def test_only_a_secondary_is_checked(per_site: Stack) -> None:
    for site in ("london", "paris"):
        assert "TO must be a secondary" in failover_check(per_site, site, 1)


def test_what_would_be_lost_is_named(per_site: Stack, fresh: Lab, london: Host, tokyo: Host) -> None:
    tokyo.run("gitlab-ctl stop sidekiq")
    fresh.push("london", "group/app:late", b"late")
    said = failover_check(per_site, "tokyo", 2)
    assert "would be lost:\n  missing at tokyo: group/app:late\n" in said and "no-go" in said
    tokyo.run("gitlab-ctl start sidekiq")
    fresh.wait(lambda: "late" in fresh.tags("tokyo", "group/app"), 60, "the late image")
    failover_check(per_site, "tokyo", 0)


def test_what_is_not_ready_is_named(per_site: Stack, fresh: Lab, tokyo: Host) -> None:
    """A node that differs, and a configuration that could not be the new primary's."""
    before = tokyo.read(f"{OURS}/settings.rb")
    tokyo.write(f"{OURS}/settings.rb", before + b"# mine\n")
    assert "not ready:\n  tokyo-1: " in failover_check(per_site, "tokyo", 2)
    tokyo.write(f"{OURS}/settings.rb", before)
    if not installed.MAY_HAVE_DATABASE:
        return
    text = per_site.file.read_text()
    per_site.configure(lambda config: config["sites"]["london"].update(metadata_database="managed"))
    assert "[database-managed-at-secondary]" in failover_check(per_site, "tokyo", 2)
    per_site.file.write_text(text)


def test_a_primary_that_does_not_answer_leaves_it_open(per_site: Stack, london: Host) -> None:
    """The steps are there nevertheless."""
    london.stop()
    try:
        said = failover_check(per_site, "tokyo", 1)
    finally:
        london.start()
        settle(london)
    assert "could not be determined:\n" in said and "\n  london-1" in said
    assert "tokyo: its images could not be compared" in said and "gitlab-ctl geo promote" in said


def has(lab: Lab, site: str, repository: str, tags: dict[str, str]) -> bool:
    return lab.tags(site, repository) == tags


@pytest.mark.parametrize(("former", "to"), [("london", "tokyo"), ("tokyo", "london")], ids=["there", "back"])
def test_a_planned_failover_loses_nothing(
    stack: Stack, fresh: Lab, london: Host, tokyo: Host, former: str, to: str
) -> None:
    """What was pushed before and after is at both sites, digest by digest."""
    hosts = {"london": london, "tokyo": tokyo}
    accepted = {
        str(number): fresh.push(former, f"group/{to}:{number}", str(number).encode()) for number in range(5)
    }
    fresh.wait(lambda: fresh.tags(to, f"group/{to}") == accepted, 60, f"the pushes at {to}")
    said = failover_check(stack, to, 0)
    began = time.monotonic()
    play(hosts[to], "primary")
    play(hosts[former], "secondary")
    for command in re.findall(r"`pulumi ([^`]*) --stack [^`]*`", said):
        fresh.pulumi(
            *command.split(), *(["--yes", "--skip-preview"] if command == "up" else []), stack=stack.name
        )
    digest = fresh.push(to, f"group/{to}:after", b"after")
    measured(f"nobody could push ({stack.name}, to {to})", time.monotonic() - began)
    accepted["after"] = digest
    for site in (former, to):
        fresh.wait(partial(has, fresh, site, f"group/{to}", accepted), 60, f"all images at {site}")
        assert fresh.pull(site, f"group/{to}:after") == digest
    failover_check(stack, former, 0)
