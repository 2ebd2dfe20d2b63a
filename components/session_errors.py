"""What the engine reports when an SSH session failed: node, cause, state, and what to do.

The causes are messages of Go's net and golang.org/x/crypto/ssh, which the command provider quotes. What the
program on a node reports itself is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.start_errors import start_error
from config.ssh import PORT, USER
from plan.node import SETTINGS, HostPlan

_NOTHING_CHANGED = "nothing was changed on this node"
_NO_SETTINGS = "this session changes no settings; those of the last apply are in force"
_OWN_REPORT = re.compile(r"^  do: {4}", re.MULTILINE)

_GAVE_UP = re.compile(r"^(?:proxy: )?after (?P<attempts>\d+) failed attempts: (?P<cause>[^\n]+)")
_AGENT = re.compile(r"^(?:proxy: )?(?P<cause>dial unix (?P<path>.+?): [^\n]+)")
_UNREADABLE = re.compile(
    r"^(?:proxy: )?(?P<cause>(?:ssh: (?:no key found|this private key|invalid openssh|padding|un|cannot)"
    r"|asn1: |failed to parse host key)[^\n]*)$"
)
_REFUSED = re.compile(r"^(?:proxy: )?(?P<cause>EOF|ssh: [^\n]+|read tcp [^\n]+|write tcp [^\n]+)$")
_LOST = re.compile(r"^(?P<cause>wait: remote command exited without exit status or exit signal)")
_NOT_TEXT = re.compile(r"^(?P<cause>grpc: .*invalid UTF-8)")
_ENDED = re.compile(
    r"^(?P<cause>Process exited with status \d+(?: from signal (?P<signal>\w+))?.*?|EOF): "
    r'running "(?:[^"\\]|\\.)*":\n(?P<output>.*)',
    re.DOTALL,
)

_ANOTHER_KEY = "host key mismatch", "no common algorithm for host key"
_NO_LOGIN = ("unable to authenticate",)
_NO_NAME = "no such host", "server misbehaving", "not known", "Temporary failure in name resolution"


@dataclass(frozen=True)
class Hop:
    """One SSH server on the path: the connection argument, or its proxy."""

    host: str
    port: int
    user: str
    attempts: int

    @classmethod
    def of(cls, connection: Mapping[str, Any]) -> Hop:
        return cls(
            str(connection.get("host")),
            int(connection.get("port") or PORT),
            str(connection.get("user") or USER),
            int(connection.get("dialErrorLimit") or 0),
        )

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, port {self.port}"


@dataclass(frozen=True)
class Session:
    """A session that failed. `host` is None for a node that is no longer in the configuration."""

    host: HostPlan | None
    name: str
    urn: str
    operation: str
    node: Hop
    bastion: Hop | None

    def message(self, error: str) -> str | None:
        """The whole message for the provider's error; None if the program on the node has reported it."""
        if _OWN_REPORT.search(error):
            return None
        if match := _GAVE_UP.match(error):
            return self._not_reached(match["cause"], int(match["attempts"]))
        if match := _AGENT.match(error):
            return self._no_agent(match["cause"])
        if match := _UNREADABLE.match(error):
            return self._no_key(match["cause"])
        if match := _LOST.match(error):
            return self._lost(match["cause"])
        if match := _NOT_TEXT.match(error):
            return self._not_text(match["cause"])
        if match := _ENDED.match(error):
            return self._ended(match["cause"], match["signal"], match["output"])
        if match := _REFUSED.match(error):
            return self._not_reached(match["cause"], self.node.attempts)
        return None

    def _message(self, code: str, what: str, cause: str, state: str, remedy: str) -> str:
        site = f" (site {self.host.site})" if self.host else ""
        again = "the same command again" if self.operation == "delete" else "`pulumi up` again"
        return (
            f"{self.name}{site}: {what} [{code}]\n"
            f"  cause: {cause}\n  state: {state}\n  do:    {remedy}; then {again}"
        )

    @property
    def _applies(self) -> bool:
        """Whether it was the session that changes the node's settings."""
        return self.urn.endswith(SETTINGS)

    @property
    def _key(self) -> str:
        """The node's key in the configuration."""
        return self.host.key if self.host else f"sites.SITE.nodes.{self.name}"

    # -- the way there -------------------------------------------------------------------------------------
    def _not_reached(self, cause: str, attempts: int) -> str:
        bastion = self._failed_hop(cause, attempts)
        if bastion:
            what = f"no SSH connection to the bastion {bastion}"
            remedy = self._of_bastion(bastion, cause)
            return self._message("ssh-bastion-connection-failed", what, cause, _NOTHING_CHANGED, remedy)
        through = f" through the bastion {self.bastion.host}" if self.bastion else ""
        what = f"no SSH connection to {self.node}{through}"
        remedy = self._of_node(cause)
        if self.operation == "delete":
            remedy += (
                ". It is reached as at the last `pulumi up`; if it is gone for good, remove it from the "
                f"stack's state: `pulumi state delete '{self.urn}'`"
            )
        return self._message("ssh-connection-failed", what, cause, _NOTHING_CHANGED, remedy)

    def _failed_hop(self, cause: str, attempts: int) -> Hop | None:
        """The bastion, if its connection failed; None if the node's did.

        `connection_args` gives them different numbers of attempts. If the numbers are equal, the node behind
        a bastion always fails with EOF.
        """
        if self.bastion is None or "rejected" in cause:
            return None
        alike = self.bastion.attempts == self.node.attempts
        is_bastion = "EOF" not in cause if alike else attempts == self.bastion.attempts
        return self.bastion if is_bastion else None

    def _of_bastion(self, bastion: Hop, cause: str) -> str:
        if _has(cause, _ANOTHER_KEY):
            return _compare_keys("`ssh.bastion.host_key`")
        if _has(cause, _NO_LOGIN):
            return f"let `ssh.bastion.user` ({bastion.user}) log in there with {_LOGIN_KEY}"
        if _has(cause, _NO_NAME):
            return "correct the name in `ssh.bastion.host`, or how it is resolved on this machine"
        return "check that the bastion is up, and that `ssh.bastion.host` and `ssh.bastion.port` are right"

    def _of_node(self, cause: str) -> str:
        login = f"let `ssh.user` ({self.node.user}) log in there with {_LOGIN_KEY}"
        if _has(cause, _ANOTHER_KEY):
            return _compare_keys(f"`{self._key}.host_key`")
        if _has(cause, _NO_LOGIN):
            return login
        if self.bastion and "handshake failed" in cause:
            jump = f"ssh -J {self.bastion.user}@{self.bastion.host}:{self.bastion.port} -p {self.node.port}"
            return (
                f"the host key or the login is wrong; only the first attempt says which, and "
                f"`{jump} {self.node.user}@{self.node.host}` shows it. For the host key, compare `ssh-keygen "
                f"-lf /etc/ssh/ssh_host_ed25519_key.pub` there with `{self._key}.host_key`. For the login, "
                f"{login}"
            )
        if "prohibited" in cause:
            return (
                "let the bastion's sshd pass it on: `AllowTcpForwarding` and `PermitOpen` in its sshd_config"
            )
        if _has(cause, _NO_NAME):
            where = "at the bastion" if self.bastion else "on this machine"
            return f"correct the name in `{self._key}.host`, or how it is resolved {where}"
        if self.host and self.host.created:
            return (
                "check that the instance boots (its console output), and that "
                f"`sites.{self.host.site}.aws.admin_cidrs` has this machine; `ssh.wait_seconds` for more time"
            )
        between = " is between it and the bastion" if self.bastion else " is between"
        return (
            f"check that it is up, that no firewall{between}, and that `{self._key}.host` and `ssh.port` are "
            "right; `ssh.wait_seconds` for a host that boots"
        )

    def _no_agent(self, cause: str) -> str:
        remedy = (
            "start the SSH agent, or `unset SSH_AUTH_SOCK`: if it is set, the agent must answer, "
            "also with `ssh.private_key` or `ssh.private_key_file`"
        )
        what = "no SSH connection was tried"
        return self._message("ssh-agent-not-answering", what, cause, _NOTHING_CHANGED, remedy)

    def _no_key(self, cause: str) -> str:
        remedy = (
            "provide a private key without passphrase that `ssh-keygen -y -f FILE` can read, as "
            "`ssh.private_key` or `ssh.private_key_file`, or leave both out to use the SSH agent"
        )
        what = "no SSH connection was tried"
        return self._message("ssh-private-key-invalid", what, cause, _NOTHING_CHANGED, remedy)

    # -- the result of the program there --------------------------------------------------------------------
    def _lost(self, cause: str) -> str:
        what = f"the SSH connection to {self.node} was lost while the program ran there"
        if not self._applies:
            remedy = "when the node answers again"
            return self._message("ssh-connection-lost", what, cause, _NO_SETTINGS, remedy)
        return self._message(
            "ssh-connection-lost",
            what,
            cause,
            "unknown; the program there continues and ends with the new settings or the former ones",
            "when the node answers again: the next run waits for that one to end and continues with "
            "its result",
        )

    def _not_text(self, cause: str) -> str:
        return self._message(
            "output-not-utf-8",
            f"the command provider cannot pass on what was printed at {self.node}",
            cause,
            "the program there finished, but the stack does not have its result",
            f"check what `ssh {self.node.user}@{self.node.host} true` prints there, a greeting or a warning "
            "in another encoding than UTF-8, and remove it",
        )

    def _ended(self, cause: str, signal: str | None, output: str) -> str:
        begun = any(line.startswith(f"{self.name}: ") for line in output.splitlines())
        if signal or begun:
            return self._message(
                "program-ended",
                f"the program at {self.node} was terminated",
                cause,
                "unknown; the next run rolls back the incomplete change" if self._applies else _NO_SETTINGS,
                "check there what terminated it (`journalctl -k`: out of memory?)",
            )
        code, line, remedy = start_error(output)
        return self._message(
            code,
            f"the program could not start at {self.node}",
            line or cause,
            _NOTHING_CHANGED,
            remedy.format(user=self.node.user, host=self.node.host, key=self._key),
        )


_LOGIN_KEY = "`ssh.private_key` or the SSH agent's key"


def _has(cause: str, words: tuple[str, ...]) -> bool:
    return any(word in cause for word in words)


def _compare_keys(key: str) -> str:
    return (
        "another host answers, or its SSH keys are new. Compare `ssh-keygen -lf "
        f"/etc/ssh/ssh_host_ed25519_key.pub` there with {key}"
    )
