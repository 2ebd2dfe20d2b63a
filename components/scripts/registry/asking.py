"""What the registry answers, and what GitLab answers to its notifications."""

from __future__ import annotations

import http.client
import re
import secrets
import socket
import ssl
import time
from contextlib import closing
from typing import Any, Callable, NamedTuple
from urllib.parse import urlsplit

from . import causes
from .document import Tree
from .edits import get
from .report import Failure, say

SECONDS = 15
START_SECONDS = 30
"""How long a registry may take to answer, once the command that restarts it has ended."""
ANYWHERE = ("", "0.0.0.0", "[::]")  # noqa: S104 (nothing is bound to them)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Answer(NamedTuple):
    """`status` 0 where there was none; `text` says why, or is the answer's body. `cause`: of no answer."""

    status: int
    text: str
    challenge: dict[str, str]
    cause: causes.Cause | None = None

    @property
    def final(self) -> bool:
        """Whether asking again cannot bring another one."""
        return self.cause is not None and self.cause.final

    @property
    def shown(self) -> str:
        return f"answered {self.status}" if self.status else f"not answered ({self.text})"


def ask(
    method: str, url: str, *, verify: bool, headers: dict[str, str] | None = None, body: str = ""
) -> Answer:
    """One request, with a time limit and without a proxy."""
    at = urlsplit(url)
    try:
        with closing(_connection(at.scheme, at.hostname or "", at.port, verify)) as connection:
            connection.request(method, at.path or "/", body.encode() or None, headers or {})
            answer = connection.getresponse()
            challenge = dict(_CHALLENGE.findall(answer.getheader("WWW-Authenticate") or ""))
            return Answer(answer.status, answer.read(2000).decode(errors="replace"), challenge)
    except (OSError, http.client.HTTPException) as error:
        port = at.port or (443 if at.scheme == "https" else 80)
        cause = causes.of(error, at.hostname or "", port, SECONDS)
        return Answer(0, cause.text, {}, cause)


def _connection(scheme: str, host: str, port: int | None, verify: bool) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)


def until(seconds: float, question: Callable[[], Answer], final: Callable[[Answer], bool]) -> Answer:
    """The first answer that is final, or the last one when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if final(answer) or answer.final or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def listens(config: Tree) -> str | None:
    """The URL of the registry on this host by its own configuration; None where it has no TCP address."""
    address = get(config, ["http", "addr"])
    if not isinstance(address, str) or get(config, ["http", "net"]) == "unix":
        return None
    host, _, port = address.rpartition(":")
    try:
        number = int(port) if port.isdigit() else socket.getservbyname(port, "tcp")
    except OSError:
        return None
    tls, prefix = get(config, ["http", "tls"]), get(config, ["http", "prefix"])
    secure = isinstance(tls, dict) and bool(tls.get("certificate") or tls.get("letsencrypt"))
    below = prefix.strip("/") if isinstance(prefix, str) else ""
    root = f"{'https' if secure else 'http'}://{'localhost' if host in ANYWHERE else host}:{number}/"
    return root + (f"{below}/" if below else "")


class Proof:
    """Of one registry. `agreed`: nothing that GitLab's nodes must be told too has changed since the last."""

    def __init__(self, order: dict[str, Any], config: Tree, *, agreed: bool) -> None:
        self._order, self._agreed = order, agreed
        local = listens(config)
        self._urls = [local] if local else []
        if order["alone"] or not local:
            # A container's address is its own: then the site's only registry is asked by its URL.
            self._urls.append(order["registry_url"] + "/")
        self._asked = ""
        self._done: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """check → answer. Raises Failure at the first that fails."""
        self._asks_for_gitlabs_tokens()
        if self._order["events"]:
            self._notifies(self._order["events"]["url"], self._order["events"]["secret"])
        return self._done

    def answers(self) -> bool:
        """Whether there is a registry at all."""
        return until(START_SECONDS, self._registry, lambda answer: answer.status > 0).status > 0

    def _registry(self) -> Answer:
        for url in self._urls:
            self._asked = f"GET {url}v2/"
            # By the name of the loopback no certificate is right, and nothing secret is sent.
            answer = ask("GET", f"{url}v2/", verify=False)
            if answer.status:
                break
        return answer

    def _asks_for_gitlabs_tokens(self) -> None:
        wanted: dict[str, str] = self._order["challenge"]

        def right(answer: Answer) -> bool:
            return answer.status == 401 and all(answer.challenge.get(k) == v for k, v in wanted.items())

        answer = until(START_SECONDS, self._registry, right)
        if not answer.status:
            raise Failure(
                "the proof failed: the registry does not answer",
                cause=f"{self._asked} was {answer.shown}",
                remedy=f"{answer.cause.remedy}; then `pulumi up` again"
                if answer.final and answer.cause
                else "read the registry's log on this host: storage, certificate or a setting keeps it "
                "from starting; then `pulumi up` again",
            )
        if not right(answer):
            told = f"{answer.shown} with {_told(answer.challenge)}"
            raise Failure(
                "the proof failed: the registry does not ask for GitLab's tokens",
                cause=f"{self._asked} was {told}, not 401 with {_told(wanted)}",
                remedy="it reads another file, its environment (REGISTRY_AUTH_…) wins, or `restart` does not "
                "restart it; then `pulumi up` again",
            )
        self._done["registry asks for GitLab's tokens"] = "401"

    def _notifies(self, url: str, secret: str) -> None:
        patience = 120 if self._agreed else max(120, self._order["reconfigure_seconds"] / 3)
        told = False

        def settled(answer: Answer) -> bool:
            # All nodes are changed at once: GitLab's may still be given the secret.
            nonlocal told
            done = 0 < answer.status < 500 and (self._agreed or answer.status not in (401, 403))
            if not done and not told:
                told = True
                say(f"{self._order['node']}: waiting for {url} ({answer.shown}), at most {patience:.0f} s")
            return done

        right = until(patience, lambda: _event(url, secret), settled)
        if right.status in (0, 401, 403) or right.status >= 500:
            raise Failure(
                "the proof failed: GitLab does not accept the registry's notifications",
                cause=f"POST {url} with the notification secret was {right.shown}",
                remedy=f"{right.cause.remedy}; then `pulumi up` again"
                if right.cause
                else f"each Rails node of {self._order['site']} must have this stack's "
                "registry_notification_secret",
            )
        other = "A" + secrets.token_hex(16)
        wrong = until(30, lambda: _event(url, other), lambda answer: 0 < answer.status < 500)
        if wrong.status not in (401, 403):
            raise Failure(
                "the proof failed: GitLab accepts notifications with any secret",
                cause=f"POST {url} with a wrong secret was {wrong.shown}, not 401",
                remedy="something in front of GitLab answers this path: let it through to Rails",
            )
        self._done["notification endpoint accepts the secret"] = "yes"
        self._done["notification endpoint refuses a wrong one"] = str(wrong.status)


def _told(challenge: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(challenge.items())) or "no realm"


def _event(url: str, secret: str) -> Answer:
    kind = "application/vnd.docker.distribution.events.v1+json"
    headers = {"Authorization": secret, "Content-Type": kind}
    return ask("POST", url, verify=True, headers=headers, body='{"events":[]}')
