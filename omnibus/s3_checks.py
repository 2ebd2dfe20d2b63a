"""What is said of a bucket of S3 and cannot be true of it, or not with the site's version of GitLab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from omnibus import s3_versions
from omnibus.driver import NO_START, WRONG_PLACE
from omnibus.fields import REGION
from omnibus.model import Deployment
from omnibus.problems import Problem
from omnibus.s3 import S3

_OF_ANOTHER_KIND = ("EXPRESS_ONEZONE", "OUTPOSTS")


def problems(d: Deployment, key: str, s3: S3, sites: list[str]) -> Iterator[Problem]:
    """Every contradiction in the bucket at `key`, which these sites use."""
    yield from _region(d, key, s3, sites)
    yield from _path_style(key, s3)
    yield from _bucket_of_ours(f"{key}.options", s3)
    yield from _log_words(d, f"{key}.options.loglevel", s3, sites)
    if s3.kms_key_id and s3.options.encrypt is False:
        yield Problem(
            f"{key}.options.encrypt",
            "false beside kms_key_id",
            "a key encrypts nothing then",
            "true, or no kms_key_id",
        )


def _region(d: Deployment, key: str, s3: S3, sites: list[str]) -> Iterator[Problem]:
    if s3.endpoint:
        return  # other servers call theirs as they like
    if not re.fullmatch(REGION, s3.region):
        yield Problem(f"{key}.region", f"{s3.region!r} is no region of AWS", WRONG_PLACE, "eu-west-1")
        return
    unknown = [site for site in sites if not s3_versions.knows(s3.region, d.registry_version(site))]
    if unknown and not s3_versions.host(s3.region):
        yield Problem(
            f"{key}.region",
            f"{s3.region!r} is not known to {d.registry_name(unknown[0])}",
            f"{NO_START} without an endpoint, and the region's is not known here",
            "an endpoint beside it, with create: false and s3_keys for each site",
        )


def _path_style(key: str, s3: S3) -> Iterator[Problem]:
    # Not by urlsplit, which may raise for what stands in brackets.
    host = re.sub(r"^https?://\[?|(\]|:[0-9]+)?(:[0-9]+)?/?$", "", s3.endpoint or "")
    try:
        ip_address(host)
    except ValueError:
        if ":" in host:
            yield Problem(
                f"{key}.endpoint",
                f"{s3.endpoint!r} has no usable host and port",
                WRONG_PLACE,
                "https://[fd00::1]:9000",
            )
        return
    if s3.options.pathstyle is False:
        yield Problem(
            f"{key}.options.pathstyle",
            f"false, and {s3.endpoint} is an address",
            "a bucket's name can stand before a host's name, not before its address",
            "true, or an endpoint with a name",
        )


def _bucket_of_ours(at: str, s3: S3) -> Iterator[Problem]:
    if not s3.create:
        return
    if s3.options.objectacl:
        yield Problem(
            f"{at}.objectacl",
            f"{s3.options.objectacl!r} for a bucket that is made here",
            "its owner owns all that is in it, and it refuses every ACL",
            "remove it, or create: false",
        )
    if s3.options.objectownership is False:
        yield Problem(
            f"{at}.objectownership",
            "false for a bucket that is made here",
            "the registry would send ACLs, and its owner owns all that is in it: it refuses every ACL",
            "remove it, or create: false",
        )
    if s3.options.storageclass in _OF_ANOTHER_KIND:
        yield Problem(
            f"{at}.storageclass",
            f"{s3.options.storageclass!r} for a bucket that is made here",
            "directory buckets and buckets on an Outpost alone have it: S3 would refuse every push",
            "STANDARD, or create: false",
        )


def _log_words(d: Deployment, at: str, s3: S3, sites: list[str]) -> Iterator[Problem]:
    words = (s3.options.loglevel or "logoff").split(",")
    # An external registry does not know the key at all, which is told already.
    for site in (site for site in sites if not d.sites[site].external_registry):
        version = d.registry_version(site)
        known = [
            w for w, (since, until) in s3_versions.LOG_WORDS.items() if since <= version < (until or (999, 0))
        ]
        unknown = [word for word in words if word not in known]
        if unknown or (len(words) > 1 and version < s3_versions.LOG_LIST):
            yield Problem(
                at,
                f"{s3.options.loglevel!r} is not known to {d.registry_name(site)}",
                "the S3 driver of that version would pass over it and log nothing",
                f"{'one of ' if version < s3_versions.LOG_LIST else ''}{', '.join(known)}",
            )
            return
