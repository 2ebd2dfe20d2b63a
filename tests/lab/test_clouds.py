"""gcs, azure and oss: a real registry takes the rendered configuration and comes to the right address with the right
credentials. The address is a stand-in that takes down what it is asked (lab/fake_cloud.py), no storage.

The registries are built by `python -m lab.distribution`; what is not built is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lab.distribution import program
from lab.fake_cloud import Cloud, cloud
from tests.configurations import per_site
from tests.lab.registries import RefusedError, registry, rendered


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Cloud]:
    with cloud(tmp_path) as running:
        yield running


def built(version: str) -> tuple[str, ...]:
    if not program(version).exists():
        pytest.skip("not built: .venv/bin/python -m lab.distribution")
    return (str(program(version)),)


def at_tokyo(version: str, place: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    raw = per_site() | {"gitlab_version": version}
    raw["sites"]["tokyo"] |= {"storage": place, "credentials": keys}
    return raw


def service_account() -> tuple[str, rsa.RSAPublicKey]:
    """A key file as Google makes it, and the half that Google keeps."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account", "project_id": "acme", "private_key_id": "k1", "private_key": pem.decode(),
        "client_email": "tokyo@acme.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    return json.dumps(account), key.public_key()


@pytest.mark.parametrize("given", ["credentials", "keyfile"])
def test_gcs(there: Cloud, tmp_path: Path, given: str) -> None:
    """Signed in with the service account's key, by its text or its file, then the bucket is listed below the root."""
    text, there.public_key = service_account()
    file = tmp_path / "key.json"
    file.write_text(text)
    keys = {"credentials": text} if given == "credentials" else {"keyfile": str(file)}
    place = {"bucket": "acme-tokyo", "rootdirectory": "images", "chunksize": 5 << 20, "maxconcurrency": 50}
    raw = at_tokyo("18.5", {"gcs": place}, {"gcs": keys})
    with registry(rendered(raw, "tokyo"), tmp_path, built("v3"), there.env) as running:
        running.status("GET", "/v2/_catalog")
    assert there.asked[0] == "POST https://oauth2.googleapis.com/token"
    listed = there.asked[1]
    assert listed.startswith("GET https://storage.googleapis.com/storage/v1/b/acme-tokyo/o?")
    assert "prefix=images%2Fdocker%2Fregistry%2Fv2%2Frepositories" in listed


def test_azure(there: Cloud, tmp_path: Path) -> None:
    """The account's host, the container, signed with the account's name; by the driver before azure_v2, which has
    account keys only: of roles there is only the rendered configuration (tests/unit/test_storages.py).
    """
    there.account = "acmeregistry"
    place = {"container": "registry", "accountname": "acmeregistry"}
    raw = at_tokyo("18.5", {"azure": place}, {"azure": {"accountkey": "c2VjcmV0LWtleQ=="}})
    with registry(rendered(raw, "tokyo"), tmp_path, built("v2"), there.env) as running:
        running.status("GET", "/v2/_catalog")
    assert there.asked[0] == "PUT https://acmeregistry.blob.core.windows.net/registry?restype=container"
    listed = "https://acmeregistry.blob.core.windows.net/registry?comp=list&prefix="
    assert there.asked[1].startswith(f"GET {listed}")


def test_oss(there: Cloud, tmp_path: Path) -> None:
    """The bucket's host in its region, signed with the access key."""
    there.oss_key = ("LTAItokyo", "s3cr3t-value")
    place = {"bucket": "acme-tokyo", "region": "oss-eu-central-1", "rootdirectory": "images", "secure": True}
    raw = at_tokyo(
        "16.11", {"oss": place}, {"oss": {"accesskeyid": "LTAItokyo", "accesskeysecret": "s3cr3t-value"}}
    )
    with registry(rendered(raw, "tokyo"), tmp_path, built("v2"), there.env):
        pass
    assert there.asked[0].startswith("GET https://acme-tokyo.oss-eu-central-1.aliyuncs.com/?")
    assert "prefix=images" in there.asked[0]


def test_a_wrong_key_is_refused_by_the_stand_in(there: Cloud, tmp_path: Path) -> None:
    """The signature is checked: with another secret the registry does not start."""
    there.oss_key = ("LTAItokyo", "another-secret")
    place = {"bucket": "acme-tokyo", "region": "oss-eu-central-1"}
    raw = at_tokyo(
        "16.11", {"oss": place}, {"oss": {"accesskeyid": "LTAItokyo", "accesskeysecret": "s3cr3t-value"}}
    )
    with pytest.raises(RefusedError), registry(rendered(raw, "tokyo"), tmp_path, built("v2"), there.env):
        pass
