"""Requests to the registry of this host, and to GitLab's notification endpoint."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from contextlib import closing
from typing import Any, Callable, NamedTuple
from urllib.parse import urlsplit

from . import causes
from .document import Tree
from .edits import get
from .report import Failure

SECONDS = 15
START_SECONDS = 30
"""How long a registry may take to answer after the command that restarts it has ended."""
ALL_ADDRESSES = ("", "0.0.0.0", "[::]")  # noqa: S104 (nothing is bound to them)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Answer(NamedTuple):
    """`status` 0: there was no answer, for the reason in `text` and `cause`. Else `text` is the body."""

    status: int
    text: str
    challenge: dict[str, str]
    cause: causes.Cause | None = None

    @property
    def final(self) -> bool:
        """Whether a retry cannot get another answer."""
        return self.cause is not None and self.cause.final

    @property
    def summary(self) -> str:
        return f"answered with {self.status}" if self.status else f"not answered ({self.text})"


def ask(
    method: str, url: str, *, verify: bool, headers: dict[str, str] | None = None, body: str = ""
) -> Answer:
    """One request, with a time limit and without a proxy."""
    parts = urlsplit(url)
    try:
        with closing(_connection(parts.scheme, parts.hostname or "", parts.port, verify)) as connection:
            connection.request(method, parts.path or "/", body.encode() or None, headers or {})
            answer = connection.getresponse()
            challenge = dict(_CHALLENGE.findall(answer.getheader("WWW-Authenticate") or ""))
            return Answer(answer.status, answer.read(2000).decode(errors="replace"), challenge)
    except (OSError, http.client.HTTPException) as error:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        cause = causes.of(error, parts.hostname or "", port, SECONDS)
        return Answer(0, cause.text, {}, cause)


def _connection(scheme: str, host: str, port: int | None, verify: bool) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)


def until(
    seconds: float, request: Callable[[], Answer], final: Callable[[Answer], bool], *, insist: bool = False
) -> Answer:
    """The first answer that is final, or the last one when the time is over.

    `insist`: also retry after an answer whose cause says that a retry cannot get another one.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = request()
        if final(answer) or (answer.final and not insist) or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def local_url(config: Tree) -> str | None:
    """The URL of the registry on this host, from its configuration; None if it has no TCP address."""
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
    path = prefix.strip("/") if isinstance(prefix, str) else ""
    root = f"{'https' if secure else 'http'}://{'localhost' if host in ALL_ADDRESSES else host}:{number}/"
    return root + (f"{path}/" if path else "")


class Proof:
    """Checks that need only the registry of this host."""

    def __init__(self, order: dict[str, Any], config: Tree) -> None:
        local = local_url(config)
        self._urls = [local] if local else []
        if order["alone"] or not local:
            # A container has another address: then the site's only registry is requested by its URL.
            self._urls.append(order["registry_url"] + "/")
        self._expected: dict[str, str] = order["challenge"]
        self._request = ""
        self._done: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """Check → answer. Raises Failure at the first that fails."""
        self._check_challenge()
        return self._done

    def answers(self) -> bool:
        """Whether the registry answers at all."""
        return until(START_SECONDS, self._registry, lambda answer: answer.status > 0).status > 0

    def ensure_answer(self) -> dict[str, str]:
        """Raises Failure if the registry does not answer at all."""
        self._refuse_silence(until(START_SECONDS, self._registry, lambda answer: answer.status > 0))
        return {}

    def _refuse_silence(self, answer: Answer) -> None:
        if not answer.status:
            raise Failure(
                "registry-not-answering",
                "the proof failed: the registry does not answer",
                cause=f"{self._request} was {answer.summary}",
                remedy=f"{answer.cause.remedy}; then `pulumi up` again"
                if answer.final and answer.cause
                else "read the registry's log on this host; a problem with the storage, the certificate or a "
                "setting may prevent the registry from starting; then `pulumi up` again",
            )

    def _registry(self) -> Answer:
        for url in self._urls:
            self._request = f"GET {url}v2/"
            # No certificate matches the loopback address, and no secret is sent.
            answer = ask("GET", f"{url}v2/", verify=False)
            if answer.status:
                break
        return answer

    def _check_challenge(self) -> None:
        expected = self._expected

        def right(answer: Answer) -> bool:
            return answer.status == 401 and all(answer.challenge.get(k) == v for k, v in expected.items())

        answer = until(START_SECONDS, self._registry, right)
        self._refuse_silence(answer)
        if not right(answer):
            received = f"{answer.summary} ({_challenge_text(answer.challenge)})"
            raise Failure(
                "registry-auth-not-in-effect",
                "the proof failed: the registry does not ask for GitLab's tokens",
                cause=f"{self._request} was {received}; 401 ({_challenge_text(expected)}) was expected",
                remedy="check whether it reads another file, whether its environment (REGISTRY_AUTH_…) takes "
                "precedence, and whether `restart` restarts it; then `pulumi up` again",
            )
        self._done["registry asks for GitLab's tokens"] = "401"


def _challenge_text(challenge: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(challenge.items())) or "no realm"
