"""What storage, credentials and permissions may not say together."""

from __future__ import annotations

import copy
from typing import Any

from tests.corpus.values import SECRET, Raw, at_least
from tests.corpus.whole import Reported, Whole, contradiction, external, roles


@contradiction("primary-read-only")
def primary_reads(w: Whole) -> Reported:
    w.sites[w.raw["primary"]]["read_only"] = True
    return f"sites.{w.raw['primary']}.read_only"


@contradiction("secondary-writable")
def secondary_writes(w: Whole) -> Reported:
    w.need(w.shared)
    site = w.secondary()
    w.sites[site]["read_only"] = False
    return f"sites.{site}.read_only"


@contradiction("read-only-with-replication")
def secondary_copies_and_reads(w: Whole) -> Reported:
    w.need(not w.shared)
    site = w.secondary()
    w.raw["replication"] = True
    w.sites[site]["read_only"] = True
    return f"sites.{site}.read_only"


@contradiction("read-only-with-kept-storage")
def kept_and_read(w: Whole) -> Reported:
    w.need(not w.shared)
    site = w.secondary(lambda its: its["storage"] == "keep")
    w.raw["replication"] = False
    w.sites[site]["read_only"] = True
    return f"sites.{site}.read_only"


@contradiction("site-storage-with-shared", "storage-at-top-with-per-site")
def other_mode(w: Whole) -> Reported:
    w.raw["storage"]["mode"] = "per_site" if w.shared else "shared"
    if w.shared:
        return next(key for key, *_ in w.places())
    return tuple(f"sites.{site}.storage" for site in w.sites)


@contradiction("shared-storage-missing", "site-storage-missing")
def no_storage(w: Whole) -> Reported:
    if w.shared:
        w.raw["storage"] = {"mode": "shared"}
        return "storage.s3"
    site = w.site()
    w.sites[site].pop("storage")
    return f"sites.{site}.storage"


@contradiction("storage-drivers-exclusive")
def two_drivers(w: Whole) -> Reported:
    key, provided = "storage", w.raw["storage"]
    if not w.shared:
        site = w.site(lambda its: isinstance(its["storage"], dict) and "bucket" not in its["storage"])
        key, provided = f"sites.{site}.storage", w.sites[site]["storage"]
    other = "gcs" if "gcs" not in provided else "s3"
    provided[other] = {"bucket": "other"} | ({"region": "eu-west-1"} if other == "s3" else {})
    return tuple(f"{key}.{name}" for name in provided)


@contradiction("setting-not-in-version")
def driver_that_is_gone(w: Whole) -> Reported:
    key, _, sites = w.place("swift", "oss")
    w.need(not all(external(w.sites[site]) for site in sites))
    w.raw["gitlab_version"] = w.tape.pick(("17.0", "18.5", "19.2"))
    return key


@contradiction("filesystem-shared")
def directory_for_all(w: Whole) -> Reported:
    w.need(w.shared)
    w.raw["storage"] = {"mode": "shared", "filesystem": {"rootdirectory": "/srv"}}
    return "storage.filesystem"


@contradiction("filesystem-of-external-registry", "filesystem-on-several-nodes")
def directory_of_several(w: Whole) -> Reported:
    w.need(not w.shared)
    site = w.site(lambda its: external(its) or sum("registry" in roles(n) for n in its["nodes"].values()) > 1)
    w.sites[site]["storage"] = {"filesystem": {"rootdirectory": "/srv"}}
    return f"sites.{site}.storage.filesystem"


@contradiction("storage-not-unique")
def one_place(w: Whole) -> Reported:
    w.need(not w.shared)
    one, two = w.two(lambda its: its["storage"] != "keep" and "filesystem" not in its["storage"])
    for key in ("storage", "credentials", "s3_keys"):
        w.sites[two].pop(key, None)
        if key in w.sites[one]:
            w.sites[two][key] = copy.deepcopy(w.sites[one][key])
    keys = [key for key, _, _, sites in w.places() if sites[0] in (one, two)]
    return tuple(f"{key}.{name}" for key in keys for name in ("bucket", "container"))


def _s3(w: Whole, options: Raw, key: str, **place: Any) -> Reported:
    at, its, sites = w.place("s3")
    its |= place
    its["options"] = options
    if "endpoint" in place:
        for site in sites:
            w.sites[site].pop("s3_keys", None)
    return f"sites.{sites[0]}.{key}" if key == "s3_keys" else f"{at}.{key}"


@contradiction("acl-on-created-bucket")
def s3_acl(w: Whole) -> Reported:
    return _s3(w, {"objectacl": "private"}, "options.objectacl", create=True, endpoint=None)


@contradiction("ownership-on-created-bucket")
def s3_sends_acls(w: Whole) -> Reported:
    return _s3(w, {"objectownership": False}, "options.objectownership", create=True, endpoint=None)


@contradiction("settings-exclusive")
def s3_acl_and_owner(w: Whole) -> Reported:
    return _s3(w, {"objectacl": "private", "objectownership": True}, "options.objectacl", create=False)


@contradiction("kms-key-without-encryption")
def s3_key_and_none(w: Whole) -> Reported:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
    return _s3(w, {"encrypt": False}, "options.encrypt", kms_key_id=key)


@contradiction("bucket-not-on-aws")
def s3_made_elsewhere(w: Whole) -> Reported:
    return _s3(w, {}, "create", create=True, endpoint="https://minio.example.com")


@contradiction("s3-keys-missing")
def s3_without_keys(w: Whole) -> Reported:
    return _s3(w, {}, "s3_keys", create=False, endpoint="https://minio.example.com")


@contradiction("setting-not-in-version")
def s3_too_new(w: Whole) -> Reported:
    if at_least(w.raw["gitlab_version"], 18, 1):
        w.need(all(driver not in {"swift", "oss"} for _, driver, *_ in w.places()))
        w.raw["gitlab_version"] = "18.0"
    key, value = w.tape.pick((("checksum_disabled", False), ("storageclass", "OUTPOSTS")))
    return _s3(w, {key: value}, f"options.{key}")


@contradiction("setting-not-in-version")
def key_of_gitlabs_own_registry(w: Whole) -> Reported:
    key, its, sites = w.place("s3", "oss")
    w.need(any(external(w.sites[site]) for site in sites))
    if "region" in its and its["region"].startswith("oss-"):
        its["encryptionkeyid"] = "k"
        return f"{key}.encryptionkeyid"
    name, value = w.tape.pick(
        (("maxrequestspersecond", 350), ("maxretries", 0), ("parallelwalk", False), ("loglevel", "logoff"))
    )
    its["options"] = {name: value}
    return f"{key}.options.{name}"


@contradiction("key-not-read")
def token_that_is_not_sent(w: Whole) -> Reported:
    site = w.site(lambda its: "s3_keys" in its)
    w.sites[site]["s3_keys"]["session_token"] = f"{SECRET}.t"
    return f"sites.{site}.s3_keys.session_token"
