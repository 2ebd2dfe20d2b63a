"""What the lab's gitlab-ctl makes of /etc/gitlab/trusted-certs, as omnibus' CertificateHelper does."""

from __future__ import annotations

import os
import time

from lab.authority import Authority
from tests.lab.omnibus.gitlab_tree import SITE, GitLabTree

TRUSTED = "/etc/gitlab/trusted-certs"
EMBEDDED = "/opt/gitlab/embedded/ssl/certs"


def links(host: GitLabTree, directory: str) -> dict[str, str]:
    """Name of each link with the name of what it leads to."""
    found = host.path(directory).glob("*")
    return {link.name: os.path.realpath(link).split("/")[-1] for link in found if link.is_symlink()}


def put(host: GitLabTree, name: str, text: bytes, directory: str = TRUSTED) -> None:
    host.path(directory).mkdir(parents=True, exist_ok=True)
    host.write(f"{directory}/{name}", text.decode())


def test_certificates_are_linked_by_their_hash(host: GitLabTree) -> None:
    """In both directories; only Puma is restarted, and nothing happens while nothing is new."""
    host.reconfigure(SITE)
    host.commanded()
    put(host, "london.crt", Authority("London CA").pem)
    put(host, "tokyo.pem", Authority("Tokyo CA").pem)
    said = host.reconfigure(SITE)
    made = links(host, EMBEDDED)
    assert sorted(made.values()) == ["london.crt", "tokyo.pem"]
    assert all(name.endswith(".0") for name in made)
    assert links(host, TRUSTED) == made
    assert said.count("Linking ") == 2
    assert host.commanded() == ["restart puma"]
    assert "Symlinking" not in host.reconfigure(SITE)
    assert host.commanded() == []


def test_a_certificate_that_is_taken_away_is_trusted_no_more(host: GitLabTree) -> None:
    """Its links go with it, in both directories."""
    put(host, "london.crt", Authority("London CA").pem)
    put(host, "tokyo.crt", Authority("Tokyo CA").pem)
    host.reconfigure(SITE)
    assert len(links(host, EMBEDDED)) == 2
    host.path(f"{TRUSTED}/london.crt").unlink()
    host.reconfigure(SITE)
    assert list(links(host, EMBEDDED).values()) == ["tokyo.crt"]
    assert list(links(host, TRUSTED).values()) == ["tokyo.crt"]


def test_what_is_passed_over(host: GitLabTree) -> None:
    """A file of two certificates, with a warning; one of another ending, without."""
    one, other, third = (Authority(name).pem for name in ("One", "Other", "Third"))
    put(host, "both.crt", one + other)
    put(host, "third.txt", third)
    said = host.reconfigure(SITE)
    assert "skipping both.crt" in said
    assert "it does not contain exactly one certificate or CRL" in said
    assert links(host, EMBEDDED) == {}
    put(host, "third.crt", third)
    host.reconfigure(SITE)
    assert list(links(host, EMBEDDED).values()) == ["third.crt"]


def test_what_lies_in_gitlab_s_own_directory(host: GitLabTree) -> None:
    """A certificate is moved to the administrator's and linked; GitLab's own stay; anything else ends the run."""
    host.reconfigure(SITE)
    put(host, "cacert.pem", Authority("The world").pem, EMBEDDED)
    put(host, "stray.crt", Authority("Stray").pem, EMBEDDED)
    host.reconfigure(SITE)
    assert host.exists(f"{TRUSTED}/stray.crt")
    assert list(links(host, EMBEDDED).values()) == ["stray.crt"]
    assert host.exists(f"{EMBEDDED}/cacert.pem")
    put(host, "note.txt", b"no certificate", EMBEDDED)
    assert "ERROR: Not a certificate" in host.fails(SITE)


def test_a_change_is_seen_by_the_times_of_files(host: GitLabTree) -> None:
    """Another certificate under the same name and of the same second is not seen, as in reality."""
    put(host, "ca.crt", Authority("Before").pem)
    now = int(time.time())
    os.utime(host.path(f"{TRUSTED}/ca.crt"), (now, now))
    host.reconfigure(SITE)
    before = links(host, EMBEDDED)
    put(host, "ca.crt", Authority("After").pem)
    os.utime(host.path(f"{TRUSTED}/ca.crt"), (now, now))
    host.reconfigure(SITE)
    assert links(host, EMBEDDED) == before
    os.utime(host.path(f"{TRUSTED}/ca.crt"), (now + 1, now + 1))
    host.reconfigure(SITE)
    assert len(links(host, EMBEDDED)) == 2
