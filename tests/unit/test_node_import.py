"""What an import of metadata leaves on the node and in the database, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hosts.programs import GITLAB_NODE
from tests.ruby import LOAD, Ruby

DRIVER = (
    LOAD
    + """
require 'json'; require 'stringio'; require 'tmpdir'
$stdout.sync = true
Report.define_singleton_method(:say) { |line| $said << line }
# PostgreSQL and the importer: what is in the database, and what was asked of both.
class Database
  def where = "db:#{@database['port']}/registry"
  def query(sql)
    $asked << sql
    raise Failure.new('metadata-database-unreachable', 'down', cause: 'refused', remedy: 'x') if $down
    case sql
    when Import::TAGS then $tags.to_s
    when Import::ROWS then $rows.to_s
    when Import::OTHERS then $others.to_s
    when Import::EMPTY then $tags = $rows = 0
    when 'TRUNCATE tags' then $tags = 0
    end.to_s
  end
  def registry_tables? = true
  def check(*, **) = $asked << 'check'
  def migrate(**) = nil
  def exists? = true
end
class Import
  def importer(*flags) = ['importer', *flags]
  def running? = $running
  def read_only? = $read_only
  def repositories = 1
end
Omnibus.define_singleton_method(:run) do |command, _|
  next [true, '0'] unless command.first == 'importer'
  $asked << command.join(' ')
  $tags.zero? ? [true, 'imported'] : [true, "tags already present#{$refused ? ': could not restore lockfiles: AccessDenied' : ''}"]
end
Omnibus.define_singleton_method(:registry_config) { { 'storage' => {}, 'database' => { 'enabled' => $enabled } } }
while (line = $stdin.gets)
  code, state, facts = JSON.parse(line)
  next puts(JSON.generate([eval(code)])) unless facts
  $asked, $said = [], []
  $tags, $rows, $others, $down, $running, $refused, $enabled, $read_only =
    facts.values_at('tags', 'rows', 'others', 'down', 'running', 'refused', 'enabled', 'read_only')
  $tags, $rows, $others = [$tags, $rows, $others].map(&:to_i)
  Dir.mktmpdir do |directory|
    Import.send(:remove_const, :STATE)
    Import.const_set(:STATE, "#{directory}/import.json")
    Import.send(:remove_const, :DIRECTORY)
    Import.const_set(:DIRECTORY, "#{directory}/import")
    Import.define_singleton_method(:save) { |all| File.write(Import::STATE, JSON.generate(all)) }
    Import.save(state) unless state.empty?
    $import = Import.new('node' => 'tokyo-1', 'site' => 'tokyo', 'owner' => 'x/prod', 'reconfigure_seconds' => 60,
                         'secrets' => {}, 'database' => { 'port' => 5432 }, 'import' => facts['request'] || {})
    failed = begin; eval(code); nil; rescue Failure => e; e.code; end
    puts JSON.generate([{ failed: failed, asked: $asked, said: $said, tags: $tags, state: Import.state }])
  end
end
"""
)
IMPORTED = {"database": "db:5432/registry", "phase": "imported", "read_only_since": 1, "locked": True}
GIVE_UP = "$import.give_up { $asked << 'writable' }"
STEP_TWO = "importer --step-two"


class Node(Ruby):
    """Runs Ruby with `$import`, whose database and importer are simulated."""

    def run(self, code: str, state: dict[str, Any], **facts: Any) -> dict[str, Any]:
        """`failed`: a code; `asked`: of database and importer, in order; `state`: what is left on the node."""
        (found,) = self.ask([code, state, facts])
        answer: dict[str, Any] = found
        return answer


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node("-e", DRIVER, str(GITLAB_NODE)) as node:
        yield node


def test_giving_up_restores_the_lock_files_before_the_tags_are_gone(node: Node) -> None:
    """The importer restores them only where it finds tags: without, it would import again."""
    found = node.run(GIVE_UP, IMPORTED, tags=3, rows=2)
    assert found["failed"] is None and found["state"] == {}
    asked = found["asked"]
    assert (
        asked.index(STEP_TWO) < asked.index("TRUNCATE top_level_namespaces CASCADE") < asked.index("writable")
    )


def test_an_import_that_is_being_given_up_is_not_complete(node: Node) -> None:
    """Killed at any point, or failed: `up` must not switch to a database without tags."""
    for stops in ("$import.give_up { raise Failure.new('stopped', 'x', cause: 'x', remedy: 'x') }",):
        found = node.run(stops, IMPORTED, tags=3, rows=2)
        assert found["failed"] == "stopped" and found["tags"] == 0
        assert found["state"]["phase"] == "read-only" and "locked" not in found["state"]
        again = node.run(GIVE_UP, found["state"], tags=0, rows=0)
        assert again["failed"] is None and STEP_TWO not in again["asked"]
        # The rollback of a failed reconfigure.
        assert STEP_TWO not in node.run("$import.back", found["state"], tags=0)["asked"]


def test_lock_files_that_are_not_restored_keep_the_tags(node: Node) -> None:
    for facts in ({"tags": 3, "refused": True}, {"tags": 0}):
        found = node.run(GIVE_UP, IMPORTED, rows=2, **facts)
        assert found["failed"] == "lock-files-not-restored"
        assert found["state"] == IMPORTED and "writable" not in found["asked"]
        assert not [one for one in found["asked"] if one.startswith("TRUNCATE")]


def test_a_database_that_is_down_is_left_only_without_its_lock_files(node: Node) -> None:
    """Before step two nothing in the storage belongs to it."""
    assert node.run(GIVE_UP, IMPORTED, tags=3, down=True)["failed"] == "metadata-database-unreachable"
    found = node.run(GIVE_UP, {"database": "db:5432/registry", "phase": "pre-import"}, down=True)
    assert found["failed"] is None and "is left as it is" in found["said"][0] and found["state"] == {}


def test_another_database_than_the_one_of_the_import_is_never_touched(node: Node) -> None:
    """Its name was changed in the configuration; a dry run alone binds nobody."""
    other = IMPORTED | {"database": "old:5432/registry"}
    found = node.run("$import.refuse_foreign", other)
    assert found["failed"] == "import-into-another-database" and found["asked"] == []
    found = node.run("$import.check(nil)", {"database": "old:5432/registry", "phase": "checked"})
    assert found["failed"] is None and found["state"]["database"] == "db:5432/registry"
    assert node.run("$import.check(nil)", other)["failed"] == "import-into-another-database"


def test_step_two_needs_a_registry_that_is_read_only(node: Node) -> None:
    """Also what follows from it: an earlier run may have ended between two nodes of the site."""
    tags, done = {"step": "2", "dry_run": False}, {"phase": "imported"}
    before = {"database": "db:5432/registry", "phase": "pre-import"}
    for code, request in (("$import.run", tags), ("$import.record", done)):
        found = node.run(code, before, request=request, tags=1)
        assert found["failed"] == "import-not-read-only" and found["asked"] == []
        assert found["state"] == before


def test_lock_files_stay_where_other_nodes_use_the_database(node: Node) -> None:
    """Of two nodes, one was switched: its registry would not start again."""
    found = node.run("$import.back", IMPORTED, tags=3, others=2)
    assert found["failed"] == "lock-files-not-restored" and STEP_TWO not in found["asked"]
    assert found["state"] == IMPORTED
    found = node.run("$import.back", IMPORTED, tags=3)
    assert STEP_TWO in found["asked"] and found["state"]["phase"] == "read-only"


def test_a_node_that_leaves_the_stack_leaves_no_import(node: Node) -> None:
    """Its former settings do not have the database; what is imported completely stays."""
    found = node.run("$import.leave", IMPORTED, tags=3)
    assert STEP_TWO in found["asked"] and found["state"] == {}
    assert not [one for one in found["asked"] if one.startswith("TRUNCATE")]
    assert node.run("$import.leave", IMPORTED, tags=3, refused=True)["failed"] == "lock-files-not-restored"
    assert node.run("$import.leave", IMPORTED | {"phase": "switched"}, tags=3)["asked"] == []


def test_a_registry_that_left_its_database_begins_anew(node: Node) -> None:
    """What an earlier import has noted is about another time."""
    done = {"database": "db:5432/registry", "phase": "done"}
    assert node.run("$import.check(nil)", done)["state"] == {
        "database": "db:5432/registry",
        "phase": "checked",
    }
    assert node.run("$import.check(nil)", done, enabled=True)["state"] == done
    assert node.run("$import.check(nil)", done, rows=4)["failed"] == "metadata-database-in-use"


@pytest.mark.parametrize("phase", ["switched", "done"])
def test_nothing_is_given_up_after_the_switch(node: Node, phase: str) -> None:
    found = node.run(GIVE_UP, {"database": "db:5432/registry", "phase": phase}, tags=3, rows=3)
    assert found["asked"] == [] and found["tags"] == 3
    assert node.run(GIVE_UP, {"phase": phase}, enabled=True)["failed"] == "import-not-needed"


def test_the_linux_packages_postgresql_is_local_by_any_address_of_the_node(node: Node) -> None:
    """On a Geo primary it listens on the private address, which is what the registry's settings then say."""
    hosts = ["/var/opt/gitlab/postgresql", "", "127.0.0.1", "::1", "::", "10.1.2.3"]
    local = "map { |host| Database.new({}).send(:local?, host) }"
    assert node.ask([f"{json.dumps(hosts)}.{local}", {}]) == [[True] * 5 + [False]]
    assert node.ask([f"Socket.ip_address_list.map(&:ip_address).{local}.uniq", {}]) == [[True]]
