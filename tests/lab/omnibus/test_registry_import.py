"""`registry database import` of the stand-in: what it puts into a real PostgreSQL, and what it does to lock files."""

from __future__ import annotations

import re

import pytest

from lab.api import Lab
from lab.databases import Database
from lab.services import AWS_ENDPOINT
from tests.lab.omnibus.gitlab_site import GitLabSite
from tests.lab.omnibus.gitlab_tree import wait_for
from tests.lab.omnibus.registry_commands import BODY, FILESYSTEM, IN_DATABASE, fails, lines, run, succeeds
from tests.lab.omnibus.test_registry_stand_in import refuses

TAGS = """
SELECT string_agg(concat_ws(' ', r.path, t.name, 'sha256:' || encode(substr(m.digest, 2), 'hex')), E'\\n'
  ORDER BY r.path, t.name)
FROM tags t JOIN repositories r ON r.id = t.repository_id JOIN manifests m ON m.id = t.manifest_id
"""
COUNTS = "SELECT (SELECT count(*) FROM repositories), (SELECT count(*) FROM manifests), (SELECT count(*) FROM tags)"
NOT_EMPTY = "halting import to protect data: tags already present in database"


@pytest.fixture
def filled(site: GitLabSite, database: Database) -> list[str]:
    """Three tags of two images in two repositories, and a migrated database; the rows meant."""
    site.reconfigure()
    with site.running("rails", "registry"):
        pushed = {
            ("group/app", "1"): site.push("group/app", "1"),
            ("group/app", "2"): site.push("group/app", "2", "another"),
            ("group/sub/tool", "latest"): site.push("group/sub/tool", "latest"),
        }
    site.reconfigure(lines(database, "false"))
    succeeds(site, "migrate", "up")
    site.tree.write(FILESYSTEM, BODY)
    return [f"{path} {tag} {digest}" for (path, tag), digest in pushed.items()]


def rows(database: Database) -> list[str]:
    return database.query(TAGS).splitlines()


def locks(site: GitLabSite) -> tuple[bool, bool]:
    """Whether the file of the storage is there, and that of the database."""
    return site.tree.exists(FILESYSTEM), site.tree.exists(IN_DATABASE)


def test_three_steps(site: GitLabSite, database: Database, filled: list[str]) -> None:
    """Manifests first, then tags, which changes the lock files, then all other blobs."""
    said = succeeds(site, "import", "--step-one", "--row-count")
    assert re.search(r"\[\d+s\] step one: import manifests\n", said)
    assert re.search(r"\[\d+s\] step one completed in \d+s\n", said)
    assert "pre importing manifests in group/sub/tool" in said
    assert database.query(COUNTS) == "2\t3\t0"
    assert locks(site) == (True, False)
    said = succeeds(site, "import", "--step-two", "--log-to-stdout", "--row-count")
    assert 'msg="importing repository" repository=group/app' in said
    assert "repositories=2 manifests=3 blobs=4 tags=3" in said
    assert rows(database) == filled
    assert locks(site) == (False, True)
    site.tree.write("/images/docker/registry/v2/blobs/sha256/ab/" + "ab" * 32 + "/data", "dangling")
    succeeds(site, "import", "--step-three")
    assert database.query("SELECT count(*) FROM blobs WHERE size = 8") == "1"
    assert "registry metadata database in use" in refuses(site)
    site.reconfigure(lines(database))
    with site.registry():
        pass


def test_all_in_one_step(site: GitLabSite, database: Database, filled: list[str]) -> None:
    """The detailed log is in the working directory."""
    said = succeeds(site, "import")
    assert "step three completed" in said and "registry import complete" in said
    assert rows(database) == filled
    assert locks(site) == (False, True)
    name = re.search(r"detailed log written to: (\S+)", said)
    assert name and 'msg="metadata import complete"' in site.tree.read(
        name[1].removeprefix(str(site.tree.root))
    )


def test_what_was_pushed_in_between_is_imported_by_the_second_step(
    site: GitLabSite, database: Database, filled: list[str]
) -> None:
    """Repositories that the first step has done are skipped when it is repeated, for three days."""
    succeeds(site, "import", "--step-one")
    site.tree.path(FILESYSTEM).unlink()
    site.reconfigure()
    with site.running("rails", "registry"):
        later = site.push("group/app", "3", "later")
    site.reconfigure(lines(database, "false"))
    assert "skipping repository pre import" in succeeds(site, "import", "--step-one", "-l")
    assert database.query(COUNTS) == "2\t3\t0"
    succeeds(site, "import", "--step-one", "--pre-import-skip-recent", "0")
    assert database.query(COUNTS) == "2\t4\t0"
    succeeds(site, "import", "--step-two")
    assert f"group/app 3 {later}" in rows(database)


def test_the_second_step_refuses_where_there_are_tags(
    site: GitLabSite, database: Database, filled: list[str]
) -> None:
    """And puts the lock files back, also after a complete import; tags must be removed for another try."""
    succeeds(site, "import")
    assert fails(site, "import", "--step-two").startswith(
        f"failed to import metadata: importing all repositories: {NOT_EMPTY}"
    )
    assert locks(site) == (True, False)
    database.query("TRUNCATE tags")
    succeeds(site, "import", "--step-two")
    assert locks(site) == (False, True)
    assert rows(database) == filled


def test_a_dry_run_changes_nothing_but_marks_the_storage(
    site: GitLabSite, database: Database, filled: list[str]
) -> None:
    """After a complete import it fails instead."""
    site.tree.path(FILESYSTEM).unlink()
    succeeds(site, "import", "--dry-run")
    assert database.query(COUNTS) == "0\t0\t0"
    assert locks(site) == (True, False)
    succeeds(site, "import")
    assert "could not restore lockfiles: database-in-use lockfile exists" in fails(
        site, "import", "--dry-run"
    )
    assert locks(site) == (False, True)


def test_a_storage_without_images(site: GitLabSite, database: Database) -> None:
    site.reconfigure(lines(database, "false"))
    succeeds(site, "migrate", "up")
    assert fails(site, "import", "--step-one") == (
        "failed to import metadata: pre importing all repositories: filesystem: Path not found: "
        "/docker/registry/v2/repositories"
    )


def test_a_broken_tag_is_left_out(site: GitLabSite, database: Database, filled: list[str]) -> None:
    link = "/images/docker/registry/v2/repositories/group/app/_manifests/tags/2/current/link"
    site.tree.write(link, "no digest")
    succeeds(site, "import")
    assert rows(database) == [row for row in filled if not row.startswith("group/app 2 ")]


def test_a_full_disk_of_the_database_ends_it(site: GitLabSite, database: Database, filled: list[str]) -> None:
    """The lock files remain those of the storage; afterwards it goes on."""
    database.query("CREATE TABLE ballast (text text)")
    database.fill_disk()
    done = run(site, "import")
    database.free_disk()
    assert done.returncode == 1
    assert locks(site) == (True, False)
    database.query("TRUNCATE tags")
    succeeds(site, "import")
    assert rows(database) == filled


def test_from_s3(site: GitLabSite, database: Database, filled: list[str], lab: Lab) -> None:
    """With the keys of the configuration, below its root directory; the lock files are objects there."""
    s3 = lab.s3()
    s3.create_bucket(Bucket="import", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    images = site.tree.path("/images")
    for file in images.rglob("*"):
        if file.is_file() and file.name != ".keep":
            s3.upload_file(str(file), "import", f"root/{file.relative_to(images)}")
    storage = {
        "bucket": "import",
        "region": "eu-west-1",
        "accesskey": lab.aws.access_key_id,
        "secretkey": lab.aws.secret_access_key,
        "regionendpoint": AWS_ENDPOINT,
        "rootdirectory": "/root",
    }
    pairs = ", ".join(f"'{name}' => '{value}'" for name, value in storage.items())
    site.reconfigure(lines(database, "false") + f"registry['storage'] = {{ 's3_v2' => {{ {pairs} }} }}\n")
    succeeds(site, "import")
    assert rows(database) == filled
    keys = {
        one["Key"]
        for one in s3.list_objects_v2(Bucket="import", Prefix="root/docker/registry/lockfiles")["Contents"]
    }
    assert keys == {"root/docker/registry/lockfiles/database-in-use"}


def test_what_is_pushed_and_deleted_later_is_in_the_tables(
    site: GitLabSite, database: Database, filled: list[str]
) -> None:
    """From the registry's events, also beside an endpoint for notifications."""
    succeeds(site, "import")
    site.reconfigure(lines(database) + site.geo_event())
    with site.running("rails", "registry"):
        digest = site.push("group/new", "1", "new")
        wait_for(lambda: f"group/new 1 {digest}" in rows(database))
        site.delete("group/new", digest)
        wait_for(lambda: rows(database) == filled)
