"""Connecting: host keys, keys and agents, bastions, retries and their end."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.lab.providers.harness import REMOTE, Provider, Sshd, error, once
from tests.ports import free_port


def dial(provider: Provider, connection: dict[str, Any], create: str = "echo in") -> str:
    """The output of a command over this connection."""
    _, state, _ = provider.made(REMOTE, {"connection": connection, "create": create})
    return str(state["stdout"])


def refusal(provider: Provider, connection: dict[str, Any]) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        dial(provider, connection)
    return error(refused.value)


@pytest.fixture
def agent(sshd: Sshd, tmp_path: Path) -> Iterator[str]:
    """The socket of an ssh-agent that holds the user's key."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    add = ["ssh-add", "-q", str(sshd.folder / "user")]
    subprocess.run(add, check=True, env={**os.environ, "SSH_AUTH_SOCK": path})
    yield path
    process.terminate()
    process.wait()


class TestHostKey:
    def test_the_pinned_key_is_accepted(self, commands: Provider, sshd: Sshd) -> None:
        assert dial(commands, sshd.connection()) == "in"

    def test_a_comment_after_the_pinned_key_does_no_harm(self, commands: Provider, sshd: Sshd) -> None:
        assert dial(commands, sshd.connection(hostKey=f"{sshd.host_key} root@host\n")) == "in"

    def test_another_key_is_refused(self, commands: Provider, sshd: Sshd) -> None:
        wrong = " ".join((sshd.folder / "user.pub").read_text().split()[:2])
        text = refusal(commands, sshd.connection(hostKey=wrong))
        assert text == "after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"

    def test_without_one_any_host_is_taken(self, commands: Provider, sshd: Sshd) -> None:
        """A trap of the real provider: hostKey left out means not verified at all."""
        connection = sshd.connection()
        del connection["hostKey"]
        assert dial(commands, connection) == "in"

    def test_one_that_cannot_be_read_is_refused_without_dialling(
        self, commands: Provider, sshd: Sshd
    ) -> None:
        connection = sshd.connection(hostKey="nonsense", host="192.0.2.1", dialErrorLimit=-1)
        assert refusal(commands, connection) == "failed to parse host key: ssh: no key found"

    @pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
    def test_only_the_pinned_keys_kind_is_asked_for(
        self, commands: Provider, sshd: Sshd, tmp_path: Path, kind: str
    ) -> None:
        """So pinning an RSA key fails in any case: asked for is its old signature, which no OpenSSH offers now."""
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / "k")], check=True)
        text = refusal(commands, sshd.connection(hostKey=(tmp_path / "k.pub").read_text()))
        assert "no common algorithm for host key" in text


class TestLogin:
    def test_a_wrong_key_is_refused_in_gos_words(
        self, commands: Provider, sshd: Sshd, tmp_path: Path
    ) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
        text = refusal(commands, sshd.connection(privateKey=(tmp_path / "k").read_text()))
        assert text.endswith(
            "ssh: handshake failed: ssh: unable to authenticate, "
            "attempted methods [none publickey], no supported methods remain"
        )

    @pytest.mark.parametrize("kind", [("rsa", "2048"), ("ecdsa", "256")])
    def test_keys_of_other_kinds_and_forms_are_read(
        self, commands: Provider, sshd: Sshd, tmp_path: Path, kind: tuple[str, str]
    ) -> None:
        make = ["ssh-keygen", "-q", "-t", kind[0], "-b", kind[1], "-N", "", "-m", "PEM"]
        subprocess.run([*make, "-f", str(tmp_path / "k")], check=True)
        allowed = sshd.folder / "user.pub"
        before = allowed.read_text()
        allowed.write_text(before + (tmp_path / "k.pub").read_text())
        try:
            assert dial(commands, sshd.connection(privateKey=(tmp_path / "k").read_text())) == "in"
        finally:
            allowed.write_text(before)

    def test_an_encrypted_key_needs_its_password(
        self, commands: Provider, sshd: Sshd, tmp_path: Path
    ) -> None:
        key = tmp_path / "k"
        key.write_text(sshd.private_key)
        key.chmod(0o600)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "pass", "-f", str(key)], check=True)
        text = key.read_text()
        assert dial(commands, sshd.connection(privateKey=text, privateKeyPassword="pass")) == "in"
        assert refusal(commands, sshd.connection(privateKey=text)) == (
            "ssh: this private key is passphrase protected"
        )

    def test_text_that_is_no_key_is_refused(self, commands: Provider, sshd: Sshd) -> None:
        assert refusal(commands, sshd.connection(privateKey="nonsense")) == "ssh: no key found"


class TestAgent:
    def test_the_one_in_the_environment_is_used(
        self, commands: Provider, sshd: Sshd, agent: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = sshd.connection()
        del connection["privateKey"]
        monkeypatch.setenv("SSH_AUTH_SOCK", agent)
        assert dial(commands, connection) == "in"

    def test_one_given_by_path_is_used(self, commands: Provider, sshd: Sshd, agent: str) -> None:
        connection = sshd.connection(agentSocketPath=agent)
        del connection["privateKey"]
        assert dial(commands, connection) == "in"

    def test_one_that_does_not_answer_is_told(self, commands: Provider, sshd: Sshd, tmp_path: Path) -> None:
        text = refusal(commands, sshd.connection(agentSocketPath=str(tmp_path / "none")))
        assert text == f"dial unix {tmp_path}/none: connect: no such file or directory"

    def test_a_given_key_hides_it(self, commands: Provider, sshd: Sshd, agent: str, tmp_path: Path) -> None:
        """As in Go: each kind of authentication is tried once, so a wrong key is not fixed by the agent."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
        wrong = sshd.connection(agentSocketPath=agent, privateKey=(tmp_path / "k").read_text())
        assert "unable to authenticate" in refusal(commands, wrong)

    def test_without_key_and_agent_there_is_nothing_to_try(self, commands: Provider, sshd: Sshd) -> None:
        connection = sshd.connection()
        del connection["privateKey"]
        assert "attempted methods [none], no supported methods remain" in refusal(commands, connection)


class TestRetry:
    def test_it_gives_up_after_the_limit_and_says_so_each_time(self, commands: Provider, sshd: Sshd) -> None:
        port = free_port()
        text = refusal(commands, sshd.connection(port=port, dialErrorLimit=3))
        assert text == f"after 3 failed attempts: dial tcp 127.0.0.1:{port}: connect: connection refused"
        assert commands.messages == [f"Dial {number}/3 failed: retrying" for number in (1, 2, 3)]

    def test_it_waits_for_a_host_that_is_still_booting(
        self, commands: Provider, sshd: Sshd, tmp_path: Path
    ) -> None:
        booting = Sshd(tmp_path, f"AuthorizedKeysFile {sshd.folder}/user.pub")
        started = once(lambda: commands.messages, booting.start)
        try:
            connection = booting.connection(privateKey=sshd.private_key, dialErrorLimit=-1)
            connection["privateKey"] = booting.private_key
            assert dial(commands, connection) == "in"
        finally:
            started.join()
            booting.stop()
        assert commands.messages[0] == "Dial 1/inf failed: retrying"

    def test_ctrl_c_ends_the_waiting(self, commands: Provider, sshd: Sshd) -> None:
        ended = once(lambda: commands.messages, commands.cancel)
        assert refusal(commands, sshd.connection(port=free_port(), dialErrorLimit=-1)) == "context canceled"
        ended.join()

    def test_a_name_that_does_not_exist(self, commands: Provider, sshd: Sshd) -> None:
        """With the name server that was asked, as Go has it."""
        text = refusal(commands, sshd.connection(host="no-such-host.invalid"))
        lookup = r"dial tcp: lookup no-such-host\.invalid on \S+:53: (no such host|server misbehaving)"
        assert re.search(lookup, text)

    def test_something_that_is_no_ssh_server(self, commands: Provider, sshd: Sshd) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            hung_up = once(lambda: True, lambda: _hang_up(server))
            text = refusal(commands, sshd.connection(port=server.getsockname()[1]))
            hung_up.join()
        assert text == "after 0 failed attempts: ssh: handshake failed: EOF"


def _hang_up(server: socket.socket) -> None:
    server.accept()[0].close()


class TestProxy:
    @pytest.fixture
    def bastion(self, sshd: Sshd, tmp_path: Path) -> Iterator[Sshd]:
        folder = tmp_path / "bastion"
        folder.mkdir()
        server = Sshd(folder, "AllowTcpForwarding yes")
        server.start()
        yield server
        server.stop()

    def test_a_host_behind_a_bastion_is_reached_with_both_keys_pinned(
        self, commands: Provider, sshd: Sshd, bastion: Sshd
    ) -> None:
        assert dial(commands, sshd.connection(proxy=bastion.connection())) == "in"

    def test_a_wrong_bastion_is_refused(self, commands: Provider, sshd: Sshd, bastion: Sshd) -> None:
        text = refusal(commands, sshd.connection(proxy=bastion.connection(hostKey=sshd.host_key)))
        assert text.startswith("proxy: after 0 failed attempts: ")
        assert "host key mismatch" in text

    def test_a_wrong_host_behind_it_is_refused_and_retries_hide_why(
        self, commands: Provider, sshd: Sshd, bastion: Sshd
    ) -> None:
        """As in the real provider: the way through the bastion is opened once and is closed by a failure."""
        wrong = {"hostKey": bastion.host_key, "proxy": bastion.connection()}
        assert "host key mismatch" in refusal(commands, sshd.connection(**wrong))
        text = refusal(commands, sshd.connection(**wrong, dialErrorLimit=2))
        assert text == "proxy: after 2 failed attempts: ssh: handshake failed: EOF"

    def test_a_host_that_the_bastion_cannot_reach(
        self, commands: Provider, sshd: Sshd, bastion: Sshd
    ) -> None:
        nowhere = sshd.connection(port=free_port(), dialErrorLimit=1, proxy=bastion.connection())
        text = refusal(commands, nowhere)
        assert text == "proxy: after 1 failed attempts: ssh: rejected: connect failed (Connection refused)"
        assert commands.messages == ["Dial from proxy 1/1 failed: retrying"]
