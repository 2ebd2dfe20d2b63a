"""What the engine says when an SSH session failed: node, cause, state, and what to do.

The causes are in the words of Go's net and golang.org/x/crypto/ssh, which the command provider quotes. What
the program on a node reports by itself needs no words of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.not_begun import why_not_begun
from omnibus.model import Deployment

_NOTHING_CHANGED = "nothing was changed on this node"
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
    """One SSH server of the way: the connection argument, or its proxy."""

    host: str
    port: int
    user: str
    attempts: int

    @classmethod
    def of(cls, connection: Mapping[str, Any]) -> Hop:
        return cls(
            str(connection.get("host")),
            int(connection.get("port") or 22),
            str(connection.get("user") or "root"),
            int(connection.get("dialErrorLimit") or 0),
        )

    def __str__(self) -> str:
        return f"{self.user}@{self.host}, port {self.port}"


@dataclass(frozen=True)
class Session:
    """A session that failed. `site` is None of a node that is no longer in the configuration."""

    deployment: Deployment
    site: str | None
    name: str
    urn: str
    operation: str
    node: Hop
    bastion: Hop | None

    def message(self, error: str) -> str | None:
        """The whole message for the provider's error; None where the program on the node has said it all."""
        if _OWN_REPORT.search(error):
            return None
        if found := _GAVE_UP.match(error):
            return self._not_reached(found["cause"], int(found["attempts"]))
        if found := _AGENT.match(error):
            return self._no_agent(found["cause"])
        if found := _UNREADABLE.match(error):
            return self._no_key(found["cause"])
        if found := _LOST.match(error):
            return self._lost(found["cause"])
        if found := _NOT_TEXT.match(error):
            return self._not_text(found["cause"])
        if found := _ENDED.match(error):
            return self._ended(found["cause"], found["signal"], found["output"])
        if found := _REFUSED.match(error):
            return self._not_reached(found["cause"], self.node.attempts)
        return None

    def _message(self, what: str, cause: str, state: str, remedy: str) -> str:
        site = f" (site {self.site})" if self.site else ""
        again = "the same command again" if self.operation == "delete" else "`pulumi up` again"
        return (
            f"{self.name}{site}: {what}\n  cause: {cause}\n  state: {state}\n  do:    {remedy}; then {again}"
        )

    @property
    def _key(self) -> str:
        """Where the node is in the configuration."""
        if self.site is None:
            return f"sites.SITE.nodes.{self.name}"
        external = self.name in self.deployment.sites[self.site].external_hosts
        return f"sites.{self.site}.{'external_registry.hosts' if external else 'nodes'}.{self.name}"

    # -- the way there -------------------------------------------------------------------------------------
    def _not_reached(self, cause: str, attempts: int) -> str:
        bastion = self._failed_hop(cause, attempts)
        if bastion:
            what = f"no SSH connection to the bastion {bastion}"
            return self._message(what, cause, _NOTHING_CHANGED, self._of_bastion(bastion, cause))
        through = f" through the bastion {self.bastion.host}" if self.bastion else ""
        what = f"no SSH connection to {self.node}{through}"
        remedy = self._of_node(cause)
        if self.operation == "delete":
            remedy += (
                ". It is reached as at the last `pulumi up`; if it is gone for good, have the stack "
                f"forget it: `pulumi state delete '{self.urn}'`"
            )
        return self._message(what, cause, _NOTHING_CHANGED, remedy)

    def _failed_hop(self, cause: str, attempts: int) -> Hop | None:
        """The bastion, where it was that one; None of the node.

        `connection.args` gives them different numbers of attempts. Where they have the same, the node behind
        a bastion only ever fails with EOF.
        """
        if self.bastion is None or "rejected" in cause:
            return None
        alike = self.bastion.attempts == self.node.attempts
        its_own = "EOF" not in cause if alike else attempts == self.bastion.attempts
        return self.bastion if its_own else None

    def _of_bastion(self, bastion: Hop, cause: str) -> str:
        if _has(cause, _ANOTHER_KEY):
            return _compare_keys("`ssh.bastion.host_key`")
        if _has(cause, _NO_LOGIN):
            return f"let `ssh.bastion.user` ({bastion.user}) log in there with {_LOGIN_KEY}"
        if _has(cause, _NO_NAME):
            return "correct the name in `ssh.bastion.host`, or how it is resolved on this machine"
        return "see that the bastion is up, and that `ssh.bastion.host` and `ssh.bastion.port` are right"

    def _of_node(self, cause: str) -> str:
        login = f"let `ssh.user` ({self.node.user}) log in there with {_LOGIN_KEY}"
        if _has(cause, _ANOTHER_KEY):
            return _compare_keys(f"`{self._key}.host_key`")
        if _has(cause, _NO_LOGIN):
            return login
        if self.bastion and "handshake failed" in cause:
            jump = f"ssh -J {self.bastion.user}@{self.bastion.host}:{self.bastion.port} -p {self.node.port}"
            return (
                f"one of two things is wrong at the node; only the first attempt says which, and "
                f"`{jump} {self.node.user}@{self.node.host}` shows it. Its host key: compare `ssh-keygen -lf "
                f"/etc/ssh/ssh_host_ed25519_key.pub` there with `{self._key}.host_key`. Or the login: {login}"
            )
        if "prohibited" in cause:
            return (
                "let the bastion's sshd pass it on: `AllowTcpForwarding` and `PermitOpen` in its sshd_config"
            )
        if _has(cause, _NO_NAME):
            where = "at the bastion" if self.bastion else "on this machine"
            return f"correct the name in `{self._key}.host`, or how it is resolved {where}"
        if self.site and self.deployment.sites[self.site].aws:
            return (
                "see that the server boots (its console output), and that "
                f"`sites.{self.site}.aws.admin_cidrs` has this machine; `ssh.wait_seconds` for more time"
            )
        between = " is between it and the bastion" if self.bastion else " is between"
        return (
            f"see that it is up, that no firewall{between}, and that `{self._key}.host` and `ssh.port` are "
            "right; `ssh.wait_seconds` for a host that boots"
        )

    def _no_agent(self, cause: str) -> str:
        remedy = (
            "start the SSH agent, or `unset SSH_AUTH_SOCK`: wherever that is set its agent must answer, "
            "also with `ssh.private_key` or `ssh.private_key_file`"
        )
        return self._message("no SSH connection was tried", cause, _NOTHING_CHANGED, remedy)

    def _no_key(self, cause: str) -> str:
        remedy = (
            "give a private key without passphrase that `ssh-keygen -y -f FILE` can read, as "
            "`ssh.private_key` or `ssh.private_key_file`, or leave both out to use the SSH agent"
        )
        return self._message("no SSH connection was tried", cause, _NOTHING_CHANGED, remedy)

    # -- what came of the program there --------------------------------------------------------------------
    def _lost(self, cause: str) -> str:
        return self._message(
            f"the SSH connection to {self.node} was lost while the program ran there",
            cause,
            "unknown; the program there goes on by itself and ends with the new settings or the former ones",
            "when the node answers again: the next run waits for that one to end, looks at what it left "
            "and goes on from there",
        )

    def _not_text(self, cause: str) -> str:
        return self._message(
            f"the command provider cannot pass on what was printed at {self.node}",
            cause,
            "the program there came to its end, but the stack does not know of it",
            f"see what `ssh {self.node.user}@{self.node.host} true` prints there, a greeting or a warning in "
            "another encoding than UTF-8, and take it out",
        )

    def _ended(self, cause: str, signal: str | None, output: str) -> str:
        begun = any(line.startswith(f"{self.name}: ") for line in output.splitlines())
        if signal or begun:
            return self._message(
                f"the program at {self.node} was ended",
                cause,
                "unknown; what it had begun is taken back at the next run",
                "see there what ended it (`journalctl -k`: out of memory?)",
            )
        line, remedy = why_not_begun(output)
        return self._message(
            f"the program could not begin at {self.node}",
            line or cause,
            _NOTHING_CHANGED,
            remedy.format(user=self.node.user, host=self.node.host, key=self._key),
        )


_LOGIN_KEY = "`ssh.private_key` or the SSH agent's key"


def _has(cause: str, words: tuple[str, ...]) -> bool:
    return any(word in cause for word in words)


def _compare_keys(key: str) -> str:
    return (
        "another server answers, or its SSH keys are new. Compare `ssh-keygen -lf "
        f"/etc/ssh/ssh_host_ed25519_key.pub` there with {key}"
    )
