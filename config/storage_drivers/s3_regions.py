"""The regions and log levels that the registry's S3 driver knows, by version, as data."""

from __future__ import annotations

from omnibus.versions import DISTRIBUTION, OLDEST, Version

REGIONS: tuple[tuple[Version, tuple[str, ...]], ...] = (
    (
        DISTRIBUTION,
        (
            "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
            "ca-central-1", "eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1",
            "us-east-1", "us-east-2", "us-west-1", "us-west-2", "cn-north-1", "cn-northwest-1",
            "us-gov-west-1",
        ),
    ),
    (
        OLDEST,
        (
            "af-south-1", "ap-east-1", "ap-northeast-3", "ap-south-2", "ap-southeast-3", "ap-southeast-4",
            "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "me-central-1", "me-south-1",
            "us-gov-east-1", "us-iso-east-1", "us-iso-west-1", "us-isob-east-1",
        ),
    ),
    ((16, 4), ("il-central-1",)),
    ((17, 6), ("ca-west-1", "eu-isoe-west-1")),
)  # fmt: skip
"""From which version on the registry knows a region of S3. With any other, and without `regionendpoint`, it
does not start (`validating region provided`; run, 3.86, 4.32 and 4.39).

Source: the registry takes them from aws-sdk-go v1, aws/endpoints/defaults.go: v1.15.11 (Distribution 2.8),
v1.44.200 (container registry 3.72, GitLab 16.0), v1.45.11 (3.83, 16.4), v1.55.5 (4.13, 17.6, and still 4.39).
AWS has newer ones: mx-central-1, ap-southeast-5, -6, -7 and ap-east-2 for instance.
"""


def knows(region: str, version: Version) -> bool:
    """Whether the registry of that version accepts the region without an endpoint."""
    return any(region in names for since, names in REGIONS if since <= version)


def host(region: str) -> str | None:
    """S3's host name in a region; None in AWS' isolated partitions, which have other domains."""
    if "-iso" in region:
        return None
    return f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


LOG_WORDS: dict[str, tuple[Version, Version | None]] = {
    "logoff": (OLDEST, None),
    **dict.fromkeys(
        (
            "logdebug", "logdebugwithsigning", "logdebugwithhttpbody", "logdebugwithrequestretries",
            "logdebugwithrequesterrors", "logdebugwitheventstreambody",
        ),
        (OLDEST, (19, 0)),
    ),
    **dict.fromkeys(
        (
            "logsigning", "logretries", "logrequest", "logrequestwithbody", "logresponse",
            "logresponsewithbody", "logdeprecatedusage", "logrequesteventmessage", "logresponseeventmessage",
        ),
        ((19, 0), None),
    ),
}  # fmt: skip
"""Word of `loglevel` → from and before which version it says something: each of the two S3 drivers passes
over the other's words (container registry 4.32, s3-aws/common/parser.go)."""
LOG_LIST: Version = (18, 0)
"""From here on `loglevel` may have several words (container registry 4.20, commit 0f88aaaa)."""
