"""oss: a real registry takes the rendered configuration and comes to the right address with the right credentials. The
address is a stand-in that takes down what it is asked (lab/oss_stub.py), no storage: there is no emulator.

azure and gcs have one: test_azure.py, test_gcs.py. The registries of all three are built by
`python -m lab.distribution`; what is not built is skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.cloud_proxy import certify, front
from lab.distribution import missing, program
from lab.oss_stub import Alibaba
from tests.configurations import per_site
from tests.lab.registries import RefusedError, registry, rendered

PLACE = {"bucket": "acme-tokyo", "region": "oss-eu-central-1", "rootdirectory": "images", "secure": True}


def asked_with(key: str, directory: Path) -> list[str]:
    """What tokyo's registry with this secret asks of a service that knows another one; it starts, or RefusedError."""
    if reason := missing("v2"):
        pytest.skip(reason)
    raw: dict[str, Any] = per_site() | {"gitlab_version": "16.11"}
    keys = {"accesskeyid": "LTAItokyo", "accesskeysecret": key}
    raw["sites"]["tokyo"] |= {"storage": {"oss": PLACE}, "credentials": {"oss": keys}}
    certify(directory)
    with (
        front(directory, Alibaba("LTAItokyo", "s3cr3t-value").answer) as there,
        registry(rendered(raw, "tokyo"), directory, (str(program("v2")),), there.env),
    ):
        return there.asked


def test_oss(tmp_path: Path) -> None:
    """The bucket's host in its region, signed with the access key."""
    asked = asked_with("s3cr3t-value", tmp_path)
    assert asked[0].startswith("GET https://acme-tokyo.oss-eu-central-1.aliyuncs.com/?")
    assert "prefix=images" in asked[0]


def test_a_wrong_key_is_refused_by_the_stand_in(tmp_path: Path) -> None:
    """The signature is checked: with another secret the registry does not start."""
    with pytest.raises(RefusedError):
        asked_with("another-secret", tmp_path)
