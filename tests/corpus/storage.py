"""Storages of every kind, and the credentials that go with them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.corpus.values import FLAGS, KMS_KEY, ROOTS, TEXTS, Raw, Tape, at_least, secret

MIB = 1 << 20
SIZES = (5 * MIB, 25 * MIB, 5 << 30)
PARTS = (5 * MIB, 25 * MIB, 5 << 29)
DURATIONS = ("500ms", "1m30s", "0.5h")
OPTIONS: dict[str, Sequence[Any]] = {
    "chunksize": PARTS, "multipartcopychunksize": SIZES, "multipartcopymaxconcurrency": (1,),
    "multipartcopythresholdsize": (0, *SIZES), "maxrequestspersecond": (350,), "maxretries": (0,), "parallelwalk": FLAGS,
    "storageclass": ("NONE", "STANDARD", "REDUCED_REDUNDANCY"), "encrypt": FLAGS, "secure": FLAGS,
    "skipverify": FLAGS, "pathstyle": FLAGS, "objectacl": ("private",), "objectownership": FLAGS,
    "loglevel": ("logoff",),
}  # fmt: skip
GITLABS_OWN = ("maxrequestspersecond", "maxretries", "parallelwalk", "loglevel", "encryptionkeyid")
NEWER_AZURE: dict[str, Sequence[Any]] = {
    "max_retries": (1, 1000), "retry_try_timeout": DURATIONS, "retry_delay": DURATIONS, "max_retry_delay": DURATIONS,
    "api_pool_initial_interval": DURATIONS, "api_pool_max_interval": DURATIONS,
    "api_pool_max_elapsed_time": DURATIONS, "debug_log": FLAGS,
}  # fmt: skip
"""Keys that only azure_v2 has."""
REGIONS = (
    "eu-west-1", "us-gov-west-1", "ca-west-1", "il-central-1", "mx-central-1", "ap-east-2", "ap-southeast-5", "cn-north-3",
)  # fmt: skip
"""Keys that Distribution does not read."""
PLACES: dict[str, dict[str, Sequence[Any]]] = {
    "s3": {"root_directory": ROOTS, "kms_key_id": (KMS_KEY,), "create": FLAGS},
    "gcs": {"rootdirectory": ROOTS, "chunksize": (256 << 10, 5 * MIB), "maxconcurrency": (25,)},
    "azure": {
        "realm": ("core.chinacloudapi.cn",), "rootdirectory": ROOTS, "trimlegacyrootprefix": FLAGS,
        "legacyrootprefix": FLAGS,
    },
    "swift": {
        "region": TEXTS, "tenant": TEXTS, "tenantid": TEXTS, "tenantdomain": TEXTS, "tenantdomainid": TEXTS,
        "domain": TEXTS, "domainid": TEXTS, "trustid": TEXTS, "authversion": (3, 2, 1),
        "endpointtype": ("public", "internal", "admin"), "insecureskipverify": FLAGS, "prefix": ROOTS,
        "chunksize": (MIB, 20 * MIB), "tempurlcontainerkey": FLAGS, "tempurlmethods": (["GET"], ["GET", "HEAD"]),
    },
    "oss": {
        "endpoint": ("oss.example.com",), "internal": FLAGS, "encrypt": FLAGS, "encryptionkeyid": TEXTS,
        "secure": FLAGS, "chunksize": SIZES, "rootdirectory": ROOTS,
    },
    "filesystem": {"maxthreads": (25, 100)},
}  # fmt: skip


@dataclass(frozen=True)
class Registry:
    """Whose registry a site has: GitLab's of a version, or Distribution, which knows less than 16.0's."""

    version: str
    external: bool

    def newer(self, major: int, minor: int = 0) -> bool:
        return not self.external and at_least(self.version, major, minor)

    @property
    def drivers(self) -> set[str]:
        """All of which a site may have one of its own."""
        disk = set() if self.external else {"filesystem"}
        return {"s3", "gcs", "azure"} | disk | (set() if self.newer(17) else {"swift", "oss"})

    @property
    def roles(self) -> bool:
        """Whether it knows Azure's newer driver."""
        return self.newer(17, 10)


def place(tape: Tape, name: str, number: int, registries: Sequence[Registry]) -> Raw:
    """Where the images of these registries are; no other `number` has the same place."""
    found = tape.some(**PLACES[name])
    match name:
        case "s3":
            found |= {"bucket": f"acme-{number}", "region": tape.pick(REGIONS)}
            _s3(tape, found, registries)
        case "gcs":
            found["bucket"] = f"acme_{number}.x"
            _gcs(tape, found, registries)
        case "azure":
            _azure(tape, found, number, registries)
        case "swift":
            found |= {"container": f"it's {number}", "authurl": "https://keystone.example.com:5000/v3"}
        case "oss":
            found |= {"bucket": f"acme-{number}", "region": "oss-eu-central-1"}
            _without_gitlabs_own(found, registries)
        case "filesystem":
            found["rootdirectory"] = "/srv/registry.d/1"
    return found


def _without_gitlabs_own(found: Raw, registries: Sequence[Registry]) -> None:
    if any(its.external for its in registries):
        for key in GITLABS_OWN:
            found.pop(key, None)


def _azure(tape: Tape, found: Raw, number: int, registries: Sequence[Registry]) -> None:
    found |= {"container": tape.pick((f"registry-{number}", f"{number}ab")), "accountname": f"acme{number}"}
    if found.get("legacyrootprefix") and found.get("trimlegacyrootprefix"):
        del found["legacyrootprefix"]
    stated = {"legacyrootprefix", "trimlegacyrootprefix"} & found.keys()
    if len({one.external for one in registries}) > 1 and not stated:
        found["trimlegacyrootprefix"] = True
    if not all(its.roles for its in registries):
        return
    if tape.flag():
        found.pop("realm", None)
        found["serviceurl"] = f"https://acme{number}.blob.core.windows.net/"
    if tape.flag():
        found |= tape.some(**NEWER_AZURE)
        if found.get("debug_log"):
            found |= tape.some(debug_log_events=("Request", "Retry,LongRunningOperation"))


def _gcs(tape: Tape, found: Raw, registries: Sequence[Registry]) -> None:
    if not any(its.external for its in registries):
        found |= tape.some(parallelwalk=FLAGS)
    if all(its.newer(18, 5) for its in registries):
        found |= tape.some(useragent=TEXTS, debug_log=FLAGS)
    if all(its.newer(18, 10) for its in registries):
        found |= tape.some(universe_domain=("apis-berlin-build0.goog",))


def _s3(tape: Tape, found: Raw, registries: Sequence[Registry]) -> None:
    if tape.flag():
        servers = ("https://minio.example.com", "http://10.0.0.1:9000/", "https://[FD00::1]:9000")
        found |= {"endpoint": tape.pick(servers), "create": False}
    options = tape.some(**_known_options(registries))
    if re.search(r"//(10\.|\[)", found.get("endpoint", "")):
        options.pop("pathstyle", None)  # a bucket's name does not stand before an address
    _without_gitlabs_own(options, registries)
    if found.get("create", True):
        # A bucket that is made here refuses every ACL, and is not a directory bucket.
        options.pop("objectacl", None)
        if options.get("objectownership") is False:
            del options["objectownership"]
        if options.get("storageclass") == "EXPRESS_ONEZONE":
            del options["storageclass"]
    if options.get("objectownership"):
        options.pop("objectacl", None)
    if options.get("checksum_disabled"):
        options.pop("checksum_algorithm", None)
    if "kms_key_id" in found:
        options.pop("encrypt", None)
    if options or tape.flag():
        found["options"] = options


def _known_options(registries: Sequence[Registry]) -> dict[str, Sequence[Any]]:
    known = dict(OPTIONS)
    if all(its.newer(18, 1) for its in registries):
        known["storageclass"] = ("GLACIER_IR", "STANDARD_IA", "NONE", "EXPRESS_ONEZONE")
    if all(its.newer(19) for its in registries):
        known |= {"checksum_disabled": FLAGS, "checksum_algorithm": ("SHA256", "CRC64NVME")}
        known["loglevel"] = ("logrequest,logretries", "logoff")
    elif not any(its.newer(19) for its in registries):
        known["loglevel"] = ("logdebugwithrequestretries", "logoff")
    return known


def credentials(tape: Tape, name: str, site: str, place: Raw, registry: Registry, *, reader: bool) -> Raw:
    """The keys of a site that belong to its driver. `reader`: a secondary of shared storage."""
    if name == "s3":
        if "endpoint" not in place and tape.flag():
            return {}
        keys = {"access_key": f"AKIA{site}", "secret_key": secret(tape, f"{site}.secret_key")}
        return {"s3_keys": keys}
    found = _others(tape, name, site, roles=registry.roles, reader=reader)
    return {"credentials": {name: found}} if found else {}


def _others(tape: Tape, name: str, site: str, *, roles: bool, reader: bool) -> Raw:
    match name:
        case "gcs":
            account = {
                "type": "service_account",
                "client_email": f"{site}@acme.iam.gserviceaccount.com",
                "private_key": f"-----BEGIN PRIVATE KEY-----\n{secret(tape, f'{site}.gcs')}\n",
            }
            kinds: list[Raw] = [{"credentials": json.dumps(account)}, {"keyfile": "/etc/gitlab/k.json"}]
            return tape.pick([*kinds, {"application_default": True}])
        case "azure":
            secrets = {"tenant_id": "t", "client_id": f"c-{site}", "secret": secret(tape, f"{site}.azure")}
            key: Raw = {"accountkey": secret(tape, f"{site}.accountkey")}
            by_role = [
                {"credentials_type": "client_secret", **secrets},
                {"credentials_type": "default_credentials"},
            ]
            by_key = [key, {"credentials_type": "shared_key", **key}]
            return tape.pick(([] if reader else by_key) + (by_role if roles else []))
        case "swift":
            found = {"username": f"it's {site}", "password": secret(tape, f"{site}.swift")}
            more = ("accesskey",) if reader else ("accesskey", "secretkey")
            return found | {key: secret(tape, f"{site}.{key}") for key in more if tape.flag()}
        case "oss":
            return {key: secret(tape, f"{site}.{key}") for key in ("accesskeyid", "accesskeysecret")}
    return {}
