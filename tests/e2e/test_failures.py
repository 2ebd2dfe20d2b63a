"""What goes wrong on the way: no half-written file, no node that cannot reconfigure, and the next `up` heals."""

from __future__ import annotations

import json
import threading
import time

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import GITLAB_RB, OURS, Running, Stack, files, settle


@pytest.fixture(scope="module")
def up(existing: Stack) -> Stack:
    existing.configure(lambda c: c["ssh"].update(wait_seconds=1))
    existing.up()
    return existing


@pytest.fixture
def changing(up: Stack) -> Stack:
    """A change of settings for both nodes, different each time."""
    up.configure(lambda c: c.update(rotate={"http_secret": time.time_ns() % 10**9}))
    return up


def slow(host: Host, seconds: float) -> None:
    """How long a reconfigure takes on this host."""
    text = f'{{"reconfigure_seconds": {seconds}, "registry_key_bits": 2048}}'
    host.write("/opt/gitlab/etc/lab.json", text.encode())


def whole(host: Host) -> None:
    """The node's files are whole and it can reconfigure."""
    host.run(
        f"ruby -c {GITLAB_RB} && ruby -c {OURS}/settings.rb && ruby -rjson -e 'JSON.parse(File.read(ARGV[0]))' {OURS}/secrets.json"
    )
    host.run("gitlab-ctl reconfigure")
    assert host.run(f"ls -A /etc/gitlab {OURS} | grep geo-registry-", check=False).stdout == ""


def reconfiguring(host: Host) -> bool:
    return any("gitlab-ctl reconfigure" in process for process in host.processes())


def lose_power(lab: Lab, host: Host, verb: str) -> None:
    """Cut a host's power and kill the engine in the middle of its reconfigure; both are ready again afterwards."""
    slow(host, 3)
    running = Running(lab, verb, "--yes", "--skip-preview")
    lab.wait(lambda: reconfiguring(host), 30, "the reconfigure")
    time.sleep(0.3)
    host.stop()
    running.kill()
    slow(host, 0.3)
    host.start()
    host.wait_ready()
    lab.pulumi("cancel", "--yes", "existing", stack=None)


def test_a_node_that_is_down_fails_alone(changing: Stack, fresh: Lab, london: Host, tokyo: Host) -> None:
    """tokyo is off: london is done, the message names tokyo's node, and the next `up` does only what is missing."""
    tokyo.stop()
    output = changing.fails()
    assert "tokyo-1-settings" in output and "attempts" in output
    done = london.reconfigures()
    tokyo.start()
    tokyo.wait_ready()
    changing.up()
    assert london.reconfigures() == done
    whole(tokyo)


def test_a_wrong_host_key_is_refused(changing: Stack, tokyo: Host) -> None:
    """Somebody else answers at the address: nothing is sent. With the pinned key it goes on."""
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN58po6Z3tfufk3H12j/lwMEwR0JwWHQxvVXF9+kjgGy"
    right: list[str] = []

    def pin(config: dict[str, dict[str, dict[str, dict[str, dict[str, str]]]]]) -> None:
        node = config["sites"]["tokyo"]["nodes"]["tokyo-1"]
        right.append(node["host_key"])
        node["host_key"] = other

    sessions = tokyo.ssh_sessions()
    changing.configure(pin)
    output = changing.fails()
    assert "tokyo-1-settings" in output and "key" in output
    assert tokyo.ssh_sessions() == sessions
    changing.configure(lambda c: c["sites"]["tokyo"]["nodes"]["tokyo-1"].update(host_key=right[0]))
    changing.up()


def test_a_full_disk_leaves_everything_as_it_was(changing: Stack, tokyo: Host) -> None:
    """Nothing half-written; with room again the next `up` goes through."""
    before = files(tokyo)
    tokyo.fill_disk()
    try:
        output = changing.fails()
    finally:
        tokyo.free_disk()
    assert "tokyo-1 (site tokyo): a file could not be written" in output
    assert "No space left" in output
    assert files(tokyo) == before
    whole(tokyo)
    changing.up()


def test_a_reconfigure_that_fails_is_taken_back(changing: Stack, london: Host) -> None:
    """The administrator's own file no longer evaluates: cause and state are reported; fixed, the next `up` goes through."""
    good = london.read(GITLAB_RB)
    before = files(london)
    london.write(GITLAB_RB, b"regsitry_external_url 'https://typo.example.com'\n" + good)
    output = changing.fails()
    assert "london-1 (site london): gitlab-ctl reconfigure failed" in output
    assert "cause: Cannot set unsupported config value regsitry_external_url." in output
    assert "the former settings are restored" in output
    assert "/var/log/gitlab/reconfigure" in output
    london.write(GITLAB_RB, good)
    assert files(london) == before
    whole(london)
    said = changing.up()
    assert (
        "london-1: the last run failed, and so did the reconfigure with the former settings (Cannot set"
        in said
    )
    assert "interrupted" not in said


def test_our_settings_failing_leaves_the_former_ones_at_work(changing: Stack, london: Host) -> None:
    """A reconfigure that fails once only: the former state is back and reconfigured, in one `up`."""
    ctl = london.read("/opt/gitlab/bin/gitlab-ctl")
    before = files(london)
    wrapper = b"#!/bin/sh\n[ -e /root/failed ] || [ $1 != reconfigure ] || { touch /root/failed; echo 'FATAL: chosen by the test'; exit 1; }\nexec /opt/gitlab/bin/gitlab-ctl.real \"$@\"\n"
    london.write("/opt/gitlab/bin/gitlab-ctl.real", ctl, mode=0o755)
    london.write("/opt/gitlab/bin/gitlab-ctl", wrapper, mode=0o755)
    output = changing.fails()
    london.write("/opt/gitlab/bin/gitlab-ctl", ctl, mode=0o755)
    assert "chosen by the test" in output
    assert "the former settings are restored, and a reconfigure with them succeeded" in output
    settle(london)
    assert files(london) == before
    changing.up()


def test_the_engine_killed_in_the_middle_leaves_whole_nodes(
    changing: Stack, fresh: Lab, london: Host
) -> None:
    """The node finishes by itself; after `pulumi cancel` the next `up` does no reconfigure that is not needed."""
    slow(london, 2)
    done = london.reconfigures()
    running = Running(fresh, "up", "--yes", "--skip-preview")
    fresh.wait(lambda: reconfiguring(london), 30, "the reconfigure")
    running.kill()
    fresh.wait(
        lambda: not any("ruby --disable-gems - apply" in p for p in london.processes()),
        30,
        "the node's own end",
    )
    slow(london, 0.3)
    assert london.reconfigures() == done + 1
    settle(london)
    fresh.pulumi("cancel", "--yes", "existing", stack=None)
    changing.up()
    assert london.reconfigures() == done + 1
    whole(london)


def test_the_node_killed_in_the_middle_is_healed(changing: Stack, fresh: Lab, london: Host) -> None:
    """Power lost during the reconfigure: gitlab.rb is whole, and the next `up` heals."""
    lose_power(fresh, london, "up")
    assert "london-1: an earlier run was interrupted" in changing.up()
    whole(london)


def test_two_ups_at_once(changing: Stack, fresh: Lab, london: Host) -> None:
    """The second learns of the lock, and the first goes through."""
    slow(london, 2)
    first = Running(fresh, "up", "--yes", "--skip-preview")
    fresh.wait(lambda: reconfiguring(london), 30, "the reconfigure")
    code, said = Running(fresh, "up", "--yes", "--skip-preview").end()
    assert code != 0
    assert "locked" in said
    code, said = first.end()
    assert code == 0, said
    slow(london, 0.3)
    whole(london)


def test_two_programs_on_one_node_wait_for_each_other(changing: Stack, fresh: Lab, london: Host) -> None:
    """A manual reconfigure is under way: this program's waits for it and then does its own."""
    slow(london, 2)
    by_hand = threading.Thread(target=lambda: london.run("gitlab-ctl reconfigure"))
    by_hand.start()
    changing.up()
    by_hand.join()
    slow(london, 0.3)
    whole(london)


def test_another_stacks_node_is_left_alone(up: Stack, fresh: Lab) -> None:
    """A second stack with the same nodes is refused, with the stack that has them."""
    output = Stack(fresh, "replicated").fails()
    assert "managed by the stack" in output and "/existing" in output
    assert "nothing was changed on this node" in output


def test_a_destroy_cut_off_in_the_middle_is_finished_by_the_next(up: Stack, fresh: Lab, london: Host) -> None:
    """Power lost while all is removed: the next destroy still knows the former key pair and gitlab.rb."""
    former = json.loads(london.read(f"{OURS}/state.json"))["before"]
    text = london.read(GITLAB_RB)
    lose_power(fresh, london, "destroy")
    up.destroy()
    assert text.startswith(london.read(GITLAB_RB))
    assert b"geo-registry" not in london.read(GITLAB_RB)
    assert not london.exists(OURS)
    now = json.loads(london.read("/etc/gitlab/gitlab-secrets.json"))["registry"]
    assert {key: now[key] for key in former} == former
