"""Where the lab's gitlab-ctl takes the registry's key pair and the secrets from, and where it leaves them."""

from __future__ import annotations

import json
import subprocess

from tests.lab.omnibus.gitlab_tree import CERTIFICATE, KEY, SECRETS, SITE, GitLabTree


def ruby(text: str) -> str:
    """A Ruby literal of one-line or PEM text."""
    return json.dumps(text)


def openssl(pem: str, *arguments: str) -> str:
    """What openssl makes of a PEM text. (Python's library refuses omnibus' serial number 0.)"""
    return subprocess.run(
        ["openssl", *arguments], input=pem, check=True, capture_output=True, text=True
    ).stdout


def matches(key: str, certificate: str) -> bool:
    """Whether a PEM key is the certificate's."""
    return openssl(key, "pkey", "-pubout") == openssl(certificate, "x509", "-noout", "-pubkey")


def test_a_pair_is_generated_once_and_kept_in_the_secrets_file(host: GitLabTree) -> None:
    """Self-signed, CN=Registry, ten years; readable by root only; what else the file holds stays."""
    host.write(
        SECRETS, json.dumps({"gitlab_rails": {"secret_key_base": "old", "mine": 1}, "gitlab_kas": {"k": "v"}})
    )
    host.reconfigure()
    secrets = host.secrets()
    facts = openssl(
        secrets["registry"]["internal_certificate"], "x509", "-noout", "-subject", "-issuer", "-dates"
    )
    subject, issuer, begins, ends = (line.split("=", 1)[1] for line in facts.splitlines())
    assert (subject, "CN = Registry" in subject) == (issuer, True)
    assert int(ends.split()[3]) - int(begins.split()[3]) == 10
    assert matches(secrets["registry"]["internal_key"], secrets["registry"]["internal_certificate"])
    assert host.read(KEY) == secrets["registry"]["internal_key"]
    assert host.read(CERTIFICATE) == secrets["registry"]["internal_certificate"]
    assert secrets["gitlab_rails"]["secret_key_base"] == "old"
    assert secrets["gitlab_rails"]["mine"] == 1
    assert secrets["gitlab_kas"] == {"k": "v"}
    assert (host.path(SECRETS).stat().st_mode & 0o777, host.path(KEY).stat().st_mode & 0o777) == (
        0o600,
        0o600,
    )
    host.reconfigure()
    assert host.secrets() == secrets


def test_a_bare_copy_of_the_key_is_undone_by_the_next_reconfigure(host: GitLabTree) -> None:
    """Key and certificate files are rewritten by every run."""
    host.reconfigure()
    before = (host.read(KEY), host.read(CERTIFICATE))
    host.write(KEY, "another key")
    host.write(CERTIFICATE, "another certificate")
    host.reconfigure()
    assert (host.read(KEY), host.read(CERTIFICATE)) == before


def test_gitlab_rb_wins_and_is_written_into_the_secrets_file(host: GitLabTree) -> None:
    """So taking it out of gitlab.rb again does not bring the former pair back."""
    host.reconfigure()
    host.reconfigure(
        SITE
        + "registry['internal_key'] = 'K'\nregistry['internal_certificate'] = 'C'\nregistry['http_secret'] = 'H'"
    )
    assert (host.read(KEY), host.read(CERTIFICATE)) == ("K", "C")
    assert host.secrets()["registry"] == {
        "http_secret": "H",
        "internal_certificate": "C",
        "internal_key": "K",
    }
    host.reconfigure(SITE)
    assert (host.read(KEY), host.registry()["http"]["secret"]) == ("K", "H")


def test_a_run_that_fails_later_has_already_written_the_secrets(host: GitLabTree) -> None:
    """What failed was not nothing."""
    host.reconfigure()
    host.fails(
        SITE.replace("registry.london.example.com", "registry.london.example.com/path")
        + "registry['internal_key'] = 'K'"
    )
    assert host.secrets()["registry"]["internal_key"] == "K"
    assert host.read(KEY) != "K"


def test_one_half_of_a_pair_makes_a_mismatched_one_silently(host: GitLabTree) -> None:
    """Exit 0, and key and certificate do not belong together."""
    host.reconfigure()
    pair = host.secrets()["registry"]
    host.path(SECRETS).unlink()
    output = host.reconfigure(f"{SITE}registry['internal_key'] = {ruby(pair['internal_key'])}")
    assert host.read(KEY) == pair["internal_key"]
    assert not matches(host.read(KEY), host.read(CERTIFICATE))
    assert "match" not in output


def test_gitlab_rails_internal_key_feeds_nothing(host: GitLabTree) -> None:
    """Some docs name it."""
    host.reconfigure(SITE + "gitlab_rails['internal_key'] = 'K'")
    assert host.read(KEY) != "K"


def test_a_malformed_secrets_file_exits_1(host: GitLabTree) -> None:
    """And is left as it is."""
    host.write(SECRETS, '{"registry": ')
    assert "JSON::ParserError" in host.fails(SITE)
    assert host.read(SECRETS) == '{"registry": '
