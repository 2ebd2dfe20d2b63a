"""Sites of every kind: hosts that exist or are created, roles on any nodes, URLs of your own or of all."""

from __future__ import annotations

from itertools import permutations

from tests.corpus.values import FLAGS, HOST_KEYS, KMS_KEY, PORTS, Raw, Tape, pair, secret, ssh

ALL = ("rails", "sidekiq", "registry")
ROLES = [list(some) for n in (3, 2, 1) for some in permutations(ALL, n)]
RANGES = (["198.51.100.7/32"], ["10.0.0.0/8", "203.0.113.0/24"])
WORLD = "0.0.0.0/0"


def roles(tape: Tape, *, registry: bool, created: bool, one: bool) -> list[list[str]]:
    """Of a site's 1 to 5 nodes. `registry`: some have it; `one`: one has it; `created`: beside Rails."""
    found = [[*tape.pick(ROLES)] for _ in range(tape.pick((1, 2, 3, 4, 5)))]
    if not any("rails" in its for its in found):
        found[0].append("rails")
    allowed = [its for its in found if registry and ("rails" in its or not created)]
    if registry and not any("registry" in its for its in allowed):
        tape.pick(allowed).append("registry")
    having = [its for its in allowed if "registry" in its]
    for its in found:
        if "registry" in its and not any(its is other for other in (having[:1] if one else having)):
            its.remove("registry")
            its.extend([] if its else ["sidekiq"])
    return found


def host(tape: Tape, number: int) -> Raw:
    """A host that exists, and that is not an other's: also by a port of its own at an address that many have."""
    kinds = (
        f"10.1.0.{number}",
        f"fd00::{number:x}",
        f"2001:DB8:0:0::{number}",
        f"Node-{number}.Example.com",
        f"h{number}",
        "",
    )
    address = tape.pick(kinds)
    own = {} if address else {"port": 20000 + number}
    found: Raw = {"host": address or "nat.example.com", "host_key": tape.pick(HOST_KEYS)}
    return found | ({"ssh": ssh(tape, f"host{number}", **own)} if own or tape.flag() else {})


def nodes(tape: Tape, names: list[str], first: int, *, registry: bool, created: bool, one: bool) -> Raw:
    """A site's nodes; the names that are left over stay in the list."""
    found: Raw = {}
    for number, its in enumerate(roles(tape, registry=registry, created=created, one=one), first):
        node = _server(tape) if created else host(tape, number)
        if len(its) < len(ALL) or tape.flag():
            node["roles"] = its
        if "registry" in its and tape.flag():
            at = ("0.0.0.0:5000", "localhost:65535", f"10.1.0.{number}:5000", ":1")
            node["registry_http_addr"] = tape.pick(at[:3] if "rails" in its else at)
        found[names.pop()] = node
    return found


def _server(tape: Tape) -> Raw:
    found: Raw = {"ssh": ssh(tape, "server")} if tape.flag() else {}
    own = tape.some(
        instance_type=("m7g.xlarge",), volume_gb=(20, 16384), ami=("ami-0123456789abcdef0",), replace=(2,)
    )
    return found | ({"aws": own} if tape.flag() else {})


def urls(tape: Tape, number: int, one: tuple[bool, bool], *, created: bool) -> Raw:
    """A site's URLs. `one`: whether GitLab and registry have a name that all sites share."""
    found: Raw = {}
    plain = False
    for shared, key, internal, word in (
        (one[0], "external_url", "internal_url", "gitlab"),
        (one[1], "registry_url", "registry_internal_url", "registry"),
    ):
        scheme = "http" if plain else tape.pick(("https", "https", "http"))
        # A created site has no certificate for its registry alone.
        plain = created and scheme == "http"
        own = (f"{word}.{number}.example.com", f"{word}-{number}.Example.com", f"10.9.{number}.{len(word)}")
        name = f"{word}.example.com" if shared else tape.pick(own[:2] if created else own)
        port, slash = tape.pick(("", ":5050", ":443", ":80", ":65535")), tape.pick(("", "/"))
        found[key] = f"{scheme}://{name}{port}{slash}"
        if shared or tape.pick((False, False, True)):
            found[internal] = f"{scheme}://{word}.own-{number}.example.com:5050{slash}"
    return found


def hosts_of(site: Raw, *keys: str) -> set[str]:
    """The names in a site's URLs."""
    provided = [
        site[key]
        for key in keys or ("external_url", "registry_url", "internal_url", "registry_internal_url")
        if key in site
    ]
    return {url.split("//")[1].split("/")[0].split(":")[0].lower() for url in provided}


def aws(tape: Tape, number: int, site: Raw, *, alone: bool) -> Raw:
    """A created site's network and servers. `alone`: no other site has its names."""
    region = tape.pick(("eu-west-2", "ap-northeast-1", "us-gov-east-1"))
    found: Raw = {"region": region, "admin_cidrs": tape.pick(RANGES)}
    own = {"cidr": f"10.{100 + number}.0.0/{tape.pick((16, 20, 24))}"}
    found |= tape.pick((own, {"vpc_id": "vpc-0123456789abcdef0", "subnet_id": "subnet-01234567"}))
    found |= tape.some(
        availability_zone=(f"{region}b",), egress_ports=([443], [80, 443, 587]), volume_gb=(20,), kms_key_id=(KMS_KEY,),
        instance_type=("a1.metal", "c6i.24xlarge"), ami=("ami-01234567",), termination_protection=FLAGS,
        tags=({}, {"": ""}, {"S3": "é", "a b": "#{c}"}), client_cidrs=RANGES,
    )  # fmt: skip
    if site["external_url"].startswith("https:"):
        found |= _tls(tape, site, alone=alone)
    if alone and all(name.endswith(".example.com") for name in hosts_of(site)) and tape.flag():
        found["hosted_zone"] = "example.com"
    return found


def _tls(tape: Tape, site: Raw, *, alone: bool) -> Raw:
    names = hosts_of(site)
    # Let's Encrypt makes one for the two names that people see.
    if not alone or names != hosts_of(site, "external_url", "registry_url") or tape.flag():
        return {"tls": {**pair(*sorted(names))}}
    who = tape.some(letsencrypt_email=("ops@example.com", "é'#{x}\\@[x]"))
    return {"client_cidrs": [WORLD]} | ({"tls": who} if who or tape.flag() else {})


def external(tape: Tape, names: list[str], first: int, *, hosts: bool) -> Raw:
    """A registry that is not omnibus', on one or two hosts of its own or on some that are not named."""
    its: Raw = {}
    for number in range(first, first + (tape.pick((1, 2)) if hosts else 0)):
        its[names.pop()] = host(tape, number) | {
            "config": "/etc/docker/registry/config.yml",
            "certificate": "/etc/a@b=c+d/_.crt",
            "restart": tape.pick(("systemctl restart docker-registry", "/usr/bin/true")),
        }
    return {"hosts": its} if its or tape.flag() else {}


def created_database(tape: Tape, site: Raw) -> Raw:
    """One that the stack creates in the site's network."""
    found = tape.some(
        engine_version=("15", "99"),
        instance_class=("db.m7g.24xlarge",),
        storage_gb=(20, 65536),
        multi_az=FLAGS,
    )
    if "vpc_id" in site["aws"]:
        found["subnet_ids"] = ["subnet-0123456789abcdef0", "subnet-01234567"]
    if tape.flag():
        found |= {"sslmode": tape.pick(("verify-ca", "verify-full")), "sslrootcert": "/etc/ssl/rds.pem"}
    return {"create": found}


def database(tape: Tape, number: int) -> Raw:
    """A PostgreSQL of a site's own: a server, or a database on one for all."""
    found = {
        "host": tape.pick(("DB.example.com", f"db-{number}", f"fd00::{number}")),
        "name": f"registry-{number}",
    }
    found |= tape.some(
        port=PORTS,
        user=("_r-1",),
        sslmode=("disable", "verify-full"),
        sslrootcert=("/etc/gitlab/ssl/db-ca.pem",),
    )
    return found | {"password": secret(tape, f"database{number}")}
