"""Sites that hold images in legacy metadata move to a database each, the secondary first. Tests build on each other."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.databases import Database
from lab.host import Host
from operations.ssh import SILENT_SECONDS
from tests import installed
from tests.docs import commands
from tests.e2e.importer import CHECKOUT, command, ends, name_database, run, types, without_up
from tests.e2e.stack import Stack, files, measured, settle

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        installed.VERSION < (17, 3), reason="the metadata database is a beta before GitLab 17.3"
    ),
]
CONFIG = "/var/opt/gitlab/registry/config.yml"
STATE = "/etc/gitlab/geo-registry/import.json"
REPOSITORIES = [f"group/app{number}" for number in range(3)]


def digests(lab: Lab, site: str) -> dict[str, dict[str, str]]:
    return {repository: lab.tags(site, repository) for repository in REPOSITORIES}


def database(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(host.read(CONFIG))["database"]
    return found


@pytest.fixture(scope="module")
def stack(replicated: Stack, fresh: Lab) -> Stack:
    """Both sites with images in legacy metadata, replicated."""

    def change(config: dict[str, Any]) -> None:
        for site in config["sites"].values():
            site["storage"] = "keep"

    replicated.configure(change)
    for repository in REPOSITORIES:
        for tag in ("1", "2"):
            fresh.push("london", f"{repository}:{tag}", f"{repository}{tag}".encode())
    replicated.up()
    fresh.wait(lambda: digests(fresh, "tokyo") == digests(fresh, "london"), 60, "the backfill of tokyo")
    return replicated


@pytest.fixture(scope="module")
def tokyo_server(stack: Stack, fresh: Lab) -> Database:
    """Named in the configuration."""
    server = fresh.database("tokyo")
    name_database(stack, server)
    return server


@pytest.fixture
def locked(tokyo_server: Database) -> Iterator[threading.Event]:
    """The importer waits for a table until the event is set."""
    released = threading.Event()
    lock = "BEGIN; LOCK TABLE repositories IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600);"

    def hold() -> None:
        with pytest.raises(subprocess.CalledProcessError):
            tokyo_server.query(lock)

    def release() -> None:
        released.wait()
        tokyo_server.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
        )

    holder = threading.Thread(target=hold)
    holder.start()
    waiter = threading.Thread(target=release)
    waiter.start()
    yield released
    released.set()
    waiter.join()
    holder.join()


def test_a_site_with_images_is_not_switched_without_an_import(
    stack: Stack, tokyo_server: Database, tokyo: Host
) -> None:
    """`up` refuses it, and names the command."""
    assert tokyo_server.host
    before = files(tokyo), tokyo.reconfigures()
    said = stack.fails()
    assert (
        "[metadata-database-switched-on]" in said
        and "make import-registry STACK=replicated SITE=tokyo" in said
    )
    assert (files(tokyo), tokyo.reconfigures()) == before


def test_a_site_without_a_database_cannot_be_imported(stack: Stack) -> None:
    """Nor one that does not exist."""
    assert "sites.london.metadata_database is not set" in run(stack, "london", status=1)
    assert "There is no site 'paris'" in run(stack, "paris", status=1)


def test_a_database_that_is_down_is_refused_before_anything_is_changed(
    stack: Stack, tokyo_server: Database, tokyo: Host
) -> None:
    before = files(tokyo), tokyo.reconfigures()
    tokyo_server.stop()
    try:
        said = run(stack, "tokyo", "--yes", status=1)
    finally:
        tokyo_server.start()
    assert "[metadata-database-unreachable]" in said and "state: nothing was changed on this node" in said
    assert tokyo_server.password not in said
    assert (files(tokyo), tokyo.reconfigures()) == before


def test_a_dry_run_says_how_long_each_step_takes(stack: Stack, tokyo_server: Database, tokyo: Host) -> None:
    """It leaves no metadata, and the registry as it was."""
    before = files(tokyo), tokyo.reconfigures()
    dry_run, *_ = commands("storage.md", "Import of existing images")
    said = types(stack, dry_run)
    assert [line.split(" takes")[0] for line in said.splitlines() if " takes " in line] == [
        "Step 1",
        "Step 2",
        "Step 3",
    ]
    assert tokyo_server.query("SELECT count(*) FROM tags") == "0"
    assert (files(tokyo), tokyo.reconfigures()) == before


def test_read_only_mode_is_confirmed(stack: Stack, fresh: Lab, tokyo: Host) -> None:
    """Without YES=1 nobody is asked where there is no terminal; manifests are imported, and pushes go on."""
    before = tokyo.reconfigures()
    _, begin, _ = commands("storage.md", "Import of existing images")
    assert "Confirm it with YES=1" in types(stack, begin, status=2)  # make's
    assert tokyo.reconfigures() == before
    fresh.push("tokyo", "group/direct:1")


def test_it_can_be_given_up(stack: Stack, fresh: Lab, tokyo: Host, tokyo_server: Database) -> None:
    """Nothing of it is left on the node."""
    before = files(tokyo), digests(fresh, "tokyo")
    *_, give_up = commands("storage.md", "Import of existing images")
    assert "is given up" in types(stack, give_up)
    assert (files(tokyo), digests(fresh, "tokyo")) == before
    assert not tokyo.exists(STATE) and not tokyo.exists("/var/opt/gitlab/geo-registry-import")
    # The same database serves the next attempt.
    assert tokyo_server.query("SELECT count(*) FROM repositories") == "0"
    run(stack, "tokyo", "--dry-run")


def importing(host: Host) -> bool:
    return host.run("pgrep -f '[d]atabase import --step-one' >/dev/null", check=False).returncode == 0


def started(stack: Stack, host: Host, *, ask: bool = False) -> subprocess.Popen[str]:
    """The command, once the importer runs."""
    process = subprocess.Popen(
        command(stack, "tokyo", *([] if ask else ["--yes"])),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack.lab.wait(lambda: importing(host), 60, "the importer")
    return process


def test_a_full_disk_at_the_database_stops_it(
    stack: Stack, tokyo: Host, tokyo_server: Database, locked: threading.Event
) -> None:
    """The step says why, and the registry serves as before."""
    before = files(tokyo), tokyo.reconfigures()
    process = started(stack, tokyo)
    tokyo_server.fill_disk()
    try:
        locked.set()
        said = process.communicate(timeout=120)[0]
    finally:
        tokyo_server.free_disk()
    assert process.returncode == 1 and "[import-step-failed]" in said, said
    assert "No space left on device" in said and "state: the registry serves as before" in said, said
    assert (files(tokyo), tokyo.reconfigures()) == before


def test_an_interrupted_import_continues(stack: Stack, tokyo: Host, locked: threading.Event) -> None:
    """Ctrl-C ends the command, not the importer; one that was killed is started again."""
    process = started(stack, tokyo)
    process.send_signal(signal.SIGINT)
    assert "Interrupted" in process.communicate(timeout=30)[0]
    assert process.returncode == 130
    assert importing(tokyo)
    tokyo.run("pkill -KILL -f '[d]atabase import --step-one'")
    locked.set()
    assert "Confirm it with YES=1" in run(stack, "tokyo", status=1)


def test_a_lost_connection_is_renewed(stack: Stack, tokyo: Host, locked: threading.Event) -> None:
    """The importer continues meanwhile, and the command shows it again."""
    process = started(stack, tokyo, ask=True)
    assert process.stdout
    # It asks for the progress now, which a node answers at once.
    assert any(" repositories" in line for line in process.stdout)
    stack.lab.cut("workstation", "tokyo")
    time.sleep(SILENT_SECONDS + 15)
    assert process.poll() is None and importing(tokyo)
    stack.lab.heal()
    locked.set()
    said = process.communicate(timeout=120)[0]
    assert "trying again for 10 minutes" in said and "Confirm it with YES=1" in said, said


@pytest.mark.skipif(not installed.ENFORCES_LOCK_FILES, reason="this registry has no lock files")
def test_giving_up_ends_where_the_storage_refuses_the_lock_files(
    stack: Stack, fresh: Lab, tokyo: Host, tokyo_server: Database, tmp_path: Path
) -> None:
    """The registry would not start without the database; it stays read-only until they are restored."""
    before = files(tokyo), digests(fresh, "tokyo")
    assert "stays read-only" in ends(command(stack, "tokyo", "--yes"), 1, without_up(tmp_path))
    root = yaml.safe_load(tokyo.read(CONFIG))["storage"]["filesystem"]["rootdirectory"]
    locks = f"{root}/docker/registry/lockfiles"
    tokyo.run(f"chown root {locks} && chmod 755 {locks}")
    said = run(stack, "tokyo", "--give-up", status=1)
    assert "[lock-files-not-restored]" in said and "permission denied" in said.lower(), said
    assert tokyo_server.query("SELECT count(*) FROM tags") != "0"
    assert digests(fresh, "tokyo") == before[1]
    tokyo.run(f"chown registry {locks}")
    run(stack, "tokyo", "--give-up")
    assert (files(tokyo), digests(fresh, "tokyo")) == before
    fresh.push("tokyo", "group/direct:2")


def test_the_secondary_is_imported(stack: Stack, fresh: Lab, tokyo: Host, tokyo_server: Database) -> None:
    """Every digest is there before and after; `up` has switched it, and the next one changes nothing."""
    before = digests(fresh, "tokyo")
    said = run(stack, "tokyo", "--yes")
    seconds = said.partition("Nobody could push for ")[2].partition(".")[0]
    assert seconds, said
    measured(f"read-only at tokyo for {seconds}", 0)
    assert (database(tokyo)["enabled"], database(tokyo)["host"]) == (True, tokyo_server.host)
    assert digests(fresh, "tokyo") == before
    assert "unchanged" in stack.up()
    assert "the import is complete" in run(stack, "tokyo", "--yes")
    digest = fresh.push("london", f"{REPOSITORIES[0]}:3", b"third")
    fresh.wait(lambda: fresh.tags("tokyo", REPOSITORIES[0]).get("3") == digest, 60, "a push after the import")


def test_the_primary_is_imported_while_users_push(stack: Stack, fresh: Lab, london: Host) -> None:
    """Pushes are refused in read-only mode only; what was accepted is there afterwards, at both sites."""
    server = fresh.database("london")
    name_database(stack, server)
    accepted: dict[str, str] = {}
    over = threading.Event()
    refused: list[float] = []

    def push() -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                accepted[str(number)] = fresh.push("london", f"group/busy:{number}", str(number).encode())
            except RuntimeError:
                refused.append(time.monotonic())

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        said = run(stack, "london", "--yes")
        settle(london)
        time.sleep(2)
    finally:
        over.set()
        pusher.join()
    assert refused and accepted, (len(refused), len(accepted))
    window = said.partition("Nobody could push for ")[2].partition(".")[0]
    measured(f"read-only at london for {window}; pushes refused within", refused[-1] - refused[0])
    assert fresh.tags("london", "group/busy") == accepted
    assert digests(fresh, "tokyo") == digests(fresh, "london")
    fresh.wait(lambda: fresh.tags("tokyo", "group/busy") == accepted, 180, "replication of the pushes")
    assert server.query("SELECT count(*) FROM tags") != "0"
