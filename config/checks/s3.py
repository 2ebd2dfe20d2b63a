"""Settings of an S3 bucket that are impossible, or not supported by the site's version of GitLab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from config.errors import ConfigError
from config.field_types import REGION
from config.model import Deployment
from config.storage_drivers import s3_regions
from config.storage_drivers.base import NO_START, WRONG_PLACE
from config.storage_drivers.s3 import S3

_OF_ANOTHER_KIND = ("EXPRESS_ONEZONE", "OUTPOSTS")


def errors(d: Deployment, key: str, s3: S3, sites: list[str]) -> Iterator[ConfigError]:
    """Every contradiction in the bucket at `key`, which these sites use."""
    yield from _region(d, key, s3, sites)
    yield from _path_style(key, s3)
    yield from _created_bucket(f"{key}.options", s3)
    yield from _log_words(d, f"{key}.options.loglevel", s3, sites)
    if s3.kms_key_id and s3.options.encrypt is False:
        yield ConfigError(
            "kms-key-without-encryption",
            f"{key}.options.encrypt",
            "false together with kms_key_id",
            expectation="true or left out where kms_key_id is set",
            consequence="the registry would write its images without the key",
            example="true, or no kms_key_id",
        )


def _region(d: Deployment, key: str, s3: S3, sites: list[str]) -> Iterator[ConfigError]:
    if s3.endpoint:
        return  # another S3 service has other names for its regions
    if not re.fullmatch(REGION, s3.region):
        yield ConfigError(
            "s3-region-unknown",
            f"{key}.region",
            f"{s3.region!r} is not a region of AWS",
            expectation="an AWS region such as eu-west-1, or an endpoint of another S3 service",
            consequence=WRONG_PLACE,
            example="eu-west-1",
        )
        return
    unknown = [site for site in sites if not s3_regions.knows(s3.region, d.registry_version(site))]
    if unknown and not s3_regions.host(s3.region):
        yield ConfigError(
            "s3-region-not-in-version",
            f"{key}.region",
            f"{s3.region!r} is not known to {d.registry_name(unknown[0])}",
            expectation="a region that the registry knows, or an endpoint",
            consequence=f"without an endpoint {NO_START}, and this program does not know the endpoint of "
            "that region",
            example="an endpoint, with create: false and s3_keys for each site",
        )


def _path_style(key: str, s3: S3) -> Iterator[ConfigError]:
    # Not by urlsplit, which may raise for what is in brackets.
    host = re.sub(r"^https?://\[?|(\]|:[0-9]+)?(:[0-9]+)?/?$", "", s3.endpoint or "")
    try:
        ip_address(host)
    except ValueError:
        if ":" in host:
            yield ConfigError(
                "s3-endpoint-invalid",
                f"{key}.endpoint",
                f"{s3.endpoint!r} has no usable host and port",
                expectation="a host name, an IPv4 address, or an IPv6 address in brackets",
                consequence=WRONG_PLACE,
                example="https://[fd00::1]:9000",
            )
        return
    if s3.options.pathstyle is False:
        yield ConfigError(
            "s3-path-style-required",
            f"{key}.options.pathstyle",
            f"false, and {s3.endpoint} is an address",
            expectation="true where the endpoint is an address",
            consequence="a bucket's name can be put before a host name, not before an address",
            example="true, or an endpoint with a host name",
        )


def _created_bucket(options_key: str, s3: S3) -> Iterator[ConfigError]:
    if not s3.create:
        return
    if s3.options.objectacl:
        yield ConfigError(
            "acl-on-created-bucket",
            f"{options_key}.objectacl",
            f"{s3.options.objectacl!r} for a bucket that the stack creates",
            expectation="objectacl only with create: false",
            consequence="the owner of a created bucket owns all objects in it, and S3 refuses every ACL",
            example="remove it, or create: false",
        )
    if s3.options.objectownership is False:
        yield ConfigError(
            "ownership-on-created-bucket",
            f"{options_key}.objectownership",
            "false for a bucket that the stack creates",
            expectation="true or left out for a created bucket",
            consequence="the registry would send ACLs, and S3 refuses every ACL for a created bucket",
            example="remove it, or create: false",
        )
    if s3.options.storageclass in _OF_ANOTHER_KIND:
        yield ConfigError(
            "storage-class-on-created-bucket",
            f"{options_key}.storageclass",
            f"{s3.options.storageclass!r} for a bucket that the stack creates",
            expectation=f"another storage class than {' and '.join(_OF_ANOTHER_KIND)} for a created bucket",
            consequence="only directory buckets and buckets on an Outpost have it: S3 would refuse every "
            "push",
            example="STANDARD, or create: false",
        )


def _log_words(d: Deployment, key: str, s3: S3, sites: list[str]) -> Iterator[ConfigError]:
    if s3.options.loglevel is None:
        return
    words = s3.options.loglevel.split(",")
    # An external registry does not know the key at all, which checks/storage.py reports.
    for site in (site for site in sites if not d.sites[site].external_registry):
        version = d.registry_version(site)
        known = [
            w for w, (since, until) in s3_regions.LOG_WORDS.items() if since <= version < (until or (999, 0))
        ]
        unknown = [word for word in words if word not in known]
        several = version >= s3_regions.LOG_LIST
        if unknown or (len(words) > 1 and not several):
            yield ConfigError(
                "s3-log-level-not-in-version",
                key,
                f"{s3.options.loglevel!r} is not known to {d.registry_name(site)}",
                expectation=f"{'one or more' if several else 'one'} of {', '.join(known)}",
                consequence="the S3 driver of that version would ignore it and log nothing",
                example=known[-1] if known else "remove it",
            )
            return
