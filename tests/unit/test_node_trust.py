"""The first step of a rotation of the registry key on a node, and what is restored there after a leak."""

from __future__ import annotations

import hashlib
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.configurations import certificate
from tests.ruby import Program

OLD, NEW, OTHER = (certificate("registry")["certificate"] for _ in range(3))
CONTENTS = """->(file, bundle) {
  order = { 'secrets_file' => file, 'issuer' => 'x',
            'secrets' => { 'registry_key' => OpenSSL::PKey::RSA.new(1024).to_pem, 'registry_certificate' => bundle } }
  Trust.new(order).contents.values
}"""


def fingerprint(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize(
    ("before", "bundle", "after"),
    [
        (OLD, NEW + OLD, NEW + OLD),
        (NEW + OLD, NEW + OLD, None),
        (OLD + NEW, NEW + OLD, None),
        (OTHER + OLD, NEW + OLD, f"{NEW}{OLD}{OTHER}"),
        (OLD, NEW, f"{NEW}{OLD}"),
    ],
)
def test_a_certificate_is_only_added(
    ruby: Program, tmp_path: Path, before: str, bundle: str, after: str | None
) -> None:
    """The bundle as the settings have it later, so that the registry restarts once; the other secrets stay."""
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"registry_certificate": before, "http_secret": "kept"}))
    written = [json.loads(one) for one in ruby.call(CONTENTS, str(file), bundle)]
    expected = {"registry_certificate": after, "http_secret": "kept"}
    assert written == ([] if after is None else [expected])


def test_a_bundle_is_contained_if_all_of_its_certificates_are(ruby: Program) -> None:
    """What is not a certificate is contained in nothing."""
    contains = "->(text, wanted) { Omnibus.certificate_in?(text, wanted) }"
    answers = [ruby.call(contains, OTHER + NEW, wanted) for wanted in (NEW, NEW + OTHER, NEW + OLD, "", "x")]
    assert answers == [True, True, False, False, False]


BEFORE = """->(state, current, revoked, secrets) {
  own = Omnibus.method(:registry_secrets)
  Omnibus.define_singleton_method(:registry_secrets) { current }
  begin
    main = Class.new { define_method(:initialize) { @state = state; @order = { 'revoked' => revoked, 'secrets' => secrets } } }
    %w[before revoked\\?].each { |name| main.class_eval(File.read("#{ARGV[0]}/main.rb")[/^  def #{name}.*?^  end$/m]) }
    main.new.before
  ensure
    Omnibus.define_singleton_method(:registry_secrets, own)
  end
}"""


@pytest.mark.parametrize(
    ("revoked", "key"), [([], "former"), ([fingerprint(OTHER)], "former"), ([fingerprint(OLD)], "stack's")]
)
def test_a_node_does_not_get_a_leaked_pair_back(ruby: Program, revoked: list[str], key: str) -> None:
    """But the stack's, which the other nodes of the site get, too; and a node that joins later has none to restore."""
    former = {"internal_key": "former", "internal_certificate": OLD, "http_secret": "h"}
    secrets: dict[str, Any] = {"registry_key": "stack's", "registry_certificate": NEW}
    for state, current in (({"before": former}, {}), ({}, former)):
        restored = ruby.call(BEFORE, state, current, revoked, secrets)
        assert (restored["internal_key"], restored["http_secret"]) == (key, "h")
        assert restored["internal_certificate"] == (OLD if key == "former" else NEW)


def test_the_certificate_of_an_adopted_key_comes_first(ruby: Program) -> None:
    """Where the state was lost between the steps of a rotation, GitLab's secrets have another one first."""
    made = """-> { key, certificate = OpenSSL::PKey::RSA.new(1024), OpenSSL::X509::Certificate.new
      certificate.serial, certificate.not_before, certificate.not_after = 1, Time.at(0), Time.at(1 << 31)
      certificate.subject = certificate.issuer = OpenSSL::X509::Name.parse('/CN=Registry')
      certificate.public_key = key.public_key
      [key.to_pem, certificate.sign(key, OpenSSL::Digest.new('SHA256')).to_pem] }"""
    key, own = ruby.call(made)
    first = "->(key, bundle) { Omnibus.with_own_first(key, bundle) }"
    assert ruby.call(first, key, OTHER + own) == own + OTHER
    assert [ruby.call(first, key, bundle) for bundle in (own, own + OTHER, OTHER, None)] == [
        own,
        own + OTHER,
        OTHER,
        None,
    ]
