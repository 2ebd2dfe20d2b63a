"""The certificates that nginx will use, looked at before anything is written on a node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ruby import Program

GITLAB, REGISTRY = "gitlab.london.example.com", "registry.london.example.com"
SITE = f"external_url 'https://{GITLAB}'\nletsencrypt['enable'] = false\n"
URLS = f"{SITE}registry_external_url 'https://{REGISTRY}'\n"
SSL = "/etc/gitlab/ssl"
CHECK = """
->(gitlab_rb, files, order) {
  stub = ->(kind, name, value) { kind.define_singleton_method(name) { |*_| value } }
  stub.call(ServerBlocks, :version, order['version'])
  stub.call(Omnibus, :secrets, order['letsencrypt'] ? { 'letsencrypt' => { 'auto_enabled' => true } } : {})
  contents = files.transform_values { |text| text&.b }.merge(Omnibus::GITLAB_RB => gitlab_rb.b)
  own = $stderr
  $stderr = File.open(File::NULL, 'w')
  begin
    { said: Certificates.check(order, contents) }
  rescue Failure => e
    { what: e.message, cause: e.cause_text, remedy: e.remedy }
  ensure
    $stderr = own
  end
}
"""
ORDER: dict[str, Any] = {"node": "london-1", "site": "london", "files": {}, "version": [18, 5]}


class Made:
    """A certificate and its key; `days`: from when to when."""

    def __init__(self, *names: str, days: tuple[int, int] = (-1, 30), common: str = "x") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + timedelta(days[0])).not_valid_after(now + timedelta(days[1]))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([*map(general, names)]), False)
        self.pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        self._key = key
        self.key = self.with_passphrase(None)

    def with_passphrase(self, passphrase: bytes | None) -> str:
        how = (
            serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        )
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
        ).decode()


def general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


BOTH, OTHER = Made(GITLAB, REGISTRY), Made(GITLAB, REGISTRY)


def at(host: str, made: Made = BOTH, key: str | None = None) -> dict[str, str]:
    """The two files where omnibus looks for them."""
    return {f"{SSL}/{host}.crt": made.pem, f"{SSL}/{host}.key": key or made.key}


def check(
    ruby: Program, gitlab_rb: str, files: dict[str, Any], own: dict[str, str] | None = None, **order: Any
) -> Any:
    return ruby.call(CHECK, gitlab_rb, files, {**ORDER, "files": own or {}, **order})


GOOD = [
    ("both names at their own files", URLS, at(GITLAB) | at(REGISTRY)),
    ("a wildcard", URLS, at(GITLAB) | at(REGISTRY, Made("*.london.example.com"))),
    ("its intermediates behind it", URLS, at(GITLAB) | at(REGISTRY, key=BOTH.key)
     | {f"{SSL}/{REGISTRY}.crt": BOTH.pem + OTHER.pem}),
    ("own paths", (f"{URLS}registry_nginx['ssl_certificate'] = '/srv/a.pem'\n"
     "registry_nginx['ssl_certificate_key'] = '/srv/b.pem'"), at(GITLAB) | {"/srv/a.pem": BOTH.pem, "/srv/b.pem": BOTH.key}),
    ("the site's files for both", (f"{URLS}registry_nginx['ssl_certificate'] = nginx['ssl_certificate'] = '/srv/a.pem'\n"
     "registry_nginx['ssl_certificate_key'] = nginx['ssl_certificate_key'] = '/srv/b.pem'"),
     {"/srv/a.pem": BOTH.pem, "/srv/b.pem": BOTH.key}),
    ("a key with a passphrase that nginx uses", f"{URLS}registry_nginx['ssl_password_file'] = '/srv/pass'",
     at(GITLAB) | at(REGISTRY, key=BOTH.with_passphrase(b"hunter22")) | {"/srv/pass": "other\nhunter22\n"}),
    ("TLS ends in front", f"{URLS}registry_nginx['listen_https'] = false; nginx['listen_https'] = false", {}),
    ("nginx off", f"{URLS}nginx['enable'] = false", {}),
    ("no server block for the registry", f"{URLS}registry_nginx['enable'] = false", at(GITLAB)),
    ("the registry off", f"{URLS}registry['enable'] = false", at(GITLAB)),
    ("no TLS at all", f"external_url 'http://{GITLAB}'\nregistry_external_url 'http://{REGISTRY}:5050'", {}),
    ("a node that only runs Sidekiq", f"{URLS}roles ['sidekiq_role']", {}),
    ("a node that only runs PostgreSQL", f"{URLS}roles 'postgres-role'", {}),
    ("the same, said otherwise", f"{URLS}patroni_role['enable'] = true", {}),
    ("an address", "registry_external_url 'https://10.10.0.11:5050'", at("10.10.0.11", Made("10.10.0.11"))),
    ("a registry without GitLab", f"gitlab_rails['enable'] = false\n{URLS}", at(REGISTRY)),
    ("Let's Encrypt's, which is not there yet", ("external_url 'https://localhost'\nletsencrypt['enable'] = true\n"
     "registry_external_url 'https://localhost:5050'"), {}),
    ("Let's Encrypt's, which omnibus turns on by itself", ("external_url 'https://localhost'\n"
     "registry_external_url 'https://localhost:5050'"), {}),
]  # fmt: skip


@pytest.mark.parametrize(("gitlab_rb", "files"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_what_nginx_and_clients_take_passes(ruby: Program, gitlab_rb: str, files: dict[str, str]) -> None:
    """Nothing is asked for that nginx does not use, and nothing is said."""
    absent = {f"{SSL}/{host}.{end}": None for host in (GITLAB, REGISTRY) for end in ("crt", "key")}
    assert check(ruby, gitlab_rb, absent | files) == {"said": {}}


CRT, KEY = f"{SSL}/{REGISTRY}.crt", f"{SSL}/{REGISTRY}.key"
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
UNUSABLE = [
    ("none", {CRT: None, KEY: None}, f"{CRT} does not exist; {KEY} does not exist"),
    ("no key", {KEY: None}, f"{KEY} does not exist"),
    ("no certificate", {CRT: None}, f"{CRT} does not exist"),
    ("an empty file", {CRT: ""}, f"{CRT} contains no certificate in PEM format"),
    ("the key twice", {CRT: BOTH.key}, f"{CRT} contains no certificate in PEM format"),
    ("the certificate twice", {KEY: BOTH.pem}, f"{KEY} contains a key that cannot be read"),
    ("a cut certificate", {CRT: BOTH.pem[:300] + BOTH.pem[-40:]}, f"{CRT} contains a certificate that cannot be read"),
    ("a cut intermediate", {CRT: BOTH.pem + BOTH.pem[:300] + BOTH.pem[-40:]}, f"{CRT} contains a certificate that cannot be read"),
    ("a passphrase", {KEY: BOTH.with_passphrase(b"hunter22")}, f"{KEY} contains a key that has a passphrase that nginx does not have"),
    ("another's key", {KEY: OTHER.key}, f"the key in {KEY} does not belong to the certificate in {CRT}"),
    ("the wrong order", {CRT: OTHER.pem + BOTH.pem}, f"the key in {KEY} belongs to a later certificate of {CRT}: the node's certificate must come first"),
]  # fmt: skip
REFUSED = [
    ("expired", Made(REGISTRY, days=(-9, -2)), f"{CRT} expired on "),
    ("not valid yet", Made(REGISTRY, days=(2, 9)), f"{CRT} is not valid before "),
    ("another name", Made("registry.tokyo.example.com", "gitlab.tokyo.example.com"),
     f"{CRT} is for registry.tokyo.example.com, gitlab.tokyo.example.com, not for {REGISTRY}"),
    ("a wildcard of one label too few", Made("*.example.com"), f"{CRT} is for *.example.com, not for {REGISTRY}"),
    ("an address", Made("10.10.0.11"), f"{CRT} is for 10.10.0.11, not for {REGISTRY}"),
    ("a common name alone", Made(common=REGISTRY), f"{CRT} has no subjectAltName, and Docker ignores its common name"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "cause"), [r[1:] for r in UNUSABLE], ids=[r[0] for r in UNUSABLE])
def test_what_keeps_nginx_from_starting_is_refused(
    ruby: Program, files: dict[str, str | None], cause: str
) -> None:
    """With the file, what is wrong with it, and where its path is set."""
    reported = check(ruby, URLS, at(GITLAB) | at(REGISTRY) | files)
    assert reported["what"] == f"refused: nginx would not start with the certificate of {REGISTRY}"
    assert reported["cause"] == cause
    assert f"as {CRT} and its key as {KEY}" in reported["remedy"]
    assert "registry_nginx['ssl_certificate']" in reported["remedy"]
    assert "registry_nginx['listen_https'] = false" in reported["remedy"]


@pytest.mark.parametrize(("made", "cause"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_clients_would_refuse_is_refused(ruby: Program, made: Made, cause: str) -> None:
    """Docker and the other site's GitLab would only say it later."""
    reported = check(ruby, URLS, at(GITLAB) | at(REGISTRY, made))
    assert reported["what"] == f"refused: clients would not accept the certificate of {REGISTRY}"
    assert reported["cause"].startswith(cause)


def test_gitlabs_own_files_are_looked_at_too(ruby: Program) -> None:
    """nginx may have read them when they were still there; a restart would show it. The rest is only reported."""
    reported = check(ruby, URLS, at(REGISTRY) | {f"{SSL}/{GITLAB}.crt": None, f"{SSL}/{GITLAB}.key": None})
    assert reported["what"] == f"refused: nginx would not start with the certificate of {GITLAB}"
    expired = at(GITLAB, Made(GITLAB, days=(-9, -2))) | at(REGISTRY)
    said = check(ruby, URLS, expired)["said"]
    assert said[f"certificate of {GITLAB} is valid"].startswith(f"no: {SSL}/{GITLAB}.crt expired on ")
    assert "clients would not accept" in check(ruby, URLS, expired, created=True)["what"]


def test_a_created_sites_certificate_is_named_by_its_key(ruby: Program) -> None:
    """Its files come with this change."""
    path = "/etc/gitlab/geo-registry/site"
    own = f"{URLS}nginx['ssl_certificate'] = registry_nginx['ssl_certificate'] = '{path}.crt'\n"
    own += f"nginx['ssl_certificate_key'] = registry_nginx['ssl_certificate_key'] = '{path}.key'\n"
    files = {f"{path}.crt": Made(REGISTRY).pem, f"{path}.key": OTHER.key}
    reported = check(ruby, own, files, created=True, own=files)
    assert "sites.london.aws.tls" in reported["remedy"]
    assert "does not belong" in reported["cause"]


@pytest.mark.parametrize(
    ("version", "newer", "older"), [([19, 1], False, True), ([19, 2], True, True), (None, True, True)]
)
def test_the_names_of_newer_releases_count_from_there_on(
    ruby: Program, version: list[int] | None, newer: bool, older: bool
) -> None:
    """An older release reads nothing below registry['nginx']; the older names are read by all."""
    for line, read in (
        ("registry['nginx']['listen_https'] = false", newer),
        ("registry_nginx['listen_https'] = false", older),
    ):
        reported = check(ruby, URLS + line, at(GITLAB) | {CRT: None, KEY: None}, version=version)
        assert ("said" in reported) is read, (line, reported)
    if newer:
        reported = check(ruby, URLS, at(GITLAB) | {CRT: None, KEY: None}, version=version)
        assert "registry['nginx']['ssl_certificate']" in reported["remedy"]


def test_a_name_that_lets_encrypt_cannot_find_is_refused(ruby: Program) -> None:
    """Else a reconfigure of minutes fails on it. One that leads elsewhere may be right, and is reported."""
    site = "external_url 'https://localhost'\nletsencrypt['enable'] = true\n"
    unknown = check(ruby, f"{site}registry_external_url 'https://registry.invalid'\n", {})
    assert unknown["what"] == "refused: Let's Encrypt could not find registry.invalid"
    assert "does not resolve" in unknown["cause"]
    alone = (
        "external_url 'https://gitlab.invalid'\nletsencrypt['enable'] = true\nregistry['enable'] = false\n"
    )
    assert check(ruby, alone, {})["what"] == "refused: Let's Encrypt could not find gitlab.invalid"
    covered = check(ruby, alone, at("gitlab.invalid", Made("gitlab.invalid")))["said"]
    assert any(text.startswith("unknown: ") for text in covered.values()), covered
    far = check(ruby, f"{site}registry_external_url 'https://192.0.2.1'\n", {})
    (reported,) = far["said"].values()
    assert reported == "unknown: it resolves to 192.0.2.1, which is not an address of this node"


def test_with_lets_encrypt_an_own_file_of_the_registry_counts(ruby: Program) -> None:
    """omnibus asks for no certificate for a name that has a file."""
    site = "external_url 'https://localhost'\nletsencrypt['enable'] = true\n"
    reported = check(ruby, f"{site}registry_external_url 'https://{REGISTRY}'\n", at(REGISTRY, key=OTHER.key))
    assert "does not belong" in reported["cause"]


def test_what_cannot_be_known_is_said_and_not_guessed(ruby: Program) -> None:
    """The reconfigure goes on; what it does to nginx is looked at afterwards."""
    reported = check(ruby, f"{URLS}x = node['fqdn']", {CRT: None})
    (said,) = reported["said"].values()
    assert said.startswith("not checked in advance: gitlab.rb cannot be evaluated here: it reads node[...]")
    engine = f"{URLS}registry_nginx['ssl_certificate_key'] = 'engine:pkcs11:registry'"
    (said,) = check(ruby, engine, at(GITLAB) | at(REGISTRY))["said"].values()
    assert said == "not checked: engine:pkcs11:registry"
