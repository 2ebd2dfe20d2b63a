"""Why nothing answered, as the program on a registry's own host says it."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hosts.external_registry import causes, probes
from tests.unit.test_node_causes import closes, greets, plain, server, sleeps
from tests.unit.test_node_certificates import Made


def ask(url: str, *, verify: bool = True) -> probes.Answer:
    return probes.ask("GET", url, verify=verify)


@pytest.mark.parametrize(
    ("scheme", "answer", "words"),
    [
        ("http", closes, "closed the connection without an answer"),
        ("https", closes, "closed the connection"),
        ("http", sleeps, "did not answer within 1 s"),
        ("http", greets, "answers, but not with HTTP"),
        ("https", plain, "speaks plain HTTP, not TLS"),
    ],
)
def test_what_answers_otherwise_is_said(
    monkeypatch: pytest.MonkeyPatch, scheme: str, answer: Callable[[socket.socket], None], words: str
) -> None:
    """None of these is final: a service that restarts may do any of them."""
    monkeypatch.setattr(probes, "SECONDS", 1)
    with server(answer) as port:
        reported = ask(f"{scheme}://127.0.0.1:{port}/")
    assert reported.status == 0 and not reported.final
    assert reported.text.startswith(f"127.0.0.1:{port} {words}")


def test_a_name_that_does_not_resolve_is_final() -> None:
    """With what to do on this host."""
    reported = ask("http://registry.invalid/v2/")
    assert reported.text == "the name registry.invalid does not resolve" and reported.final
    assert (
        reported.cause
        and reported.cause.remedy == "make registry.invalid resolve on this host (DNS, or /etc/hosts)"
    )


@pytest.mark.parametrize(
    ("made", "trusted", "words", "do"),
    [
        (Made("localhost"), False, "is signed by a CA that this host does not trust", "trust its CA"),
        (Made("localhost", days=(-9, -2)), True, "has expired", "install a new certificate there"),
        (Made("localhost", days=(2, 9)), True, "is not valid yet", "check the clocks"),
        (Made("other.example.com"), True, "is for other names", "subjectAltName has this name"),
    ],
)  # fmt: skip
def test_a_certificate_says_why_it_is_refused_and_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: Made, trusted: bool, words: str, do: str
) -> None:
    """OpenSSL's own reason stays in brackets."""
    context = ssl.create_default_context(cadata=made.pem if trusted else None)
    monkeypatch.setattr(ssl, "create_default_context", lambda: context)
    with server(closes, (made, tmp_path)) as port:
        reported = ask(f"https://localhost:{port}/")
    assert reported.final and reported.cause
    assert reported.text.startswith(
        f"the certificate of localhost:{port} {words} (certificate verify failed: "
    )
    assert do in reported.cause.remedy


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EHOSTUNREACH, "x"), "there is no route to a.example"),
        (OSError(errno.ENETUNREACH, "x"), "there is no route to a.example"),
        (ConnectionResetError(), "a.example:443 closed the connection without an answer"),
        (TimeoutError(), "a.example:443 did not answer within 15 s"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "a.example could not be looked up: no DNS server answered"),
        (OSError(errno.EMFILE, "too many"), "OSError: [Errno 24] too many"),
    ],
)
def test_what_no_loopback_can_show_is_said(error: Exception, words: str) -> None:
    """All of these may pass."""
    cause = causes.of(error, "a.example", 443, 15)
    assert (cause.text, cause.final) == (words, False)
    assert cause.remedy


def test_nobody_waits_for_what_cannot_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection may be a restart, a name is none."""
    slept: list[float] = []
    now: list[Any] = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for error, waits in ((socket.gaierror(socket.EAI_NONAME, "x"), False), (ConnectionRefusedError(), True)):
        slept.clear()
        cause = causes.of(error, "a.example", 443, 15)
        probes.until(30, lambda found=cause: probes.Answer(0, found.text, {}, found), lambda _: False)  # type: ignore[misc]
        assert bool(slept) is waits
