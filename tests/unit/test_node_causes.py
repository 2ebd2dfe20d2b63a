"""Why nothing answered, as the node's program says it: asked of real sockets, so that Ruby's own words are met."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.ruby import Program
from tests.unit.test_node_certificates import Made
from tests.unit.test_node_program import RSA

ASK = """
->(url, seconds, trusted) {
  found = nil
  Http.trusting(trusted) { found = Http.call('get', url, seconds: seconds) }
  [found[0], found[1], found[2].kind, found[2].final?, Http.remedy(found[2]) { 'no' }]
}
"""


@contextmanager
def server(answer: Any, tls: tuple[Made, Path] | None = None) -> Iterator[int]:
    """Somebody who accepts, and does `answer` with each connection."""
    context = None
    if tls:
        made, folder = tls
        (folder / "pair.pem").write_text(made.pem + made.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pair.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    answer(context.wrap_socket(connection, server_side=True) if context else connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def closes(connection: socket.socket) -> None:
    connection.recv(1)


def greets(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"220 mail.example.com ESMTP\r\n\r\n")


def plain(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def sleeps(connection: socket.socket) -> None:
    connection.recv(10000)
    time.sleep(1.5)


def test_a_name_that_does_not_resolve_is_said_and_final(ruby: Program) -> None:
    """Nobody fixes that while it is waited for."""
    status, text, kind, final, remedy = ruby.call(ASK, "https://registry.invalid/v2/", 5, [])
    assert (status, kind, final) == (0, "unknown", True)
    assert text == "the name registry.invalid does not resolve"
    assert remedy == "make registry.invalid resolve on this node (DNS, or /etc/hosts); then `pulumi up` again"


def test_a_dns_server_that_is_away_may_come_back(ruby: Program) -> None:
    """It says nothing of the name."""
    made = "->() { w = Unreached.of(SocketError.new('getaddrinfo: Temporary failure in name resolution'), URI('https://a.example'), 5); [w.text, w.final?] }"
    assert ruby.call(made) == ["a.example could not be looked up: no DNS server answered", False]


def test_a_port_where_nothing_listens_may_be_a_restart(ruby: Program) -> None:
    """It is waited for; address and port are said."""
    port = free_port()
    _, text, kind, final, remedy = ruby.call(ASK, f"http://127.0.0.1:{port}/", 5, [])
    assert (kind, final) == ("refused", False)
    assert text == f"127.0.0.1:{port} refuses the connection: nothing listens there"
    assert f"start the service that should listen at 127.0.0.1:{port}" in remedy


@pytest.mark.parametrize(
    ("scheme", "answer", "kind", "words"),
    [
        ("http", closes, "closed", "closed the connection without an answer"),
        ("https", closes, "closed", "closed the connection without an answer"),
        ("http", sleeps, "slow", "accepted the connection and did not answer within 1 s"),
        ("http", greets, "strange", "answers, but not with HTTP"),
        ("https", plain, "plain", "speaks plain HTTP, not TLS"),
    ],
)
def test_what_answers_otherwise_is_said(
    ruby: Program, scheme: str, answer: Any, kind: str, words: str
) -> None:
    """None of these is final: a service that restarts may do any of them."""
    with server(answer) as port:
        _, text, said, final, _ = ruby.call(ASK, f"{scheme}://127.0.0.1:{port}/", 1, [])
    assert (said, final, text) == (kind, False, f"127.0.0.1:{port} {words}")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ("Net::OpenTimeout.new", "silent", "a.example:443 did not answer within 5 s"),
        ("Errno::ETIMEDOUT.new", "silent", "a.example:443 did not answer within 5 s"),
        ("Errno::EHOSTUNREACH.new", "route", "there is no route to a.example"),
        ("Errno::ENETUNREACH.new", "route", "there is no route to a.example"),
        ("Errno::ECONNRESET.new", "closed", "a.example:443 closed the connection without an answer"),
    ],
)
def test_what_no_loopback_can_show_is_said(ruby: Program, error: str, kind: str, words: str) -> None:
    """A firewall that drops, and networks that are not there."""
    code = f"-> {{ w = Unreached.of({error}, URI('https://a.example/'), 5); [w.kind, w.text, w.final?, w.remedy.empty?] }}"
    assert ruby.call(code) == [kind, words, False, False]


CERTIFICATES = [
    (Made("localhost"), False, "authority", "is signed by a CA that this node does not trust", "trusted_certificates"),
    (Made("localhost", days=(-9, -2)), True, "expired", "has expired", "install a new certificate there"),
    (Made("localhost", days=(2, 9)), True, "expired", "is not valid yet", "check the clocks"),
    (Made("other.example.com"), True, "name", "is for other names", "subjectAltName has this name"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "trusted", "kind", "words", "do"), CERTIFICATES, ids=[f"{c[2]}-{c[3]}" for c in CERTIFICATES]
)
def test_a_certificate_says_why_it_is_refused_and_ends_the_wait(
    ruby: Program, tmp_path: Path, made: Made, trusted: bool, kind: str, words: str, do: str
) -> None:
    """OpenSSL's own reason stays in brackets."""
    with server(closes, (made, tmp_path)) as port:
        provided = [made.pem] if trusted else []
        _, text, said, final, remedy = ruby.call(ASK, f"https://localhost:{port}/", 5, provided)
    assert (said, final) == (kind, True), text
    assert text.startswith(f"the certificate of localhost:{port} {words}")
    assert do in remedy


WAIT = """
->(order, error) {
  now = 0.0
  Omnibus.define_singleton_method(:now) { now }
  Http.define_singleton_method(:sleep) { |seconds| now += seconds }
  why = Unreached.of(eval(error), URI('https://registry.example.com'), 15)
  own = Http.method(:call)
  Http.define_singleton_method(:call) { |*_, **_| [0, why.text, why] }
  verification = Verification.new(order)
  begin
    $stderr = StringIO.new
    asks = [
      -> { verification.send(:refusal, Registry.new('https://registry.example.com')) },
      -> { verification.send(:forged, Registry.new('https://registry.example.com'), 'london') },
      -> { verification.send(:notifications) },
      -> { Storage.permissions(order) }
    ]
    asks.map { |ask| began = now; begin; ask.call; rescue Failure; nil; end; now - began }
  ensure
    $stderr = STDERR
    Http.define_singleton_method(:call, own)
    Omnibus.define_singleton_method(:now) { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
    Http.singleton_class.remove_method(:sleep)
  end
}
"""
FINAL = [
    "SocketError.new('getaddrinfo: Name or service not known')",
    "OpenSSL::SSL::SSLError.new('SSL_connect returned=1 errno=0 state=error: certificate verify failed (certificate has expired)')",
]


RELOADING = "OpenSSL::SSL::SSLError.new('SSL_connect returned=1 errno=0 state=error: certificate verify failed (self-signed certificate)')"


@pytest.mark.parametrize("error", [*FINAL, RELOADING, "Errno::ECONNREFUSED.new"])
def test_nobody_waits_for_what_cannot_come(ruby: Program, error: str) -> None:
    """Neither for the registry, GitLab nor storage; a service that restarts is waited for, and nginx' reload a moment."""
    order = {
        "node": "london-1",
        "site": "london",
        "kind": "primary",
        "roles": ["rails", "registry"],
        "registry_kind": "omnibus",
        "reconfigure_seconds": 1800,
        "issuer": "x",
        "primary": {"external_url": "https://gitlab.example.com",  "events_url": "https://gitlab.example.com/api/v4/container_registry_event/events"},
        "secrets": {"registry_key": RSA, "notification_secret": "x"},
        "storage": {"driver": "s3", "bucket": "b", "region": "eu-west-1", "patience": 60, "access_key": "a", "secret_key": "s", "write": False},
    }  # fmt: skip
    waited = ruby.call(WAIT, order, error)
    if error in FINAL:
        assert waited == [0, 0, 0, 0]
    elif error == RELOADING:
        *verified, storage = waited
        assert all(10 < seconds < 12 for seconds in verified) and storage == 0
    else:
        assert all(seconds > 29 for seconds in waited)
