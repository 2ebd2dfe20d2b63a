"""The configuration: what is right is taken, what is wrong is told, all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import config
from config import parse
from omnibus.model import Deployment
from omnibus.problems import report
from tests.configurations import CREATED, HOST_KEY, SHARED, Change, certificate, changed, deployment, per_site

pytestmark = pytest.mark.unit


def put(*path: str, to: Any) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for key in path[:-1]:
            raw = raw.setdefault(key, {})
        raw[path[-1]] = to

    return change


def drop(*path: str) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for key in path[:-1]:
            raw = raw[key]
        del raw[path[-1]]

    return change


LONDON, TOKYO = ("sites", "london"), ("sites", "tokyo")
TOKYO_NODE = (*TOKYO, "nodes", "tokyo-1")
AWS = (*TOKYO, "aws")
TOKYO_HOSTS = ("gitlab.tokyo.example.com", "registry.tokyo.example.com")
PAIR = certificate(*TOKYO_HOSTS)
PLAIN = changed(
    changed(CREATED, put(*TOKYO, "external_url", to="http://gitlab.tokyo.example.com")),
    put(*TOKYO, "registry_url", to="http://registry.tokyo.example.com"),
)
KEYS = {"access_key": "AKIAEXAMPLE", "secret_key": "s3cr3t-value"}

WRONG: list[tuple[str, dict[str, Any], Change, str]] = [
    ("a key with a typo names the nearest known one", SHARED, put("stroage", to={}), "stroage"),
    ("an unknown key in a site", SHARED, put(*TOKYO, "regsitry_url", to="x"), "sites.tokyo.regsitry_url"),
    ("no host key", SHARED, drop(*TOKYO_NODE, "host_key"), "sites.tokyo.nodes.tokyo-1.host_key"),
    ("a host key that is none", SHARED, put(*TOKYO_NODE, "host_key", to="SHA256:abc"), "sites.tokyo.nodes.tokyo-1.host_key"),
    ("an RSA host key, which OpenSSH 8.8 no longer offers in the form asked for", SHARED, put(*TOKYO_NODE, "host_key", to="ssh-rsa " + "A" * 68), "sites.tokyo.nodes.tokyo-1.host_key"),
    ("a registry URL with a path", SHARED, put(*TOKYO, "registry_url", to="https://r.example.com/x"), "sites.tokyo.registry_url"),
    ("a URL without a scheme", SHARED, put(*TOKYO, "external_url", to="gitlab.example.com"), "sites.tokyo.external_url"),
    ("a URL whose port is none", SHARED, put(*TOKYO, "registry_url", to="https://r.example.com:99999"), "sites.tokyo.registry_url"),
    ("a port as text", SHARED, put("ssh", "port", to="22"), "ssh.port"),
    ("a number where a truth value belongs", SHARED, put("replication", to=1), "replication"),
    ("an unknown role", SHARED, put(*TOKYO_NODE, "roles", to=["web"]), "sites.tokyo.nodes.tokyo-1.roles.0"),
    ("no roles", SHARED, put(*TOKYO_NODE, "roles", to=[]), "sites.tokyo.nodes.tokyo-1.roles"),
    ("a site name with capitals", SHARED, put("sites", "Paris", to=SHARED["sites"]["london"]), "sites.Paris"),
    ("a bucket name S3 refuses", SHARED, put("storage", "s3", "bucket", to="Acme_Registry"), "storage.s3.bucket"),
    ("a region that is none", SHARED, put("storage", "s3", "region", to="london"), "storage.s3.region"),
    ("a KMS key that no right can be given to", SHARED, put("storage", "s3", "kms_key_id", to="alias/registry"), "storage.s3.kms_key_id"),
    ("an unknown storage mode", SHARED, put("storage", "mode", to="both"), "storage.mode"),
    ("a version that is none", SHARED, put("gitlab_version", to="latest"), "gitlab_version"),
    ("a version too old", SHARED, put("gitlab_version", to="15.11"), "gitlab_version"),
    ("a primary that is no site", SHARED, put("primary", to="paris"), "primary"),
    ("one node name in two sites", SHARED, put(*TOKYO, "nodes", to={"london-1": {"host": "10.20.0.12", "host_key": HOST_KEY}}), "sites.tokyo.nodes.london-1"),
    ("one address for two nodes", SHARED, put(*TOKYO_NODE, "host", to="10.10.0.11"), "sites.tokyo.nodes.tokyo-1.host"),
    ("a site without a registry", SHARED, put(*TOKYO_NODE, "roles", to=["rails"]), "sites.tokyo.nodes"),
    ("a created registry without Rails", CREATED, put(*TOKYO_NODE, "roles", to=["registry"]), "sites.tokyo.nodes.tokyo-1.roles"),
    ("two sites with one registry URL", SHARED, put(*TOKYO, "registry_url", to="https://registry.london.example.com/"), "sites.tokyo.registry_url"),
    ("shared storage without a bucket", SHARED, drop("storage", "s3"), "storage.s3"),
    ("shared storage and a site's own", SHARED, put(*TOKYO, "storage", to="keep"), "sites.tokyo.storage"),
    ("shared storage a secondary may write to", SHARED, put(*TOKYO, "read_only", to=False), "sites.tokyo.read_only"),
    ("a primary nobody can push to", SHARED, put(*LONDON, "read_only", to=True), "sites.london.read_only"),
    ("storage per site, and none named", per_site(), drop(*TOKYO, "storage"), "sites.tokyo.storage"),
    ("storage per site that is one bucket", per_site(), put(*TOKYO, "storage", "bucket", to="acme-london"), "sites.tokyo.storage.bucket"),
    ("a bucket for all with storage per site", per_site(), put("storage", "s3", to=SHARED["storage"]["s3"]), "storage.s3"),
    ("a read-only secondary that must copy", per_site(), put(*TOKYO, "read_only", to=True), "sites.tokyo.read_only"),
    ("keys for storage that is kept", changed(per_site(), put(*TOKYO, "storage", to="keep")), put(*TOKYO, "s3_keys", to=KEYS), "sites.tokyo.s3_keys"),
    ("an S3 server that is not AWS, without keys", changed(SHARED, put("storage", "s3", "create", to=False)), put("storage", "s3", "endpoint", to="https://minio.example.com"), "sites.london.s3_keys"),
    ("an existing site without addresses", SHARED, drop(*TOKYO_NODE, "host"), "sites.tokyo.nodes.tokyo-1.host"),
    ("a server's size for a host that exists", SHARED, put(*TOKYO_NODE, "aws", to={"volume_gb": 50}), "sites.tokyo.nodes.tokyo-1.aws"),
    ("an address for a host that is created", CREATED, put(*TOKYO_NODE, "host", to="10.20.0.11"), "sites.tokyo.nodes.tokyo-1.host"),
    ("networks that overlap", CREATED, put(*AWS, "cidr", to="10.110.128.0/20"), "sites.tokyo.aws.cidr"),
    ("a network with host bits", CREATED, put(*AWS, "cidr", to="10.120.0.1/16"), "sites.tokyo.aws.cidr"),
    ("a network that AWS refuses", CREATED, put(*AWS, "cidr", to="10.0.0.0/8"), "sites.tokyo.aws.cidr"),
    ("neither a network nor one that exists", CREATED, drop(*AWS, "cidr"), "sites.tokyo.aws.cidr"),
    ("a network and one that exists", CREATED, put(*AWS, "vpc_id", to="vpc-0123456789abcdef0"), "sites.tokyo.aws.cidr"),
    ("SSH for everybody", CREATED, put(*AWS, "admin_cidrs", to=["0.0.0.0/0"]), "sites.tokyo.aws.admin_cidrs"),
    ("SSH for half of everybody", CREATED, put(*AWS, "admin_cidrs", to=["128.0.0.0/1"]), "sites.tokyo.aws.admin_cidrs"),
    ("one address twice", CREATED, put(*AWS, "client_cidrs", to=["0.0.0.0/0", "0.0.0.0/0"]), "sites.tokyo.aws.client_cidrs"),
    ("SSH for nobody", CREATED, put(*AWS, "admin_cidrs", to=[]), "sites.tokyo.aws.admin_cidrs"),
    ("an instance type that is none", CREATED, put(*AWS, "instance_type", to="big"), "sites.tokyo.aws.instance_type"),
    ("a region that is none for hosts", CREATED, put(*AWS, "region", to="tokyo"), "sites.tokyo.aws.region"),
    ("a disk that GitLab does not fit on", CREATED, put(*AWS, "volume_gb", to=8), "sites.tokyo.aws.volume_gb"),
    ("Let's Encrypt shut out", CREATED, put(*AWS, "client_cidrs", to=["198.51.100.0/24"]), "sites.tokyo.aws.client_cidrs"),
    ("half a certificate", CREATED, put(*AWS, "tls", to={"certificate": "-----BEGIN CERTIFICATE-----"}), "sites.tokyo.aws.tls.private_key"),
    ("a certificate for a site without TLS", PLAIN, put(*AWS, "tls", to={"letsencrypt_email": "ops@example.com"}), "sites.tokyo.aws.tls"),
    ("TLS for the registry only", PLAIN, put(*TOKYO, "registry_url", to="https://registry.tokyo.example.com"), "sites.tokyo.registry_url"),
    ("a certificate that is none", CREATED, put(*AWS, "tls", to={**PAIR, "certificate": "-----BEGIN CERTIFICATE-----\nfoo"}), "sites.tokyo.aws.tls.certificate"),
    ("a key that is none", CREATED, put(*AWS, "tls", to={**PAIR, "private_key": "x"}), "sites.tokyo.aws.tls.private_key"),
    ("a key of another certificate", CREATED, put(*AWS, "tls", to={**PAIR, "private_key": certificate(*TOKYO_HOSTS)["private_key"]}), "sites.tokyo.aws.tls.private_key"),
    ("a certificate that has ended", CREATED, put(*AWS, "tls", to=certificate(*TOKYO_HOSTS, days=-1)), "sites.tokyo.aws.tls.certificate"),
    ("a certificate for one of the two names", CREATED, put(*AWS, "tls", to=certificate(TOKYO_HOSTS[0])), "sites.tokyo.aws.tls.certificate"),
    ("a zone of another region", CREATED, put(*AWS, "availability_zone", to="eu-west-2a"), "sites.tokyo.aws.availability_zone"),
    ("servers that cannot reach their storage", CREATED, put(*AWS, "egress_ports", to=[80]), "sites.tokyo.aws.egress_ports"),
    ("one name for two created sites", changed(CREATED, put(*AWS, "hosted_zone", to="example.com")), put(*TOKYO, "external_url", to="https://gitlab.london.example.com"), "sites.tokyo.external_url"),
    ("a peer that nobody knows the address of", changed(SHARED, put("sites", "tokyo", to=CREATED["sites"]["tokyo"])), put(*LONDON, "nodes", "london-1", "host", to="london-1.example.com"), "sites.london.peer_cidrs"),
    ("a zone that does not hold the names", CREATED, put(*AWS, "hosted_zone", to="example.org"), "sites.tokyo.aws.hosted_zone"),
    ("addresses of a created site said again", CREATED, put(*TOKYO, "peer_cidrs", to=["203.0.113.1/32"]), "sites.tokyo.peer_cidrs"),
    ("two keys for SSH", SHARED, put("ssh", to={"private_key": "x", "private_key_file": "y"}), "ssh.private_key_file"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "change", "key"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_refusal_names_key_value_consequence_and_example(
    raw: dict[str, Any], change: Change, key: str
) -> None:
    """Each wrong value is refused by its key, with why and with what would be right; unchanged it is taken."""
    assert parse(raw)[0] is not None
    parsed, problems = parse(changed(raw, change))
    assert parsed is None
    told = {p.key: p for p in problems}
    assert key in told
    assert told[key].value and told[key].consequence and told[key].example


def test_all_problems_are_told_at_once() -> None:
    """Shape and contradictions come in one report, not one after the other."""
    raw = changed(SHARED, drop(*TOKYO_NODE, "host_key"))
    raw = changed(raw, put("stroage", to=1))
    raw = changed(raw, put(*LONDON, "read_only", to=True))
    raw = changed(raw, put(*TOKYO, "external_url", to="gitlab.tokyo.example.com/path"))
    text = report("Pulumi.dev.yaml", parse(raw)[1])
    wrong = ("nodes.tokyo-1.host_key", "stroage", "tokyo.external_url", "london.read_only")
    for key in wrong:
        assert key in text
    assert "nothing was touched" in text


def test_what_is_wrong_in_a_list_hides_nothing_else() -> None:
    """An address that is no range, and ranges that overlap: both are told."""
    raw = changed(CREATED, put(*AWS, "admin_cidrs", to=["198.51.100.7"]))
    told = {p.key for p in parse(changed(raw, put(*AWS, "cidr", to="10.110.0.0/16")))[1]}
    assert {"sites.tokyo.aws.admin_cidrs.0", "sites.tokyo.aws.cidr"} <= told
    told = {p.key for p in parse(changed(raw, drop(*AWS, "admin_cidrs")))[1]}
    assert "sites.tokyo.aws.admin_cidrs" in told


def test_a_certificate_with_a_wildcard_fits() -> None:
    """And so does one that names both hosts."""
    for hosts in (TOKYO_HOSTS, ("*.tokyo.example.com",)):
        assert parse(changed(CREATED, put(*AWS, "tls", to=certificate(*hosts))))[0]


def test_the_same_key_of_primary_and_secondary_is_refused_on_shared_storage() -> None:
    """A secondary that signs with the primary's key could write; another key is taken."""
    raw = changed(SHARED, put(*LONDON, "s3_keys", to=KEYS))
    assert parse(changed(raw, put(*TOKYO, "s3_keys", to={**KEYS, "access_key": "AKIAOTHER"})))[0]
    _, problems = parse(changed(raw, put(*TOKYO, "s3_keys", to=KEYS)))
    assert [p.key for p in problems] == ["sites.tokyo.s3_keys.access_key"]


def test_no_secret_is_repeated_in_a_report() -> None:
    """A wrong value that may be secret is told as [secret], also inside a mapping that is wrong as a whole."""
    raw = changed(SHARED, put(*TOKYO, "s3_keys", to={**KEYS, "secret_key": ["s3cr3t-value"]}))
    raw = changed(raw, put("ssh", to={"private_key": 5, "user": {"private_key": "s3cr3t-value"}}))
    text = report("Pulumi.dev.yaml", parse(raw)[1])
    assert "s3_keys.secret_key" in text
    assert "s3cr3t-value" not in text


@pytest.mark.parametrize("stack", ["dev", "existing", "replicated"])
def test_the_committed_stacks_are_right(stack: str) -> None:
    """The examples that users start from are taken as they are."""
    given = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    own = {k.removeprefix("gitlab-geo-registry:"): v for k, v in given.items() if k.startswith("gitlab-geo")}
    parsed = deployment(own)
    assert parsed.primary == "london"
    assert set(parsed.sites) == {"london", "tokyo"}


def test_every_top_level_key_is_described_in_the_project_file() -> None:
    """`pulumi config` and editors know the keys of the typed model, and no others."""
    described = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    assert set(described) == set(Deployment.model_fields)
    assert all(entry["description"] for entry in described.values())


def test_scalars_that_pulumi_hands_over_as_text_are_values_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`replication: false` is no text, `gitlab_version: 18.10` is no number, and foreign namespaces are not read."""
    stored = {
        "gitlab-geo-registry:replication": "false",
        "gitlab-geo-registry:gitlab_version": "18.10",
        "gitlab-geo-registry:primary": "london",
        "gitlab-geo-registry:storage": '{"mode": "shared"}',
        "aws:region": "eu-west-1",
    }
    monkeypatch.setattr(config, "_all_config", lambda: stored)
    assert config._raw("gitlab-geo-registry") == {
        "replication": False,
        "gitlab_version": "18.10",
        "primary": "london",
        "storage": {"mode": "shared"},
    }


def test_ssh_settings_of_a_node_win_over_its_sites_and_those_over_the_stacks() -> None:
    """The nearer setting wins, field by field; a key given nearer replaces the other kind of key."""
    raw = changed(SHARED, put("ssh", to={"user": "ubuntu", "port": 22, "private_key_file": "~/.ssh/a"}))
    raw = changed(raw, put(*TOKYO, "ssh", to={"port": 2222, "private_key": "KEY"}))
    raw = changed(raw, put(*TOKYO_NODE, "ssh", to={"user": "root"}))
    ssh = deployment(raw).ssh_of("tokyo", "tokyo-1")
    assert (ssh.user, ssh.port, ssh.private_key_file) == ("root", 2222, None)
    assert ssh.private_key is not None and ssh.private_key.get_secret_value() == "KEY"
