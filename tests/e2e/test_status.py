"""`make status`: what differs on nodes and in images is found, and nothing on a healthy deployment. Tests build on each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import GITLAB_RB, OURS, Stack, settle
from tests.ruby import Program

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SETTINGS = f"{OURS}/settings.rb"
LOCKS = "docker/registry/lockfiles"
KEY = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"


def status(stack: Stack, code: int, *more: str) -> dict[str, Any]:
    """What it finds; its exit status must be `code`."""
    module = ["-m", "tools.interruptible", "operations.status"]
    options = ["--stack", stack.name, "--project", str(stack.lab.dir / "project"), "--json", *more]
    done = subprocess.run(
        [sys.executable, *module, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differences(found: dict[str, Any]) -> dict[str, list[str]]:
    return {node["name"]: node["differences"] for node in found["nodes"] if node["differences"]}


@pytest.fixture(scope="module")
def stack(replicated: Stack, fresh: Lab) -> Stack:
    """Up, with an image of two tags that has arrived."""
    replicated.up()
    for tag in ("1", "2"):
        fresh.push("london", f"group/app:{tag}", tag.encode())
    pushed = fresh.tags("london", "group/app")
    fresh.wait(lambda: fresh.tags("tokyo", "group/app") == pushed, 60, "replication")
    return replicated


def test_a_healthy_deployment_has_no_differences(stack: Stack) -> None:
    """Ten times, as a scheduled job would ask."""
    for _ in range(10):
        found = status(stack, 0)
        (tokyo,) = found["comparisons"]
        assert (tokyo["site"], tokyo["tags"]) == ("tokyo", 2)
        # The lab's certificates are for a month.
        assert all("expires on" in text for node in found["nodes"] for text in node["warnings"])
        assert tokyo["counts"] == {"missing": 0, "different": 0, "surplus": 0}
        # The registries write their lock file at their next start.
        known = {"answers": 401, "read_only": False, "database": None, "lock_file": "no lock file"}
        assert [node["registry"] for node in found["nodes"]] == [known] * 2


def test_geos_own_numbers_are_those_of_the_tracking_database(stack: Stack, tokyo: Host) -> None:
    """Only the secondary has them."""
    known = {"pending": 0, "started": 0, "synced": 1, "failed": 0, "verified": 0, "lately": 1}
    assert [node["geo"] for node in status(stack, 0)["nodes"]] == [None, known]
    tokyo.run("gitlab-ctl stop sidekiq")
    tracking = "/var/opt/gitlab/geo-postgresql/tracking.json"
    before = tokyo.run(f"cat {tracking}").stdout
    document = json.loads(before)
    rows = document["container_repository_registries"]
    old = {"last_synced_at": "2026-01-01T00:00:00Z", "retry_count": 0}
    rows += [
        {"container_repository_id": 100 + n, "state": state, **old} for n, state in enumerate((0, 0, 2, 3))
    ]
    tokyo.run(f"cat > {tracking}", input=json.dumps(document))
    found = status(stack, 0)["nodes"][1]["geo"]
    assert found == {**known, "pending": 2, "synced": 2, "failed": 1}
    tokyo.run(f"cat > {tracking}", input=before)
    tokyo.run("gitlab-ctl start sidekiq")


TRACKING = """
CREATE TABLE container_repository_registry (id integer NOT NULL, container_repository_id integer NOT NULL,
  state character varying, last_synced_at timestamp without time zone, verification_state smallint DEFAULT 0 NOT NULL);
INSERT INTO container_repository_registry VALUES
  (1, 1, '2', now() AT TIME ZONE 'UTC', 2), (2, 2, '2', '2026-01-01', 0), (3, 3, '0', NULL, 0);
"""
"""As GitLab has it (ee/db/geo/structure.sql), without what the query does not read."""


def test_postgresql_takes_the_query_for_them(fresh: Lab) -> None:
    """The lab's tracking database is a file, of which SQLite makes a table."""
    database = fresh.database("tokyo")
    database.query(TRACKING)
    with Program() as ruby:
        (query,) = ruby.ask(["->(seconds) { Geo.sql(Time.now - seconds) }", 3600])
        rows = [line.split("\t") for line in database.query(query).splitlines()]
        (found,) = ruby.ask(["Geo.method(:sum)", rows])
    assert found == {"pending": 1, "started": 0, "synced": 2, "failed": 0, "verified": 1, "lately": 1}


def edited(host: Host) -> None:
    host.run(f"echo '# mine' >> {SETTINGS}")


def not_included(host: Host) -> None:
    host.run(f"sed -i '/from_file/d' {GITLAB_RB}")


def other_key(host: Host) -> None:
    host.run(f"openssl genrsa 2048 > {KEY} 2>/dev/null")


def overridden(host: Host) -> None:
    host.run(f"echo \"gitlab_rails['registry_issuer'] = 'another'\" >> {GITLAB_RB} && gitlab-ctl reconfigure")
    settle(host)


def not_restarted(host: Host) -> None:
    host.run("sleep 2; touch /var/opt/gitlab/registry/gitlab-registry.crt")


def locked(host: Host) -> None:
    s3 = Lab.current().s3()
    s3.put_object(Bucket="acme-registry-london", Key=f"{LOCKS}/database-in-use", Body=b'{"version":1}')


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (edited, 2, f"{SETTINGS} was changed"),
        (not_included, 2, f"{GITLAB_RB} no longer includes the settings of this stack"),
        (other_key, 2, f"{KEY} contains another key"),
        (overridden, 1, "config.yml has the issuer another"),
        (locked, 2, "[lock-file-database-in-use]"),
        (not_restarted, 2, "gitlab-registry.crt was changed after the registry was started"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_was_changed_on_a_node_is_found(
    stack: Stack, london: Host, spoil: Callable[[Host], None], code: int, says: str
) -> None:
    """With the time of the change; `pulumi up` with a new `proof` corrects it.

    With another issuer, the primary refuses the tokens of the comparison, so nobody can tell.
    """
    spoil(london)
    found = differences(status(stack, code))
    assert [*found] == ["london-1"]
    assert any(says in text for text in found["london-1"]), found
    if spoil is locked:
        Lab.current().s3().delete_object(Bucket="acme-registry-london", Key=f"{LOCKS}/database-in-use")
    stack.configure(lambda config: config.update(proof=says))
    stack.up()
    if spoil is not_restarted:
        london.run("gitlab-ctl restart registry")
        settle(london)
    if spoil is overridden:
        london.run(f"sed -i '/another/d' {GITLAB_RB} && gitlab-ctl reconfigure")
        settle(london)
    assert differences(status(stack, 0)) == {}


def test_a_manifest_of_an_index_is_missing_though_the_tag_is_equal(stack: Stack, fresh: Lab) -> None:
    """So is a signature, which is a tag, or what the index refers to that stands for the referrers API."""
    whole = fresh.push("london", "group/multi:1", b"one", b"two")
    attached = whole.replace(":", "-")
    fresh.push("london", f"group/multi:{attached}.sig", b"signature")
    fresh.push("london", f"group/multi:{attached}", b"bill", b"materials")
    pushed = fresh.tags("london", "group/multi")
    fresh.wait(lambda: fresh.tags("tokyo", "group/multi") == pushed, 60, "replication")
    assert status(stack, 0)["comparisons"][0]["tags"] == 5
    part = fresh.manifest("tokyo", "group/multi:1")["manifests"][0]["digest"]
    bill = fresh.manifest("tokyo", f"group/multi:{attached}")["manifests"][1]["digest"]
    fresh.delete_tag("tokyo", f"group/multi@{part}")
    fresh.delete_tag("tokyo", f"group/multi@{bill}")
    fresh.delete_tag("tokyo", f"group/multi:{attached}.sig")
    missing = [f":1@{part}", f":{attached}.sig", f":{attached}@{bill}"]
    (tokyo,) = status(stack, 2)["comparisons"]
    assert tokyo["images"]["missing"] == [f"group/multi{one}" for one in missing]
    fresh.push("tokyo", "group/multi:1", b"one", b"two")
    fresh.push("tokyo", f"group/multi:{attached}.sig", b"signature")
    fresh.push("tokyo", f"group/multi:{attached}", b"bill", b"materials")
    assert status(stack, 0)["comparisons"][0]["counts"]["missing"] == 0


def test_a_layer_that_is_gone_is_missing_with_deep(stack: Stack, fresh: Lab) -> None:
    """Of an image, and of one of an index's, whatever the registry remembers of its storage."""
    assert status(stack, 0, "--deep")["comparisons"][0]["tags"] == 5
    second = fresh.manifest("tokyo", "group/multi:1")["manifests"][1]["digest"]
    layer = fresh.manifest("tokyo", f"group/multi@{second}")["layers"][0]["digest"]
    config = fresh.manifest("tokyo", "group/app:1")["config"]["digest"]
    s3 = fresh.s3("ap-northeast-1")
    for name in (layer.partition(":")[2], config.partition(":")[2]):
        key = f"docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
        assert s3.head_object(Bucket="acme-registry-tokyo", Key=key)
        s3.delete_object(Bucket="acme-registry-tokyo", Key=key)
    status(stack, 0)
    (tokyo,) = status(stack, 2, "--deep")["comparisons"]
    assert tokyo["images"]["missing"] == [f"group/app:1@{config}", f"group/multi:1@{layer}"]


def test_images_that_differ_are_named(stack: Stack, fresh: Lab, tmp_path: Path) -> None:
    """A missing tag, a surplus one, and one with another digest; also on the page."""
    fresh.delete_tag("tokyo", "group/app:1")
    fresh.push("tokyo", "group/app:2", b"another")
    fresh.push("tokyo", "group/other:1", b"only here")
    page = tmp_path / "page.html"
    (tokyo,) = status(stack, 2, "--html", str(page))["comparisons"]
    assert "tokyo, secondary" in page.read_text() and "group/other:1" in page.read_text()
    assert tokyo["images"] == {
        "missing": ["group/app:1"],
        "different": ["group/app:2"],
        "surplus": ["group/other:1"],
    }


def test_a_registry_that_does_not_answer_is_never_equal(stack: Stack, london: Host) -> None:
    """Nor a node that cannot be reached."""
    london.run("gitlab-ctl stop registry")
    found = status(stack, 1)
    assert "[registry-not-readable]" in found["comparisons"][0]["failure"]
    london.run("gitlab-ctl start registry")
    london.stop()
    found = status(stack, 1)
    assert [node["name"] for node in found["nodes"] if node["failure"]] == ["london-1"]
    london.start()


def test_it_names_no_secret(stack: Stack, london: Host, tmp_path: Path) -> None:
    """In no output."""
    settle(london)
    page = tmp_path / "page.html"
    text = json.dumps(status(stack, 2, "--html", str(page))) + page.read_text()
    for secret in yaml.safe_load(london.read(f"{OURS}/secrets.json")).values():
        assert secret not in text
