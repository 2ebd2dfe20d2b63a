"""Storages as users write them, over all drivers, modes and versions: for tests that look at many."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.configurations import SHARED
from tests.ruby import POOREST, Ruby

Raw = dict[str, Any]
MIB = 1 << 20
VERSIONS = ("16.0", "16.11.5", "17.0", "17.9", "17.10", "18.0", "18.1", "18.11", "19.0.1-ee.0", "19.2")
ROOT = st.sampled_from(["registry", "/a/b", "x.y_z"])
FLAG = st.booleans()
SERVICE_ACCOUNT = {
    "type": "service_account",
    "client_email": "{}@acme.iam.gserviceaccount.com",
    "private_key": '-----BEGIN PRIVATE KEY-----\nprivate-key-of-{}\'s "account"\n-----END PRIVATE KEY-----\n',
    "token_uri": "https://oauth2.googleapis.com/token",
}


# What omnibus does with a settings file, as far as storage goes; the secrets come as they are on the node.
EVALUATE = """
$stdout.sync = true
while (line = $stdin.gets)
  source, provided = JSON.parse(line)
  rails = Object.new.tap { |o| def o.method_missing(*) = nil }
  registry, gitlab_rails = {}, {}
  body = source.lines.grep_v(/\\A(registry_external_url|secrets = )/).join.force_encoding('US-ASCII')
  secrets = provided
  eval(body)
  puts JSON.generate(registry['storage'])
end
"""


class Node(Ruby):
    """One Ruby for many settings files, under the locale that is hardest on them."""

    def __init__(self) -> None:
        super().__init__("-rjson", "-e", EVALUATE, env=POOREST)

    def storage(self, text: str, secrets: dict[str, Any]) -> Any:
        assert text.isascii()
        return self.ask([text, secrets])


@dataclass(frozen=True)
class Case:
    """A configuration; each site's driver by its name in gitlab.rb, and the keys meant there."""

    raw: Raw
    driver: dict[str, str]
    meant: dict[str, Raw]
    secret: tuple[str, ...]


def service_account(site: str) -> str:
    """The text of a key file, with what a key has in it: quotes and line ends."""
    return json.dumps({k: v.replace("{}", site) for k, v in SERVICE_ACCOUNT.items()})


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Raw]:
    return st.fixed_dictionaries({}, optional=keys)


def chunk(least: int = 5 * MIB) -> st.SearchStrategy[int]:
    return st.sampled_from([least, least * 4])


PLACES: dict[str, st.SearchStrategy[Raw]] = {
    "gcs": optional(rootdirectory=ROOT, chunksize=chunk(256 << 10), maxconcurrency=st.just(50), parallelwalk=FLAG),
    "azure": optional(realm=st.just("core.chinacloudapi.cn"), rootdirectory=ROOT, trimlegacyrootprefix=FLAG),
    "swift": optional(
        region=st.just("eu"),
        tenant=st.just("it's #{mine}"),
        tenantid=st.just("42"),
        domain=st.just("Default"),
        tenantdomain=st.just("Default"),
        authversion=st.sampled_from([1, 2, 3]),
        endpointtype=st.sampled_from(["public", "internal"]),
        insecureskipverify=FLAG,
        prefix=ROOT,
        chunksize=chunk(MIB),
    ),
    "oss": optional(
        endpoint=st.just("oss.example.com"), internal=FLAG, encrypt=FLAG, encryptionkeyid=st.just("k-1"),
        secure=FLAG, chunksize=chunk(), rootdirectory=ROOT,
    ),
    "filesystem": optional(maxthreads=st.just(100)),
}  # fmt: skip
S3_OPTIONS = optional(
    chunksize=chunk(), multipartcopychunksize=chunk(), multipartcopymaxconcurrency=st.just(10),
    multipartcopythresholdsize=chunk(), maxrequestspersecond=st.just(350), maxretries=st.just(0),
    parallelwalk=FLAG, storageclass=st.sampled_from(["NONE", "STANDARD", "REDUCED_REDUNDANCY"]), encrypt=FLAG,
    objectacl=st.just("bucket-owner-full-control"), secure=FLAG, skipverify=FLAG, pathstyle=FLAG,
    loglevel=st.just("logoff"),
)  # fmt: skip
NEWEST_S3_OPTIONS = optional(
    checksum_algorithm=st.sampled_from(["CRC32", "SHA256"]), storageclass=st.sampled_from(["GLACIER_IR", "EXPRESS_ONEZONE"]),
    objectownership=FLAG, loglevel=st.just("logrequest,logretries"),
)  # fmt: skip


SERVERS = ("https://minio.example.com", "https://[FD00:0::1]:9000")


def newer(version: str, major: int, minor: int = 0) -> bool:
    parts = version.split(".")
    return (int(parts[0]), int(parts[1])) >= (major, minor)


def drivers_of(version: str, mode: str) -> list[str]:
    """What README promises for it."""
    names = ["s3", "gcs"]
    names += [] if newer(version, 17) else ["swift", "oss"]
    names += ["azure"] if mode == "per_site" or newer(version, 17, 10) else []
    return names + (["filesystem"] if mode == "per_site" else [])


@st.composite
def cases(draw: st.DrawFn, only: str | None = None) -> Case:
    """A right configuration of any driver in any mode for any version that has it."""
    version, mode = draw(st.sampled_from(VERSIONS)), draw(st.sampled_from(["shared", "per_site"]))
    known = drivers_of(version, mode)
    name = draw(st.sampled_from([only] if only in known else known))
    raw = copy.deepcopy(SHARED) | {"gitlab_version": version, "storage": {"mode": mode}}
    common = draw(_place(name, version))
    meant: dict[str, Raw] = {}
    secret: list[str] = []
    roles: set[str] = set()
    for site in ("london", "tokyo"):
        place = common | _own_place(name, site if mode == "per_site" else "all")
        if mode == "per_site":
            raw["sites"][site]["storage"] = {name: place}
            if name == "s3" and draw(FLAG):
                raw["sites"][site]["storage"] = place
        else:
            raw["storage"][name] = place
        needs_role = mode == "shared" and site == "tokyo"
        keys = draw(_keys(name, site, newer(version, 17, 10), needs_role))
        if name == "s3":
            raw["sites"][site]["s3_keys"] = keys
        elif keys:
            raw["sites"][site]["credentials"] = {name: keys}
        roles |= {site} if keys.get("credentials_type") not in (None, "shared_key") else set()
        meant[site] = _meant(name, version, place, keys)
        secret += [v for k, v in keys.items() if k in SECRET_KEYS]
    newest = newer(version, 19)
    # A role anywhere on a storage decides for all registries on it.
    azure = {site for site in meant if newest or site in roles or (mode == "shared" and roles)}
    names = {
        site: {"s3": "s3_v2" if newest else "s3", "azure": "azure_v2" if site in azure else "azure"}.get(name, name)
        for site in meant
    }  # fmt: skip
    return Case(raw, names, meant, tuple(secret))


SECRET_KEYS = ("secret_key", "credentials", "accountkey", "secret", "password", "accesskeyid", "accesskeysecret")  # fmt: skip


def _place(name: str, version: str) -> st.SearchStrategy[Raw]:
    if name == "s3":
        options = S3_OPTIONS
        if newer(version, 19):
            options = st.builds(lambda a, b: _one_acl({**a, **b}), S3_OPTIONS, NEWEST_S3_OPTIONS)
        more = optional(root_directory=ROOT, endpoint=st.sampled_from(SERVERS))
        return st.builds(_s3_place, options, more)
    return PLACES[name]


def _s3_place(options: Raw, more: Raw) -> Raw:
    if "[" in more.get("endpoint", ""):
        # A bucket's name does not stand before an address.
        options = {key: value for key, value in options.items() if key != "pathstyle"}
    return {"options": options, "create": False, **more}


def _one_acl(options: Raw) -> Raw:
    if options.get("objectownership"):
        options.pop("objectacl", None)
    return options


def _own_place(name: str, site: str) -> Raw:
    return {
        "s3": {"bucket": f"acme-{site}", "region": "eu-west-1"},
        "gcs": {"bucket": f"acme_{site}"},
        "azure": {"container": f"registry-{site}", "accountname": "acme"},
        "swift": {"container": f"registry {site}", "authurl": "https://keystone.example.com:5000/v3"},
        "oss": {"bucket": f"acme-{site}", "region": "oss-eu-central-1"},
        "filesystem": {"rootdirectory": "/srv/registry"},
    }[name]


@st.composite
def _keys(draw: st.DrawFn, name: str, site: str, roles: bool, needs_role: bool) -> Raw:
    tail = draw(st.sampled_from(["", "'#{x}\\", "é日"]))
    value = f"s3cr3t-of-{site}{tail}"
    match name:
        case "s3":
            return {"access_key": f"AKIA{site}", "secret_key": value}
        case "gcs":
            kinds = [
                {"credentials": service_account(site)},
                {"keyfile": "/etc/gitlab/gcs.json"},
                {"application_default": True},
            ]
            return draw(st.sampled_from(kinds))
        case "azure":
            role = [
                {
                    "credentials_type": "client_secret",
                    "tenant_id": "t",
                    "client_id": f"c-{site}",
                    "secret": value,
                },
                {"credentials_type": "default_credentials"},
            ]
            key = [{"accountkey": value}, {"credentials_type": "shared_key", "accountkey": value}]
            return draw(st.sampled_from((role if roles else []) + ([] if needs_role else key)))
        case "swift":
            return {"username": f"registry-{site}", "password": value}
        case "oss":
            return {"accesskeyid": f"LTAI{site}-{value}", "accesskeysecret": value}
    return {}


def _meant(name: str, version: str, place: Raw, keys: Raw) -> Raw:
    """The hash in gitlab.rb, thought out apart from the program."""
    if name == "s3":
        found: Raw = {
            "bucket": place["bucket"],
            "region": place["region"],
            "accesskey": keys["access_key"],
            "secretkey": keys["secret_key"],
        }
        found |= (
            {"rootdirectory": "/" + place["root_directory"].strip("/")} if "root_directory" in place else {}
        )
        if "endpoint" in place:
            found |= {"regionendpoint": place["endpoint"], "pathstyle": True}
            if newer(version, 19) and "checksum_algorithm" not in place["options"]:
                found["checksum_disabled"] = True
        options: Raw = place["options"]
        if "endpoint" not in place and "objectacl" not in options:
            found["objectownership"] = True
        return found | options
    provided = {k: v for k, v in keys.items() if k != "application_default" and v != "shared_key"}
    if "credentials" in provided:
        provided["credentials"] = json.loads(provided["credentials"])
    return place | provided
