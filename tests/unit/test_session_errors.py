"""What a person reads whose SSH session failed: each cause in the provider's own words (test_unreachable.py)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pulumi
import pytest

from components.session_errors import Hop, Session
from components.session_hooks import SessionHooks
from plan.resolve import resolve
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, deployment, put
from tests.failures import of_sessions

URN = "urn:pulumi:prod::x::gitlabgeo:index:Node$command:remote:Command::tokyo-1-settings"
NODE, GATE = Hop("10.20.0.11", 22, "ubuntu", 7), Hop("192.0.2.10", 2222, "jump", 7)
HOST = resolve(deployment(SHARED)).hosts["tokyo-1"]
DIRECT = Session(HOST, "tokyo-1", URN, "update", NODE, None)
# As connection_args has it: one attempt at a node that exists, one more than at the bastion where one waits.
ONCE = replace(DIRECT, node=replace(NODE, attempts=0), bastion=GATE)
WAITING = replace(DIRECT, node=replace(NODE, attempts=8), bastion=GATE)
ALIKE = replace(DIRECT, bastion=GATE)
BOOTS = replace(DIRECT, host=resolve(deployment(CREATED)).hosts["tokyo-1"])
GIVEN_BACK = replace(DIRECT, operation="delete")
REMOVED = replace(GIVEN_BACK, host=None)

HANDSHAKE = "ssh: handshake failed: "
MISMATCH = f"{HANDSHAKE}ssh: host key mismatch"
LOGIN = (
    f"{HANDSHAKE}ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain"
)
TO_NODE = "ubuntu@10.20.0.11, port 22 [ssh-connection-failed]"
TO_BASTION = "jump@192.0.2.10, port 2222 [ssh-bastion-connection-failed]"
BEHIND = "ubuntu@10.20.0.11, port 22 through the bastion 192.0.2.10 [ssh-connection-failed]"
NO_AGENT, NO_KEY = "[ssh-agent-not-answering]", "[ssh-private-key-invalid]"
UNREACHED: list[tuple[Session, str, str, str, tuple[str, ...]]] = [
    (DIRECT, "after 7 failed attempts: ", "dial tcp 10.20.0.11:22: connect: connection refused", TO_NODE, ("sites.tokyo.nodes.tokyo-1.host`", "ssh.port", "wait_seconds")),
    (DIRECT, "after 7 failed attempts: ", "dial tcp 10.20.0.11:22: i/o timeout", TO_NODE, ("firewall", "sites.tokyo.nodes.tokyo-1.host`")),
    (DIRECT, "after 7 failed attempts: ", "dial tcp: lookup gitlab-1 on 10.0.0.2:53: no such host", TO_NODE, ("correct the name in `sites.tokyo.nodes.tokyo-1.host`", "on this machine")),
    (DIRECT, "after 7 failed attempts: ", MISMATCH, TO_NODE, ("`sites.tokyo.nodes.tokyo-1.host_key`",)),
    (DIRECT, "after 7 failed attempts: ", "ssh: no common algorithm for host key; we offered: [ssh-ed25519]", TO_NODE, ("sites.tokyo.nodes.tokyo-1.host_key",)),
    (DIRECT, "after 7 failed attempts: ", LOGIN, TO_NODE, ("let `ssh.user` (ubuntu) log in", "ssh.private_key")),
    (DIRECT, "after 7 failed attempts: ", f"{HANDSHAKE}EOF", TO_NODE, ("check that it is up",)),
    (DIRECT, "", "EOF", TO_NODE, ("check that it is up",)),
    (DIRECT, "", "ssh: rejected: connect failed (open failed)", TO_NODE, ("check that it is up",)),
    (BOOTS, "after 29 failed attempts: ", "dial tcp 203.0.113.7:22: i/o timeout", TO_NODE, ("sites.tokyo.aws.admin_cidrs", "ssh.wait_seconds")),
    (GIVEN_BACK, "after 7 failed attempts: ", "dial tcp 10.20.0.11:22: i/o timeout", TO_NODE, ("as at the last `pulumi up`", f"`pulumi state delete '{URN}'`", "then the same command again")),
    (REMOVED, "after 7 failed attempts: ", "dial tcp 10.20.0.11:22: i/o timeout", TO_NODE, (f"`pulumi state delete '{URN}'`",)),
    (ONCE, "proxy: after 7 failed attempts: ", "dial tcp 192.0.2.10:2222: connect: connection refused", TO_BASTION, ("`ssh.bastion.host` and `ssh.bastion.port`",)),
    (ONCE, "proxy: after 7 failed attempts: ", "dial tcp: lookup gate on 10.0.0.2:53: no such host", TO_BASTION, ("correct the name in `ssh.bastion.host`",)),
    (ONCE, "proxy: after 7 failed attempts: ", MISMATCH, TO_BASTION, ("there with `ssh.bastion.host_key`",)),
    (ONCE, "proxy: after 7 failed attempts: ", LOGIN, TO_BASTION, ("let `ssh.bastion.user` (jump) log in",)),
    (ONCE, "proxy: after 7 failed attempts: ", f"{HANDSHAKE}EOF", TO_BASTION, ("`ssh.bastion.port`",)),
    (ONCE, "proxy: after 0 failed attempts: ", MISMATCH, BEHIND, ("there with `sites.tokyo.nodes.tokyo-1.host_key`",)),
    (ONCE, "proxy: after 0 failed attempts: ", LOGIN, BEHIND, ("let `ssh.user` (ubuntu) log in",)),
    (ONCE, "proxy: after 0 failed attempts: ", "ssh: rejected: connect failed (Connection refused)", BEHIND, ("firewall is between it and the bastion", "tokyo-1.host`")),
    (ONCE, "proxy: after 0 failed attempts: ", "ssh: rejected: connect failed (Name or service not known)", BEHIND, ("correct the name in `sites.tokyo.nodes.tokyo-1.host`", "resolved at the bastion")),
    (ONCE, "proxy: after 0 failed attempts: ", "ssh: rejected: administratively prohibited (open failed)", BEHIND, ("`AllowTcpForwarding`",)),
    (WAITING, "proxy: after 7 failed attempts: ", MISMATCH, TO_BASTION, ("there with `ssh.bastion.host_key`",)),
    (WAITING, "proxy: after 8 failed attempts: ", f"{HANDSHAKE}EOF", BEHIND, ("`ssh -J jump@192.0.2.10:2222 -p 22 ubuntu@10.20.0.11`", "with `sites.tokyo.nodes.tokyo-1.host_key`", "let `ssh.user` (ubuntu) log in")),
    (ALIKE, "proxy: after 7 failed attempts: ", MISMATCH, TO_BASTION, ("there with `ssh.bastion.host_key`",)),
    (ALIKE, "proxy: after 7 failed attempts: ", f"{HANDSHAKE}EOF", BEHIND, ("`ssh -J jump@192.0.2.10:2222",)),
    (DIRECT, "", "dial unix /tmp/agent: connect: no such file or directory", NO_AGENT, ("`unset SSH_AUTH_SOCK`", "also with `ssh.private_key`")),
    (ONCE, "proxy: ", "dial unix /tmp/agent: connect: connection refused", NO_AGENT, ("`unset SSH_AUTH_SOCK`",)),
    (DIRECT, "", "ssh: no key found", NO_KEY, ("`ssh-keygen -y -f FILE`",)),
    (DIRECT, "", "asn1: structure error: length too large", NO_KEY, ("`ssh-keygen -y -f FILE`",)),
]  # fmt: skip


def lines(session: Session, error: str) -> list[str]:
    """The message, which has its four lines, names the node and has a code."""
    text = session.message(error)
    assert text is not None
    said = text.splitlines()
    site = " (site tokyo)" if session.host else ""
    assert said[0].startswith(f"tokyo-1{site}: ") and said[0].endswith("]") and len(said) == 4
    assert [line[:9] for line in said[1:]] == ["  cause: ", "  state: ", "  do:    "]
    return said


@pytest.mark.parametrize(("session", "before", "cause", "what", "remedy"), UNREACHED)
def test_who_cannot_be_reached_why_and_what_to_do(
    session: Session, before: str, cause: str, what: str, remedy: tuple[str, ...]
) -> None:
    """Which of two servers it was, the provider's cause, and the keys to look at."""
    said = lines(session, before + cause)
    assert said[0].endswith(f" {what}")
    assert said[1:3] == [f"  cause: {cause}", "  state: nothing was changed on this node"]
    for text in remedy:
        assert text in said[3]


RUBY = r'running "exec sudo -n /opt/gitlab/embedded/bin/ruby --disable-gems - apply":'
ENDED = "Process exited with status"
NOT_BEGUN = [
    ("sudo: a password is required", "sudo-not-permitted", "NOPASSWD: ALL"),
    ("sudo: unable to resolve host tokyo-1: Name or service not known\nsudo: a password is required", "sudo-not-permitted", "NOPASSWD: ALL"),
    ("ubuntu is not in the sudoers file.", "sudo-not-permitted", "NOPASSWD: ALL"),
    ("Sorry, user ubuntu is not allowed to execute '/opt/gitlab/embedded/bin/ruby --disable-gems - apply' as root on tokyo-1.", "sudo-not-permitted", "for any command"),
    ("sudo: sorry, you must have a tty to run sudo", "sudo-requires-tty", "`Defaults:ubuntu !requiretty`"),
    ("bash: line 1: exec: sudo: not found", "sudo-not-installed", "install sudo there"),
    ("sudo: /opt/gitlab/embedded/bin/ruby: command not found", "gitlab-package-missing", "install GitLab's Linux package there, or name the GitLab node in `sites.tokyo.nodes.tokyo-1.host`"),
    ("bash: line 1: /opt/gitlab/embedded/bin/ruby: No such file or directory", "gitlab-package-missing", "Linux package"),
    ("sudo: python3: command not found", "python-not-installed", "Python 3.8 or later"),
    ("Python 3.8 or later is needed on this host, here is 3.6.8; nothing was changed", "python-too-old", "a later python3"),
    ('Please login as the user "ubuntu" rather than the user "root".', "ssh-user-refused", "`ssh.user`"),
    ("This account is currently not available.", "ssh-user-refused", "`ssh.user`"),
    ("sudo: no valid sudoers sources found, quitting", "sudo-failed", "`sudo -n true`"),
    ("Your quota is exceeded", "program-not-started", "`ssh ubuntu@10.20.0.11 true`"),
]  # fmt: skip


@pytest.mark.parametrize(("printed", "code", "remedy"), NOT_BEGUN)
def test_why_the_program_could_not_begin(printed: str, code: str, remedy: str) -> None:
    """The telling line is the cause, and nothing was changed."""
    said = lines(DIRECT, f"{ENDED} 1: {RUBY}\n{printed}\n")
    assert said[0].endswith(f" ubuntu@10.20.0.11, port 22 [{code}]")
    assert said[1:3] == [f"  cause: {printed.splitlines()[-1]}", "  state: nothing was changed on this node"]
    assert remedy in said[3]


def test_the_quoted_command_may_hold_quotes() -> None:
    """Go's %q; what is printed begins after it."""
    error = rf'{ENDED} 1: running "exec sudo -n sh -c \"x\" ":' + "\nsudo: a password is required\n"
    assert lines(DIRECT, error)[1] == "  cause: sudo: a password is required"


RAN = [
    (f"wait: remote command exited without exit status or exit signal: {RUBY}\ntokyo-1: reconfigure\n", "ssh-connection-lost", "unknown; "),
    (f"{ENDED} 137 from signal KILL: {RUBY}\n", "program-ended", "unknown; "),
    (f"{ENDED} 1: {RUBY}\ntokyo-1: reconfigure\n", "program-ended", "unknown; "),
    ("grpc: error while marshaling: string field contains invalid UTF-8", "output-not-utf-8", "the program there finished"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code", "state"), RAN)
def test_what_came_of_a_program_that_ran(error: str, code: str, state: str) -> None:
    """The state of the node is unknown then, and is not reported as unchanged."""
    said = lines(DIRECT, error)
    assert said[2].startswith(f"  state: {state}")
    assert said[0].endswith(f" [{code}]")


def test_every_failure_of_the_source_has_a_case() -> None:
    """By its code."""
    begun = [code for _, code, _ in NOT_BEGUN]
    ends = [what.rpartition("[")[2].rstrip("]") for _, _, _, what, _ in UNREACHED]
    ran = [code for _, code, _ in RAN]
    assert {*begun, *ends, *ran} == {failure.code for failure in of_sessions()}


def test_a_session_that_only_asks_leaves_the_settings_as_they_are() -> None:
    """Verification, the look at a storage, the lock file: nobody need look at the node."""
    verifying = replace(DIRECT, urn=URN.replace("-settings", "-verification"))
    for error in (
        f"wait: remote command exited without exit status or exit signal: {RUBY}\n",
        f"{ENDED} 137 from signal KILL: {RUBY}\n",
    ):
        assert lines(verifying, error)[2] == (
            "  state: this session changes no settings; those of the last apply are in force"
        )


@pytest.mark.parametrize(
    "error",
    [
        f"{ENDED} 1: {RUBY}\ntokyo-1 (site tokyo): x\n  cause: y\n  state: z\n  do:    w\n",
        "context canceled",
        "an error of some other provider",
    ],
)
def test_what_has_been_said_is_not_said_twice(error: str) -> None:
    """Least of all with another state; a Ctrl-C needs no words."""
    assert DIRECT.message(error) is None


def test_a_host_of_an_external_registry_has_other_keys() -> None:
    """It stands elsewhere in the configuration."""
    host = {
        "hosts": {
            "registry-1": {
                "host": "10.20.0.9",
                "host_key": HOST_KEY,
                "config": "/etc/r.yml",
                "certificate": "/etc/r.crt",
                "restart": "systemctl restart r",
            }
        }
    }
    raw = changed(SHARED, put("sites", "tokyo", "external_registry", to=host))
    raw["sites"]["tokyo"]["nodes"]["tokyo-1"]["roles"] = ["rails", "sidekiq"]
    session = replace(DIRECT, host=resolve(deployment(raw)).hosts["registry-1"], name="registry-1")
    said = session.message("after 7 failed attempts: dial tcp 10.20.0.9:22: i/o timeout")
    assert said and "`sites.tokyo.external_registry.hosts.registry-1.host`" in said


def failed(resource: str, errors: list[str], operation: str) -> pulumi.ErrorHookArgs:
    """As the engine calls the hook: what holds a secret is an output, and numbers are not whole."""
    proxy = {"host": "192.0.2.10", "port": 22.0, "user": "jump", "dialErrorLimit": 7.0}
    new = {
        "connection": pulumi.Output.secret({"host": "10.20.0.11", "user": "ubuntu", "dialErrorLimit": 7.0})
    }
    old = {"connection": pulumi.Output.secret({"host": "10.20.0.10", "user": "git", "proxy": proxy})}
    return pulumi.ErrorHookArgs(
        "urn", "id", resource, "command:remote:Command", new, old, {}, operation, errors
    )


@pytest.mark.parametrize(
    ("resource", "errors", "operation", "begins"),
    [
        ("tokyo-1-settings", ["after 7 failed attempts: dial tcp 10.20.0.11:22: i/o timeout", "older"], "create", "tokyo-1 (site tokyo): no SSH connection to ubuntu@10.20.0.11,"),
        ("tokyo-1-settings", ["proxy: after 7 failed attempts: dial tcp 192.0.2.10:22: i/o timeout"], "delete", "tokyo-1 (site tokyo): no SSH connection to the bastion jump@192.0.2.10,"),
        ("tokyo-1-settings", ["proxy: after 0 failed attempts: EOF"], "delete", "tokyo-1 (site tokyo): no SSH connection to git@10.20.0.10,"),
        ("tokyo-2-settings", ["proxy: after 0 failed attempts: EOF"], "delete", "tokyo-2: no SSH connection to git@10.20.0.10,"),
        ("tokyo-1-settings", ["context canceled"], "create", None),
        ("tokyo-1-settings", [], "create", None),
    ],
)  # fmt: skip
def test_the_engine_calls_one_hook_for_every_session(
    resource: str, errors: list[str], operation: str, begins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a node that the configuration no longer has; with where the session went. Nothing is tried again."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", said.append)
    monkeypatch.setattr(pulumi, "ErrorHook", lambda _, call: call)

    async def fail() -> bool:
        (hook,) = SessionHooks("registry").of("registry-tokyo-1-settings", HOST).on_error or []
        return bool(await hook(failed(f"registry-{resource}", errors, operation)))  # type: ignore[misc]

    # asyncio.run() would leave the recorded programs of other tests without a loop.
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        assert loop.run_until_complete(fail()) is False
    assert len(said) == (1 if begins else 0)
    assert all(text.startswith(begins or "") for text in said)
