"""A GitLab is never taken down: the certificates of nginx before a change, nginx itself after it."""

from __future__ import annotations

import datetime
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab.api import Lab
from lab.host import Host
from lab.services import http_status
from tests import installed
from tests.e2e.stack import GITLAB_RB, OURS, Stack, files, measured, settle

GITLAB, REGISTRY = "gitlab.tokyo.example.com", "registry.tokyo.example.com"
CRT, KEY = (f"/etc/gitlab/ssl/{REGISTRY}.{ending}" for ending in ("crt", "key"))
URL_LINE = f"registry_external_url 'https://{REGISTRY}'\n"
REFUSED = "refused: nginx would not start with the certificate of"

WAITS = itertools.count(30, 20)


class Watched:
    """Asks a host's GitLab all the time meanwhile: `away` is for how long it did not answer at the longest."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.asked, self.away = 0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._over.wait(0.1):
            self.asked += 1
            if answers(self._host):
                answered = time.monotonic()
            self.away = max(self.away, time.monotonic() - answered)


def answers(host: Host) -> bool:
    """Whether GitLab's port answers there."""
    return http_status(f"https://{GITLAB}/-/readiness", host.address) == 200


@pytest.fixture
def without_registry(existing: Stack, fresh: Lab, tokyo: Host) -> Stack:
    """tokyo's administrator has not had a registry: no URL in gitlab.rb, nothing of this program's on the node."""
    fresh.reset()
    tokyo.write(GITLAB_RB, tokyo.read(GITLAB_RB).replace(URL_LINE.encode(), b""))
    tokyo.run("gitlab-ctl reconfigure")
    fresh.wait(lambda: answers(tokyo), 30, "tokyo's GitLab")
    return existing


def test_the_lab_fails_as_omnibus_does(without_registry: Stack, fresh: Lab, tokyo: Host) -> None:
    """The counterpart: an administrator's own reconfigure says 0, and GitLab is gone."""
    with put_back(tokyo, CRT, KEY, GITLAB_RB):
        remove(tokyo)
        tokyo.write(GITLAB_RB, tokyo.read(GITLAB_RB) + URL_LINE.encode())
        said = tokyo.run("gitlab-ctl reconfigure").stdout
        assert "gitlab Reconfigured!" in said and "ok: run: nginx" in said
        fresh.wait(lambda: not answers(tokyo), 10, "the end of nginx")
        time.sleep(2)
        assert not answers(tokyo)
        fresh.wait(lambda: "[emerg]" in tokyo.read("/var/log/gitlab/nginx/current").decode(), 10, "its log")
    tokyo.run("gitlab-ctl reconfigure")
    fresh.wait(lambda: answers(tokyo), 30, "tokyo's GitLab")


def test_a_first_registry_without_a_certificate(without_registry: Stack, tokyo: Host) -> None:
    """The case that takes a GitLab down: refused at the existing site, and with the files it is there."""
    before = files(tokyo)
    with put_back(tokyo, CRT, KEY):
        remove(tokyo)
        with Watched(tokyo) as watched:
            said = without_registry.fails()
    assert f"tokyo-1 (site tokyo): {REFUSED} {REGISTRY}" in said
    assert watched.asked > 5 and watched.away < 1
    assert files(tokyo) == before and not tokyo.exists(OURS)
    without_registry.up()
    assert http_status(f"https://{REGISTRY}/v2/", tokyo.address) == 401


def test_nginx_that_does_not_come_back_is_rolled_back_at_once(without_registry: Stack, tokyo: Host) -> None:
    """The certificate goes between the look and the reconfigure: GitLab answers again, and the cause is nginx' own."""
    ctl = "/opt/gitlab/bin/gitlab-ctl"
    real = tokyo.read(ctl)
    hook = f'#!/bin/sh\n[ "$1" != reconfigure ] || rm -f {CRT}\nexec {ctl}.real "$@"\n'
    before = tokyo.read(GITLAB_RB)
    with put_back(tokyo, CRT, KEY):
        tokyo.write(f"{ctl}.real", real, mode=0o755)
        tokyo.write(ctl, hook.encode(), mode=0o755)
        try:
            with Watched(tokyo) as watched:
                said = without_registry.fails()
            assert answers(tokyo), "GitLab's port answers again"
        finally:
            tokyo.write(ctl, real, mode=0o755)
    measured("GitLab away until it was rolled back", watched.away)
    assert "tokyo-1 (site tokyo): nginx on this node does not answer for" in said, said
    assert "refuses the connection" in said and "[emerg]" in said and CRT in said
    assert (
        "the former settings are restored, and a reconfigure with them succeeded, and nginx answers" in said
    )
    assert 1 < watched.away < 30
    assert tokyo.read(GITLAB_RB) == before and not tokyo.exists(OURS)
    without_registry.up()
    assert answers(tokyo)


@pytest.fixture(scope="module")
def up(existing: Stack, fresh: Lab) -> Stack:
    fresh.reset()
    existing.up()
    return existing


@pytest.fixture
def only_tokyo(up: Stack) -> Stack:
    """A change of tokyo's connection alone: its node is applied, london is left as it is."""
    seconds = next(WAITS)
    up.configure(lambda c: c["sites"]["tokyo"].update(ssh={"wait_seconds": seconds}))
    return up


@contextmanager
def put_back(host: Host, *paths: str) -> Iterator[None]:
    """These files are afterwards as they were before."""
    before = {path: host.read(path) if host.exists(path) else None for path in paths}
    modes = {path: 0o600 if path != CRT else 0o644 for path in paths}
    try:
        yield
    finally:
        for path, content in before.items():
            host.run(f"rm -f {path}")
            if content is not None:
                host.write(path, content, mode=modes[path])


def pair(*names: str, days: tuple[int, int] = (-1, 30)) -> tuple[bytes, bytes]:
    """A self-signed certificate for these names, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now + datetime.timedelta(days[0]))
    builder = builder.not_valid_after(now + datetime.timedelta(days[1]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), private


def remove(host: Host) -> None:
    host.run(f"rm {CRT} {KEY}")


def expire(host: Host) -> None:
    certificate, key = pair(REGISTRY, days=(-9, -2))
    host.write(CRT, certificate)
    host.write(KEY, key)


def another_name(host: Host) -> None:
    certificate, key = pair("registry.osaka.example.com")
    host.write(CRT, certificate)
    host.write(KEY, key)


def another_key(host: Host) -> None:
    host.write(KEY, pair(REGISTRY)[1])


@pytest.mark.parametrize(
    ("spoil", "what", "cause"),
    [
        (remove, REFUSED, f"{CRT} does not exist; {KEY} does not exist"),
        (another_key, REFUSED, f"the key in {KEY} does not belong to the certificate in {CRT}"),
        (expire, "refused: clients would not accept the certificate of", f"{CRT} expired on"),
        (
            another_name,
            "refused: clients would not accept the certificate of",
            f"{CRT} is for registry.osaka",
        ),
    ],
    ids=["missing", "another's key", "expired", "another name"],
)
def test_a_certificate_that_does_not_fit_is_refused_before_anything_is_written(
    only_tokyo: Stack, tokyo: Host, spoil: Callable[[Host], None], what: str, cause: str
) -> None:
    """The node is untouched, its GitLab answers all the time; with the right files it goes on."""
    before = (files(tokyo), tokyo.reconfigures())
    with put_back(tokyo, CRT, KEY):
        spoil(tokyo)
        with Watched(tokyo) as watched:
            said = only_tokyo.fails()
    assert f"tokyo-1 (site tokyo): {what} {REGISTRY}" in said
    assert cause in said and "state: nothing was changed on this node" in said
    assert f"{installed.REGISTRY_NGINX}['ssl_certificate']" in said
    assert (files(tokyo), tokyo.reconfigures()) == before
    assert watched.asked > 5 and watched.away < 1
    only_tokyo.up()
    proof = only_tokyo.outputs()["proof"]["tokyo"]["tokyo-1"]
    assert proof[f"GitLab answers for {GITLAB} through this node's nginx"] == "200"
    assert proof[f"the registry answers for {REGISTRY} through this node's nginx"] == "401"


def test_own_paths_count(only_tokyo: Stack, tokyo: Host) -> None:
    """The files that gitlab.rb names are looked at, whatever lies at the usual place."""
    own = "/etc/gitlab/ssl/own"
    lines = f"registry_nginx['ssl_certificate'] = '{own}.crt'\nregistry_nginx['ssl_certificate_key'] = '{own}.key'\n"
    with put_back(tokyo, GITLAB_RB, CRT, KEY):
        tokyo.write(GITLAB_RB, lines.encode() + tokyo.read(GITLAB_RB))
        said = only_tokyo.fails()
        assert f"{REFUSED} {REGISTRY}" in said
        assert f"{own}.crt does not exist; {own}.key does not exist" in said
        tokyo.run(f"mv {CRT} {own}.crt && mv {KEY} {own}.key")
        only_tokyo.up()
        tokyo.run("gitlab-ctl reconfigure")
        assert http_status(f"https://{REGISTRY}/v2/", tokyo.address) == 401
    tokyo.run("gitlab-ctl reconfigure")
    settle(tokyo)


def test_no_certificate_is_wanted_where_tls_ends_in_front(only_tokyo: Stack, tokyo: Host) -> None:
    """`listen_https = false`: nginx listens without TLS, and is asked so."""
    lines = "registry_nginx['listen_https'] = false\nregistry_nginx['listen_port'] = 8090\n"
    with put_back(tokyo, GITLAB_RB, CRT, KEY):
        remove(tokyo)
        tokyo.write(GITLAB_RB, lines.encode() + tokyo.read(GITLAB_RB))
        tokyo.run("gitlab-ctl reconfigure")
        only_tokyo.up()
        assert http_status(f"http://{REGISTRY}:8090/v2/", tokyo.address) == 401
        proof = only_tokyo.outputs()["proof"]["tokyo"]["tokyo-1"]
        assert proof[f"the registry answers for {REGISTRY} through this node's nginx"] == "401"
    tokyo.run("gitlab-ctl reconfigure")
    settle(tokyo)


def test_settings_that_only_chef_can_read_are_said(only_tokyo: Stack, tokyo: Host) -> None:
    """Nothing is guessed, and nginx is still checked afterwards."""
    # In the lab node[…] is nothing; the branch is not taken by a reconfigure.
    line = "node['fqdn'] if File.exist?('/opt/gitlab/embedded/cookbooks/cache/cinc-client-running.pid') && !defined?(Reconfigure)\n"
    with put_back(tokyo, GITLAB_RB):
        tokyo.write(GITLAB_RB, line.encode() + tokyo.read(GITLAB_RB))
        only_tokyo.up()
        proof = only_tokyo.outputs()["proof"]["tokyo"]["tokyo-1"]
    assert proof["nginx certificates are usable"].startswith(
        "not checked in advance: gitlab.rb cannot be evaluated"
    )
    assert proof[f"the registry answers for {REGISTRY} through this node's nginx"] == "401"
