"""Which changed images the program on a node finds in the registry's log, and what it does about them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hosts.programs import GITLAB_NODE

SINCE = 1_790_000_000.0
"""When the change of the node began."""
ORDER = {"node": "london-1", "roles": ["rails", "registry"]}
ENDPOINT = {"name": "geo_event", "url": "http://gitlab/events", "headers": {"Authorization": ["the-token"]}}
DRIVER = """
%w[report failure files in_place omnibus unreached registry registry_log stopping_registry events].each { |name| require File.join(ARGV[0], name) }
$now = 0.0
Omnibus.define_singleton_method(:now) { $now }
Kernel.module_eval { private def sleep(seconds) = $now += seconds }
order, begun, endpoint, answers, leaving, started, seconds = JSON.parse($stdin.read)
Events.send(:remove_const, :PENDING)
Events::PENDING = "#{ARGV[1]}/own/pending-events.json"
Events.define_singleton_method(:last_start) { started }
RegistryLog.define_singleton_method(:directory) { ARGV[1] }
Events.define_singleton_method(:endpoint) { endpoint }
sent = []
Http.define_singleton_method(:call) do |method, url, headers: {}, body: nil, **_|
  sent << { url: url, token: headers['Authorization'], events: JSON.parse(body)['events'] }
  answer = answers.size > 1 ? answers.shift : answers.first
  final = answer.negative? && Unreached.of(SocketError.new('getaddrinfo: Name or service not known'), URI(url), 5)
  [final ? 0 : answer, '', final || {}]
end
said = []
Report.define_singleton_method(:say) { |text| said << text }
result = Events.new(order, begun).deliver(seconds, leaving: leaving)
puts JSON.generate(result: result, sent: sent, said: said)
"""


def at(seconds: float) -> str:
    """A time in the registry's form, after the change began; before it if negative."""
    return datetime.fromtimestamp(SINCE + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def own(seconds: float, level: str, message: str, more: str = "") -> str:
    """A line of the registry's own, behind the time of runit's logger."""
    return f'2026-09-21_14:13:20.00000 time="{at(seconds)}" level={level} msg="{message}"{more}'


def request(seconds: float, method: str, path: str, status: int) -> str:
    """One of a request, as GitLab's registry 3.86 to 4.39 writes it."""
    fields = {
        "content_type": "", "correlation_id": "01M8J701YBKHQNP6YFNNWHBTZ6", "duration_ms": 19, "host": "127.0.0.1:5000",
        "level": "info", "method": method, "msg": "access", "proto": "HTTP/1.1", "referrer": "",
        "remote_addr": "127.0.0.1:50542", "remote_ip": "127.0.0.1", "status": status, "system": "http", "time": at(seconds),
        "ttfb_ms": 19, "uri": path, "user_agent": "skopeo/1.9.3", "written_bytes": 0,
    }  # fmt: skip
    return f"2026-09-21_14:13:20.00000 {json.dumps(fields, separators=(',', ':'))}"


def push(seconds: float, tag: str, repository: str = "group/app") -> str:
    return request(seconds, "PUT", f"/v2/{repository}/manifests/{tag}", 201)


def refused(seconds: float) -> str:
    return own(
        seconds,
        "error",
        "backoffSink: error writing event",
        ' error="httpSink{http://x}: response status 502"',
    )


def started(seconds: float) -> str:
    return own(seconds, "info", "listening on 127.0.0.1:5000")


def deliver(log: Path, lines: list[str], **more: Any) -> dict[str, Any]:
    """What the program does with this log; lines in any order of files."""
    (log / "current").write_text("\n".join(lines) + "\n")
    return run(log, **more)


def run(
    log: Path,
    *,
    answers: tuple[int, ...] = (200,),
    endpoint: Any = ENDPOINT,
    former: Any = None,
    replication: bool = False,
    leaving: bool = False,
    process: float | None = None,
    seconds: int = 60,
    verifying: bool = False,
) -> dict[str, Any]:
    """`former`: the endpoint before the change; `process`: when runit started the registry, after the change began."""
    order = ORDER | {"replication": replication}
    begun = None if verifying else {"since": SINCE, "endpoint": former}
    reported = [
        order,
        begun,
        endpoint,
        answers,
        leaving,
        None if process is None else SINCE + process,
        seconds,
    ]
    done = subprocess.run(
        ["ruby", "-rjson", "-rtime", "-rzlib", "-rnet/http", "-ruri", "-rsecurerandom", "-rdigest", "-e", DRIVER, str(GITLAB_NODE), str(log)],
        input=json.dumps(reported), capture_output=True, text=True, check=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reported(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Repository, tag or digest, and action of all that GitLab took."""
    events = [event for call in found["sent"] for event in call["events"]]
    return [
        (e["target"]["repository"], e["target"].get("tag") or e["target"]["digest"], e["action"])
        for e in events
    ]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path


def test_what_was_pushed_before_the_registry_ended_is_told_again(log: Path) -> None:
    """With the token that is in force; what came after the new start is in the queue of that."""
    found = deliver(log, [push(-300, "old"), push(-1, "1"), push(2, "2"), started(3), push(4, "3")])
    assert reported(found) == [("group/app", "1", "push"), ("group/app", "2", "push")]
    assert {call["token"] for call in found["sent"]} == {"the-token"}
    assert found["result"] == {"notified_again": 2, "not_notified": []}
    assert found["said"] == [
        "london-1: GitLab was notified again of 2 changed images: the registry restarted before it could deliver the events"
    ]
    target = found["sent"][0]["events"][0]["target"]
    assert "manifest" in target["mediaType"], "else Geo takes no notice of a digest"


def test_nothing_is_told_where_the_registry_has_not_ended(log: Path) -> None:
    """Its queue delivers them."""
    found = deliver(log, [started(-4000), push(-1, "1"), refused(1), push(2, "2")])
    assert found == {"result": None, "sent": [], "said": []}


def test_what_waited_when_the_change_began_is_told_as_well(log: Path) -> None:
    """Refused tries at most the longest pause apart lead back to the first event that waits."""
    lines = [push(-400, "delivered"), refused(-390), push(-200, "delivered, too"), started(-199.5)]
    lines += [push(-151, "first"), refused(-150), push(-120, "second"), refused(-70), refused(-1), started(5)]
    assert [tag for _, tag, _ in reported(deliver(log, lines))] == ["first", "second"]


def test_an_event_that_was_dropped_without_a_restart_is_told(log: Path) -> None:
    """`event lost` in the log of a registry that goes on: after its retries, or for a full queue."""
    lost = own(30, "warning", "eventqueue: event lost", ' error="response status 401" event="&{x push {{}}"')
    assert [
        tag for _, tag, _ in reported(deliver(log, [push(1, "1"), refused(1.5), lost, push(31, "2")]))
    ] == ["1"]


def test_only_changes_of_images_that_were_made_are_told(log: Path) -> None:
    """Not reads, blobs, or what the registry refused; deletions are, by tag and by digest."""
    digest = "sha256:" + "a" * 64
    lines = [
        request(1, "GET", "/v2/group/app/manifests/1", 200),
        request(1, "PUT", "/v2/group/app/manifests/2", 401),
        request(1, "PUT", f"/v2/group/app/blobs/uploads/x?digest={digest}", 201),
        request(1.1, "DELETE", f"/v2/group/sub/app/manifests/{digest}", 202),
        request(1.2, "DELETE", "/v2/group/app/tags/reference/3", 202),
        request(1.3, "PUT", f"/v2/group/app/manifests/{digest}", 201),
        started(2),
    ]
    assert reported(deliver(log, lines)) == [
        ("group/sub/app", digest, "delete"),
        ("group/app", "3", "delete"),
        ("group/app", digest, "push"),
    ]


def test_logs_that_were_rotated_meanwhile_are_read_too(log: Path) -> None:
    """Packed or not; text and JSON forms of the registry's own lines."""
    former = log / "@400000006a0e1c2e2f0d5b54.s"
    with gzip.open(former, "wt") as packed:
        packed.write(push(1, "1") + "\n" + push(2, "2") + "\n")
    started_json = json.dumps({"level": "info", "msg": "listening on [::]:5000", "time": at(4)})
    (log / "current").write_text(f"{push(3, '3')}\n{started_json}\n")
    assert [tag for _, tag, _ in reported(run(log))] == ["1", "2", "3"]


def test_a_log_of_many_megabytes_is_read_from_its_end(log: Path) -> None:
    """Across the blocks in which it is read; each image once."""
    noise = [
        request(-2000 + n / 20, "GET", "/v2/group/app/blobs/sha256:" + "b" * 64, 200) for n in range(30_000)
    ]
    lines = [
        push(-1900, "old"),
        *noise,
        push(-2, "1"),
        push(-1, "1"),
        *[request(0, "GET", "/v2/", 200)] * 9000,
        started(1),
    ]
    found = deliver(log, lines)
    assert (log / "current").stat().st_size > 8 << 20, "blocks are of 1 MiB"
    assert [tag for _, tag, _ in reported(found)] == ["1"]


def test_gitlab_may_be_starting_still(log: Path) -> None:
    """Asked again until it takes them; in batches."""
    lines = [*(push(n / 100, str(n)) for n in range(45)), started(2)]
    found = deliver(log, lines, answers=(0, 502, 401, 200))
    assert [len(call["events"]) for call in found["sent"]] == [20, 20, 20, 20, 20, 5]
    assert found["result"] == {"notified_again": 45, "not_notified": []}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (502, "was answered with 502"),
        (401, "was answered with 401"),
        (404, "was answered with 404"),
        (0, "got no answer"),
    ],
)
def test_what_gitlab_does_not_take_is_said_with_what_to_do(log: Path, answer: int, said: str) -> None:
    """The repositories by name, and never the token."""
    lines = [*(push(n / 100, "1", f"group/app-{n:02}") for n in range(12)), started(2)]
    found = deliver(log, lines, answers=(answer,))
    assert found["result"]["notified_again"] == 0
    assert len(found["result"]["not_notified"]) == 12
    text = "\n".join(found["said"])
    assert "GitLab does not know of 12 changed images, which may be missing at the secondaries" in text
    assert f"POST http://gitlab/events {said}" in text
    assert "resync group/app-00, " in text and "group/app-09 and 2 more, or all" in text
    assert "the-token" not in text
    (log / "own/pending-events.json").unlink(missing_ok=True)


def test_nobody_waits_for_a_gitlab_whose_name_does_not_resolve(log: Path) -> None:
    """One request, in contrast to a GitLab that is starting."""
    lines = [push(1, "1"), started(2)]
    assert len(deliver(log, lines, answers=(-1,), seconds=120)["sent"]) == 1
    assert len(deliver(log, lines, answers=(0,), seconds=120)["sent"]) > 100


def test_what_gitlab_does_not_take_at_once_is_left_to_verification(log: Path) -> None:
    """Apply waits for no other node, and says nothing yet; verification notifies GitLab of it once, with nothing lost."""
    lines = [push(1, "1"), started(2)]
    found = deliver(log, lines, seconds=0, answers=(401,))
    assert len(found["sent"]) == 1 and found["said"] == []
    assert oct((log / "own/pending-events.json").stat().st_mode & 0o777) == "0o600"
    # Another change before it, whose own images come on top.
    more = deliver(log, [*lines, push(3, "2"), started(4)], seconds=0, answers=(0,))
    assert [e["target"]["tag"] for e in more["sent"][0]["events"]] == ["1", "2"]
    late = run(log, verifying=True, answers=(502, 200))
    assert reported(late)[-2:] == [("group/app", "1", "push"), ("group/app", "2", "push")]
    assert late["result"] == {"notified_again": 2, "not_notified": []}
    assert run(log, verifying=True) == {"result": None, "sent": [], "said": []}


def test_what_the_registry_drops_between_apply_and_verification_is_told(log: Path) -> None:
    """A Rails node that gets the new secret much later: the registry gives up meanwhile, and its log tells."""
    kept = log / "own/pending-events.json"
    begun = [push(1, "1"), started(2)]
    assert reported(deliver(log, begun, seconds=0)) == [("group/app", "1", "push")]
    now = json.loads(kept.read_text())
    assert now["images"] == [] and now["since"] > SINCE
    # In the tests' time, in which the log's lines are.
    kept.write_text(json.dumps(now | {"since": SINCE + 10}))
    lines = [*begun, push(20, "2"), refused(21), own(900, "error", "eventqueue: event lost")]
    (log / "current").write_text("\n".join(lines) + "\n")
    assert reported(run(log, verifying=True)) == [("group/app", "2", "push")]
    assert not kept.exists()
    assert run(log, verifying=True) == {"result": None, "sent": [], "said": []}


def test_a_site_that_is_no_longer_the_primary_keeps_nothing_for_later(log: Path) -> None:
    """A later promotion would notify GitLab of old pushes."""
    kept = log / "own/pending-events.json"
    for replication in (True, False):
        deliver(log, [push(1, "1"), started(2)], seconds=0, answers=(401,))
        assert kept.exists()
        deliver(log, [push(1, "1"), started(2)], endpoint=None, former=ENDPOINT, replication=replication)
        assert not kept.exists()


@pytest.mark.parametrize(("answer", "again"), [(401, True), (502, True), (0, True), (404, False)])
def test_verification_tries_again_next_time_unless_that_is_in_vain(
    log: Path, answer: int, again: bool
) -> None:
    """Both are reported."""
    deliver(log, [push(1, "1"), started(2)], seconds=0, answers=(answer,))
    assert "GitLab does not know of 1 changed image" in run(log, verifying=True, answers=(answer,))["said"][0]
    assert bool(run(log, verifying=True)["sent"]) is again


def test_a_log_that_cannot_be_read_fails_nothing(log: Path) -> None:
    """It is said; without an endpoint, or without a log, there is nothing to say."""
    (log / "current").mkdir()
    missed = "could not determine whether GitLab missed the push of an image (Errno::EISDIR"
    assert missed in run(log)["said"][0]
    assert run(log / "nowhere")["said"] == []
    (log / "current").rmdir()
    assert deliver(log, [push(1, "1"), started(2)], endpoint=None) == {"result": None, "sent": [], "said": []}


def test_a_registry_that_logs_no_start_is_known_by_its_process(log: Path) -> None:
    """registry['log_level'] of "warn" or "error": requests are still logged."""
    lines = [push(1, "lost"), push(3, "later")]
    assert reported(deliver(log, lines, process=2)) == [("group/app", "lost", "push")]
    assert reported(deliver(log, lines, process=-5)) == []


def test_the_last_restart_counts(log: Path) -> None:
    """The process' start is the second one; pushes of between are lost as well."""
    lines = [push(1, "1"), started(2), push(3, "2"), started(4), push(5, "3")]
    expected = [("group/app", "1", "push"), ("group/app", "2", "push")]
    assert reported(deliver(log, lines, process=4)) == reported(deliver(log, lines)) == expected


def test_a_registry_that_is_taken_out_notifies_as_it_did_before(log: Path) -> None:
    """Other registries of the site go on; where none is left, GitLab may know the secret no longer."""
    lines = [push(1, "1"), started(2)]
    found = deliver(log, lines, endpoint=None, former=ENDPOINT, leaving=True)
    assert reported(found) == [("group/app", "1", "push")]
    assert found["sent"][0]["token"] == "the-token"
    refused = deliver(log, lines, endpoint=None, former=ENDPOINT, leaving=True, answers=(0, 401))
    assert len(refused["sent"]) == 2
    assert "POST http://gitlab/events was answered with 401" in "\n".join(refused["said"])


def test_a_former_primary_says_what_the_new_one_may_not_have(log: Path) -> None:
    """Geo would take the new primary's word for it, so nobody is notified; with shared storage nothing is missing."""
    lines = [push(1, "1"), started(2)]
    found = deliver(log, lines, endpoint=None, former=ENDPOINT, replication=True)
    assert found["sent"] == []
    assert found["result"] == {"notified_again": 0, "not_notified": ["group/app"]}
    text = "\n".join(found["said"])
    assert "the secondaries do not know of 1 changed image, which may be missing at the new primary" in text
    assert "push these again to the new primary, unless it has them: group/app" in text
    assert deliver(log, lines, endpoint=None, former=ENDPOINT)["said"] == []
    assert deliver(log, [push(1, "1")], endpoint=None, former=ENDPOINT, replication=True)["said"] == []


ENDING = """
%w[report failure files in_place omnibus registry registry_log stopping_registry events].each { |name| require File.join(ARGV[0], name) }
order, states, config = JSON.parse($stdin.read)
$now = 0.0
killed = nil
Omnibus.define_singleton_method(:now) { $now }
said = nil
Report.define_singleton_method(:say) { |text| said = text }
Omnibus.define_singleton_method(:registry_config) { config }
Omnibus.define_singleton_method(:run) { |command, _| killed = [command, $now]; [true, ''] }
Files.define_singleton_method(:read) { |_| states.size > 1 ? states.shift : states.first }
StoppingRegistry.new(order).watch(-> { ($now += 0.5) > 120 || killed })
yielded = StoppingRegistry.watching(order) { 'done' }
puts JSON.generate(killed: killed, yielded: yielded, said: said)
"""
KILL = ["/opt/gitlab/bin/gitlab-ctl", "kill", "registry"]


@pytest.mark.parametrize(
    ("states", "http", "after"),
    [
        (["run"], {}, None),
        (["run", *["run, got TERM"] * 10, "run"], {}, None),
        (["run", "run, got TERM"], {}, 10),
        (["run", *["run, got TERM"] * 10, "run", "run, got TERM"], {}, 16),
        (["run, got TERM"], {"draintimeout": 0}, 10),
        (["run, got TERM"], {"draintimeout": "1m30s"}, 100),
    ],
)
def test_a_registry_that_has_given_up_its_queue_is_not_waited_for(
    states: list[str], http: dict[str, Any], after: float | None
) -> None:
    """Not before it had its time for queue and requests; none that ends by itself, or that runs."""
    config = {"notifications": {"endpoints": [ENDPOINT]}, "http": http}
    done = subprocess.run(
        ["ruby", "-rjson", "-e", ENDING, str(GITLAB_NODE)], input=json.dumps([ORDER, states, config]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["yielded"] == "done"
    if after is None:
        assert found["killed"] is None
    else:
        command, when = found["killed"]
        assert command == KILL
        assert "has discarded its queue and only waits for GitLab" in found["said"]
        assert after <= when <= after + 2
