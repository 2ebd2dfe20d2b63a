"""What is refused of hosts, sites and storage in S3."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.configurations import CREATED, HOST_KEY, SHARED, certificate, changed, drop, per_site, put
from tests.invalid_configs.table import Wrong, garbled, wrong

LONDON, TOKYO = ("sites", "london"), ("sites", "tokyo")
TOKYO_NODE = (*TOKYO, "nodes", "tokyo-1")
AWS = (*TOKYO, "aws")
TOKYO_HOSTS = ("gitlab.tokyo.example.com", "registry.tokyo.example.com")
PAIR = certificate(*TOKYO_HOSTS)
LOCKED = (
    Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    .decode()
)
PLAIN = changed(
    changed(CREATED, put(*TOKYO, "external_url", to="http://gitlab.tokyo.example.com")),
    put(*TOKYO, "registry_url", to="http://registry.tokyo.example.com"),
)
KEYS = {"access_key": "AKIAEXAMPLE", "secret_key": "s3cr3t-value"}
OTHER_S3 = changed(SHARED, put("storage", "s3", to={**SHARED["storage"]["s3"], "create": False, "endpoint": "https://minio.example.com"}))  # fmt: skip
for _site, _key in (("london", "AKIAEXAMPLE"), ("tokyo", "AKIAOTHER")):
    OTHER_S3["sites"][_site]["s3_keys"] = {**KEYS, "access_key": _key}
KEPT = changed(changed(per_site(), put(*TOKYO, "storage", to="keep")), put("replication", to=False))
SEVERAL = changed(
    per_site(), put(*TOKYO, "nodes", "tokyo-2", to={"host": "10.20.0.12", "host_key": HOST_KEY})
)

WRONG: list[Wrong] = [
    wrong("a key with a typo names the nearest known one", SHARED, put("stroage", to={}), "stroage", "key-unknown"),
    wrong("a key that pydantic has for a form of storage", SHARED, put("S3", to={}), "S3", "key-unknown"),
    wrong("a driver in capitals", SHARED, put("storage", "S3", to={}), "storage.S3", "key-unknown"),
    wrong("a driver in capitals at a site", per_site(), put(*TOKYO, "storage", to={"S3": {}}), "sites.tokyo.storage.S3", "key-unknown"),
    wrong("a key that pydantic has for keys", SHARED, put("ssh", "[key]", to=1), "ssh.[key]", "key-unknown"),
    wrong("an unknown key in a site", SHARED, put(*TOKYO, "regsitry_url", to="x"), "sites.tokyo.regsitry_url", "key-unknown"),
    wrong("no host key", SHARED, drop(*TOKYO_NODE, "host_key"), "sites.tokyo.nodes.tokyo-1.host_key", "existing-host-incomplete"),
    wrong("a host key that is none", SHARED, put(*TOKYO_NODE, "host_key", to="SHA256:abc"), "sites.tokyo.nodes.tokyo-1.host_key", "value-invalid", value="'SHA256:abc'"),
    wrong("an RSA host key, which OpenSSH 8.8 no longer offers in the form asked for", SHARED, put(*TOKYO_NODE, "host_key", to="ssh-rsa " + "A" * 68), "sites.tokyo.nodes.tokyo-1.host_key", "value-invalid"),
    wrong("a registry URL with a path", SHARED, put(*TOKYO, "registry_url", to="https://r.example.com/x"), "sites.tokyo.registry_url", "value-invalid"),
    wrong("a URL without a scheme", SHARED, put(*TOKYO, "external_url", to="gitlab.example.com"), "sites.tokyo.external_url", "value-invalid", value="'gitlab.example.com'"),
    wrong("a URL whose port is none", SHARED, put(*TOKYO, "registry_url", to="https://r.example.com:99999"), "sites.tokyo.registry_url", "url-host-invalid"),
    wrong("a port as text", SHARED, put("ssh", "port", to="22"), "ssh.port", "value-type", value="'22'"),
    wrong("a number where a boolean belongs", SHARED, put("replication", to=1), "replication", "value-type", value="1"),
    wrong("an unknown role", SHARED, put(*TOKYO_NODE, "roles", to=["web"]), "sites.tokyo.nodes.tokyo-1.roles.0", "value-invalid", value="'web'"),
    wrong("a number that the engine cannot tell from the next", SHARED, put("rotate", to={"http_secret": 1 << 60}), "rotate.http_secret", "value-invalid", value="[secret]"),
    wrong("two rotations of the registry key at a time", changed(SHARED, put("rotate", to={"registry_key": 1})), put("rotate", "registry_key", to=2), "rotate.registry_key", "rotation-in-progress"),
    wrong("the end of a rotation that has not begun", SHARED, put("rotate", to={"registry_key_finished": 1}), "rotate.registry_key_finished", "rotation-not-begun"),
    wrong("a version of more digits than Python reads", SHARED, put("gitlab_version", to="9" * 5000 + ".1"), "gitlab_version", "value-invalid"),
    wrong("no storage", SHARED, drop("storage"), "storage", "key-missing"),
    wrong("a mapping where one of some words belongs", SHARED, put("storage", "mode", to={}), "storage.mode", "value-invalid", value="an empty map"),
    wrong("a mapping in a list of words", SHARED, put(*TOKYO_NODE, "roles", to=[{}]), "sites.tokyo.nodes.tokyo-1.roles.0", "value-invalid", value="an empty map"),
    wrong("a secret where the mapping that holds it belongs", SHARED, put(*TOKYO, "s3_keys", to="s3cr3t-value"), "sites.tokyo.s3_keys", "value-type", value="a string"),
    wrong("no roles", SHARED, put(*TOKYO_NODE, "roles", to=[]), "sites.tokyo.nodes.tokyo-1.roles", "value-invalid", value="an empty list"),
    wrong("a site name with capitals", SHARED, put("sites", "Paris", to=SHARED["sites"]["london"]), "sites.Paris", "name-invalid", value="'Paris'"),
    wrong("a bucket name S3 refuses", SHARED, put("storage", "s3", "bucket", to="Acme_Registry"), "storage.s3.bucket", "value-invalid", value="'Acme_Registry'"),
    wrong("a region that is none", SHARED, put("storage", "s3", "region", to="london"), "storage.s3.region", "s3-region-unknown"),
    wrong("a KMS key that no permission can be granted for", SHARED, put("storage", "s3", "kms_key_id", to="alias/registry"), "storage.s3.kms_key_id", "value-invalid", value="'alias/registry'"),
    wrong("an unknown storage mode", SHARED, put("storage", "mode", to="both"), "storage.mode", "value-invalid", value="'both'"),
    wrong("a version that is none", SHARED, put("gitlab_version", to="latest"), "gitlab_version", "value-invalid", value="'latest'"),
    wrong("a version too old", SHARED, put("gitlab_version", to="15.11"), "gitlab_version", "gitlab-version-too-old"),
    wrong("a primary that is not a site", SHARED, put("primary", to="paris"), "primary", "primary-not-a-site"),
    wrong("one node name in two sites", SHARED, put(*TOKYO, "nodes", to={"london-1": {"host": "10.20.0.12", "host_key": HOST_KEY}}), "sites.tokyo.nodes.london-1", "node-name-not-unique"),
    wrong("one IPv6 address for two nodes, written twice", changed(SHARED, put("sites", "london", "nodes", "london-1", "host", to="fd00::1")), put(*TOKYO_NODE, "host", to="FD00:0::1"), "sites.tokyo.nodes.tokyo-1.host", "ssh-address-not-unique"),
    wrong("one address for two nodes", SHARED, put(*TOKYO_NODE, "host", to="10.10.0.11"), "sites.tokyo.nodes.tokyo-1.host", "ssh-address-not-unique"),
    wrong("an issuer that is a number", SHARED, put("issuer", to="2024"), "issuer", "issuer-not-a-string"),
    wrong("an issuer that is a list's dash", SHARED, put("issuer", to="-"), "issuer", "issuer-not-a-string"),
    wrong("a created site whose name is a boolean", CREATED, put("sites", "no", to=CREATED["sites"]["tokyo"]), "sites.no", "site-name-not-a-string"),
    wrong("a registry whose name is nothing", SHARED, put(*TOKYO, "registry_url", to="https://null"), "sites.tokyo.registry_url", "host-name-not-a-string"),
    wrong("a site without a registry", SHARED, put(*TOKYO_NODE, "roles", to=["rails"]), "sites.tokyo.nodes", "registry-role-missing"),
    wrong("a created registry without Rails", CREATED, put(*TOKYO_NODE, "roles", to=["registry"]), "sites.tokyo.nodes.tokyo-1.roles", "registry-without-rails"),
    wrong("two sites with one registry URL", SHARED, put(*TOKYO, "registry_url", to="https://registry.london.example.com/"), "sites.tokyo.registry_url", "registry-url-not-unique"),
    wrong("shared storage without a bucket", SHARED, drop("storage", "s3"), "storage.s3", "shared-storage-missing"),
    wrong("shared storage and a site's own", SHARED, put(*TOKYO, "storage", to="keep"), "sites.tokyo.storage", "site-storage-with-shared"),
    wrong("shared storage a secondary may write to", SHARED, put(*TOKYO, "read_only", to=False), "sites.tokyo.read_only", "secondary-writable"),
    wrong("a primary nobody can push to", SHARED, put(*LONDON, "read_only", to=True), "sites.london.read_only", "primary-read-only"),
    wrong("storage per site, and none named", per_site(), drop(*TOKYO, "storage"), "sites.tokyo.storage", "site-storage-missing"),
    wrong("storage per site that is one bucket", per_site(), put(*TOKYO, "storage", "bucket", to="acme-london"), "sites.tokyo.storage.bucket", "storage-not-unique"),
    wrong("a bucket for all with storage per site", per_site(), put("storage", "s3", to=SHARED["storage"]["s3"]), "storage.s3", "storage-at-top-with-per-site"),
    wrong("a read-only secondary that must copy", per_site(), put(*TOKYO, "read_only", to=True), "sites.tokyo.read_only", "read-only-with-replication"),
    wrong("keys for storage that is kept", changed(per_site(), put(*TOKYO, "storage", to="keep")), put(*TOKYO, "s3_keys", to=KEYS), "sites.tokyo.s3_keys", "s3-keys-unused"),
    wrong("an S3 server that is not AWS, without keys", changed(SHARED, put("storage", "s3", "create", to=False)), put("storage", "s3", "endpoint", to="https://minio.example.com"), "sites.london.s3_keys", "s3-keys-missing"),
    wrong("an existing site without addresses", SHARED, drop(*TOKYO_NODE, "host"), "sites.tokyo.nodes.tokyo-1.host", "existing-host-incomplete"),
    wrong("a server's size for a host that exists", SHARED, put(*TOKYO_NODE, "aws", to={"volume_gb": 50}), "sites.tokyo.nodes.tokyo-1.aws", "aws-on-existing-host"),
    wrong("an address for a host that is created", CREATED, put(*TOKYO_NODE, "host", to="10.20.0.11"), "sites.tokyo.nodes.tokyo-1.host", "address-of-created-host"),
    wrong("networks that overlap", CREATED, put(*AWS, "cidr", to="10.110.128.0/20"), "sites.tokyo.aws.cidr", "networks-overlap"),
    wrong("a network with host bits", CREATED, put(*AWS, "cidr", to="10.120.0.1/16"), "sites.tokyo.aws.cidr", "range-invalid"),
    wrong("a network that AWS refuses", CREATED, put(*AWS, "cidr", to="10.0.0.0/8"), "sites.tokyo.aws.cidr", "networks-overlap"),
    wrong("neither a network nor one that exists", CREATED, drop(*AWS, "cidr"), "sites.tokyo.aws.cidr", "network-ambiguous"),
    wrong("a network and one that exists", CREATED, put(*AWS, "vpc_id", to="vpc-0123456789abcdef0"), "sites.tokyo.aws.cidr", "network-ambiguous"),
    wrong("SSH for everybody", CREATED, put(*AWS, "admin_cidrs", to=["0.0.0.0/0"]), "sites.tokyo.aws.admin_cidrs", "ssh-open-to-internet"),
    wrong("SSH for half of everybody", CREATED, put(*AWS, "admin_cidrs", to=["128.0.0.0/1"]), "sites.tokyo.aws.admin_cidrs", "ssh-open-to-internet"),
    wrong("one address twice", CREATED, put(*AWS, "client_cidrs", to=["0.0.0.0/0", "0.0.0.0/0"]), "sites.tokyo.aws.client_cidrs", "entry-repeated"),
    wrong("SSH for nobody", CREATED, put(*AWS, "admin_cidrs", to=[]), "sites.tokyo.aws.admin_cidrs", "value-invalid", value="an empty list"),
    wrong("an instance type that is none", CREATED, put(*AWS, "instance_type", to="big"), "sites.tokyo.aws.instance_type", "value-invalid", value="'big'"),
    wrong("a region that is none for hosts", CREATED, put(*AWS, "region", to="tokyo"), "sites.tokyo.aws.region", "value-invalid", value="'tokyo'"),
    wrong("a disk that GitLab does not fit on", CREATED, put(*AWS, "volume_gb", to=8), "sites.tokyo.aws.volume_gb", "value-invalid", value="8"),
    wrong("Let's Encrypt shut out", CREATED, put(*AWS, "client_cidrs", to=["198.51.100.0/24"]), "sites.tokyo.aws.client_cidrs", "letsencrypt-blocked"),
    wrong("half a certificate", CREATED, put(*AWS, "tls", to={"certificate": "-----BEGIN CERTIFICATE-----"}), "sites.tokyo.aws.tls.private_key", "certificate-incomplete"),
    wrong("a certificate for a site without TLS", PLAIN, put(*AWS, "tls", to={"letsencrypt_email": "ops@example.com"}), "sites.tokyo.aws.tls", "certificate-of-http-site"),
    wrong("TLS for the registry only", PLAIN, put(*TOKYO, "registry_url", to="https://registry.tokyo.example.com"), "sites.tokyo.registry_url", "https-on-http-site"),
    wrong("a certificate that is none", CREATED, put(*AWS, "tls", to={**PAIR, "certificate": "-----BEGIN CERTIFICATE-----\nfoo"}), "sites.tokyo.aws.tls.certificate", "certificate-invalid"),
    wrong("a certificate whose kind of key nobody knows", CREATED, put(*AWS, "tls", to=garbled(PAIR, "2a8648ce3d0201", "2a8648ce3d027f")), "sites.tokyo.aws.tls.certificate", "certificate-invalid"),
    wrong("a certificate whose names cannot be read", CREATED, put(*AWS, "tls", to=garbled(PAIR, "0603551d11043830", "0603551d11043831")), "sites.tokyo.aws.tls.certificate", "certificate-invalid"),
    wrong("a key that is none", CREATED, put(*AWS, "tls", to={**PAIR, "private_key": "x"}), "sites.tokyo.aws.tls.private_key", "certificate-key-invalid"),
    wrong("a key of another certificate", CREATED, put(*AWS, "tls", to={**PAIR, "private_key": certificate(*TOKYO_HOSTS)["private_key"]}), "sites.tokyo.aws.tls.private_key", "certificate-key-mismatch"),
    wrong("a certificate that has ended", CREATED, put(*AWS, "tls", to=certificate(*TOKYO_HOSTS, days=-1)), "sites.tokyo.aws.tls.certificate", "certificate-expired"),
    wrong("a certificate for one of the two names", CREATED, put(*AWS, "tls", to=certificate(TOKYO_HOSTS[0])), "sites.tokyo.aws.tls.certificate", "certificate-names-missing"),
    wrong("a zone of another region", CREATED, put(*AWS, "availability_zone", to="eu-west-2a"), "sites.tokyo.aws.availability_zone", "zone-not-in-region"),
    wrong("servers that cannot reach their storage", CREATED, put(*AWS, "egress_ports", to=[80]), "sites.tokyo.aws.egress_ports", "egress-without-https"),
    wrong("one name for two created sites", changed(CREATED, put(*AWS, "hosted_zone", to="example.com")), put(*TOKYO, "external_url", to="https://gitlab.london.example.com"), "sites.tokyo.external_url", "record-not-unique"),
    wrong("a peer that nobody knows the address of", changed(SHARED, put("sites", "tokyo", to=CREATED["sites"]["tokyo"])), put(*LONDON, "nodes", "london-1", "host", to="london-1.example.com"), "sites.london.peer_cidrs", "peer-cidrs-missing"),
    wrong("a zone that does not hold the names", CREATED, put(*AWS, "hosted_zone", to="example.org"), "sites.tokyo.aws.hosted_zone", "hosted-zone-mismatch"),
    wrong("addresses of a created site said again", CREATED, put(*TOKYO, "peer_cidrs", to=["203.0.113.1/32"]), "sites.tokyo.peer_cidrs", "peer-cidrs-of-created-site"),
    wrong("two keys for SSH", SHARED, put("ssh", to={"private_key": PAIR["private_key"], "private_key_file": "y"}), "ssh.private_key_file", "ssh-keys-exclusive"),
    wrong("a key for SSH that has lost its line ends", SHARED, put("ssh", to={"private_key": PAIR["private_key"].replace("\n", "")}), "ssh.private_key", "ssh-key-unusable"),
    wrong("a node's key for SSH with a passphrase", SHARED, put(*TOKYO_NODE, "ssh", to={"private_key": LOCKED}), "sites.tokyo.nodes.tokyo-1.ssh.private_key", "ssh-key-unusable"),
    wrong("a private key where a host's public one belongs", SHARED, put(*TOKYO_NODE, "host_key", to=PAIR["private_key"]), "sites.tokyo.nodes.tokyo-1.host_key", "value-invalid", value="[secret]"),
    wrong("a password in a URL", SHARED, put(*TOKYO, "external_url", to="https://root:hunter2@gitlab.tokyo.example.com"), "sites.tokyo.external_url", "value-invalid"),
    wrong("one role twice", SHARED, put(*TOKYO_NODE, "roles", to=["rails", "sidekiq", "registry", "rails"]), "sites.tokyo.nodes.tokyo-1.roles", "role-repeated"),
    wrong("a certificate, and whom Let's Encrypt writes to", changed(CREATED, put(*AWS, "tls", to=PAIR)), put(*AWS, "tls", "letsencrypt_email", to="ops@example.com"), "sites.tokyo.aws.tls.letsencrypt_email", "certificate-with-letsencrypt"),
    wrong("a bucket that would have to be made on another server", OTHER_S3, put("storage", "s3", "create", to=True), "storage.s3.create", "bucket-not-on-aws"),
    wrong("a secondary with the primary's key", OTHER_S3, put(*TOKYO, "s3_keys", to=KEYS), "sites.tokyo.s3_keys.access_key", "s3-key-of-primary"),
    wrong("a kept storage that nothing would make read-only", KEPT, put(*TOKYO, "read_only", to=True), "sites.tokyo.read_only", "read-only-with-kept-storage"),
    wrong("a directory that two nodes would each have their own of", SEVERAL, put(*TOKYO, "storage", to={"filesystem": {"rootdirectory": "/srv/registry"}}), "sites.tokyo.storage.filesystem", "filesystem-on-several-nodes"),
]  # fmt: skip
