"""azure: a real registry on Azurite, with the settings that are rendered for it, by the account's real name.

Distribution 2.8's driver is GitLab's older `azure`. `azure_v2` has no public build: its settings go to Distribution 3's
driver, which has the same kinds of credentials under other names (`as_distribution_3`, which adds nothing). Azurite
checks account keys and shared access signatures; directory and roles are the lab's (lab/azurite.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.azurite import CONTRIBUTOR, DELEGATOR, READER, Azure, Principal, azurite
from lab.cloud_proxy import Front, certify, front
from lab.distribution import missing, program
from lab.registry import SkopeoError
from tests.configurations import SHARED, per_site
from tests.lab.registries import RefusedError, as_distribution_3, registry, rendered

KEYS = {"acmelondon": "bG9uZG9uJ3Mga2V5", "acmetokyo": "dG9reW8ncyBrZXk="}
TENANT = "0f1e2d3c-0000-4000-8000-00000000ac3e"
TAGS = "/v2/group/app/tags/list"


@dataclass(frozen=True)
class There:
    """Azure as registries find it."""

    azure: Azure
    front: Front

    def registry(self, version: str, storage: dict[str, Any], directory: Path) -> Any:
        provided = as_distribution_3(storage) if version == "v3" else storage
        return registry(provided, directory, (str(program(version)),), self.front.env)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[There]:
    if reason := missing("azurite", "v2", "v3"):
        pytest.skip(reason)
    certify(tmp_path)
    with azurite(tmp_path, KEYS) as azure, front(tmp_path, azure.answer) as running:
        azure.make("acmelondon", "registry")
        azure.make("acmetokyo", "registry")
        yield There(azure, running)


def own_accounts(key: str = KEYS["acmetokyo"]) -> dict[str, Any]:
    """GitLab 18.5, an account a site, tokyo's in another cloud of Azure's."""
    raw = per_site()
    places = {
        "london": {"accountname": "acmelondon"},
        "tokyo": {"accountname": "acmetokyo", "realm": "core.chinacloudapi.cn"},
    }
    for site, place in places.items():
        raw["sites"][site]["storage"] = {"azure": {"container": "registry"} | place}
        raw["sites"][site]["credentials"] = {
            "azure": {"accountkey": key if site == "tokyo" else KEYS["acmelondon"]}
        }
    return raw


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_an_account_a_site(there: There, tmp_path: Path, version: str) -> None:
    """Each registry has what was pushed to it and nothing of the other's; each asks at its own realm, with its key."""
    raw = own_accounts()
    with there.registry(version, rendered(raw, "london"), tmp_path) as london:
        pushed = london.push("group/app:1", b"of london")
        assert london.pull("group/app:1") == pushed
        assert london.status("GET", TAGS) == 200
    with there.registry(version, rendered(raw, "tokyo"), tmp_path) as tokyo:
        assert tokyo.status("GET", TAGS) == 404
        other = tokyo.push("group/app:1", b"of tokyo")
        assert tokyo.pull("group/app:1") == other != pushed
    with there.registry(version, rendered(raw, "london"), tmp_path) as london:
        assert london.pull("group/app:1") == pushed
        assert london.status("GET", TAGS) == 200
    hosts = {asked.split("/")[2] for asked in there.front.asked}
    assert hosts == {"acmelondon.blob.core.windows.net", "acmetokyo.blob.core.chinacloudapi.cn"}


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_another_account_key_is_refused(there: There, tmp_path: Path, version: str) -> None:
    """By Azurite, which signs for itself: nothing is pushed."""
    raw = own_accounts(KEYS["acmelondon"])
    with (
        pytest.raises((RefusedError, SkopeoError)),
        there.registry(version, rendered(raw, "tokyo"), tmp_path) as tokyo,
    ):
        tokyo.push("group/app:1", b"of tokyo")
    assert there.front.answered and all(status >= 400 for _, status in there.front.answered)


KINDS = {
    "shared_key": {"accountkey": KEYS["acmelondon"]},
    "client_secret": {"credentials_type": "client_secret", "tenant_id": TENANT},
    "default_credentials": {"credentials_type": "default_credentials"},
}


def shared(london: str, tokyo: str) -> dict[str, Any]:
    """One container for both sites, with these kinds of credentials."""
    raw = copy.deepcopy(SHARED)
    place = {"container": "registry", "accountname": "acmelondon", "rootdirectory": "images"}
    raw["storage"] = {"mode": "shared", "azure": place}
    for site, kind in {"london": london, "tokyo": tokyo}.items():
        own = {"client_id": f"app-{site}", "secret": f"s3cr3t-{site}"} if kind == "client_secret" else {}
        raw["sites"][site]["credentials"] = {"azure": KINDS[kind] | own}
    return raw


def allow(azure: Azure, site: str, role: str) -> Principal:
    """A role on the container; and on the account what a registry needs that sends its clients to it."""
    found = Principal({"": DELEGATOR, "registry": role}, TENANT, f"app-{site}", f"s3cr3t-{site}")
    azure.principals.append(found)
    return found


@pytest.mark.parametrize(
    ("london", "tokyo"),
    [
        ("shared_key", "client_secret"),
        ("client_secret", "default_credentials"),
        ("default_credentials", "client_secret"),
    ],
)
def test_the_primary_writes_and_a_secondary_only_reads(
    there: There, tmp_path: Path, london: str, tokyo: str
) -> None:
    """Pushed to london's, pulled from tokyo's with equal digest; tokyo's refuses a push (405), and without that the
    storage would, to which tokyo is no more than a reader.
    """
    raw, kinds = shared(london, tokyo), {"london": london, "tokyo": tokyo}
    who = {"london": allow(there.azure, "london", CONTRIBUTOR), "tokyo": allow(there.azure, "tokyo", READER)}
    settings = {site: rendered(raw, site) for site in who}
    there.azure.server = who["london"]
    with there.registry("v3", settings["london"], tmp_path) as first:
        digest = first.push("group/app:1", b"one")
    assert came(there, kinds["london"])
    there.front.asked.clear()
    there.azure.server = who["tokyo"]
    with there.registry("v3", settings["tokyo"], tmp_path) as second:
        assert second.pull("group/app:1") == digest
        assert second.status("POST", "/v2/group/app/blobs/uploads/") == 405
    assert came(there, kinds["tokyo"])
    assert any("&sig=" in asked for asked in there.front.asked), "who pulls is sent to the storage itself"
    writable = {name: value for name, value in settings["tokyo"].items() if name != "maintenance"}
    with there.registry("v3", writable, tmp_path) as second:
        assert second.pull("group/app:1") == digest
        there.front.answered.clear()
        with pytest.raises(SkopeoError):
            second.push("group/app:2", b"two")
    assert [status for asked, status in there.front.answered if asked.startswith("PUT")] == [403]


def came(there: There, kind: str) -> bool:
    """Whether the registry signed in as it was configured to, and only so."""
    directory = f"POST https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token" in there.front.asked
    server = any(
        asked.startswith("GET https://169.254.169.254/metadata/identity/oauth2/token?")
        for asked in there.front.asked
    )
    return (directory, server) == (kind == "client_secret", kind == "default_credentials")


def test_another_secret_is_refused(there: There, tmp_path: Path) -> None:
    """By the directory; nothing is asked of the storage."""
    raw = shared("client_secret", "default_credentials")
    allow(there.azure, "london", CONTRIBUTOR)
    raw["sites"]["london"]["credentials"]["azure"]["secret"] = "another"
    with there.registry("v3", rendered(raw, "london"), tmp_path) as london, pytest.raises(SkopeoError):
        london.push("group/app:1", b"one")
    assert not [asked for asked in there.front.asked if "blob.core" in asked]
    assert 401 in {status for _, status in there.front.answered}


def test_a_role_on_the_container_alone_cannot_send_clients_to_the_storage(
    there: There, tmp_path: Path
) -> None:
    """The key that signs their URLs is the account's: Storage Blob Delegator there, or no redirects."""
    raw = shared("client_secret", "default_credentials")
    role = Principal({"registry": CONTRIBUTOR}, TENANT, "app-london", "s3cr3t-london")
    there.azure.principals.append(role)
    settings = rendered(raw, "london")
    with there.registry("v3", settings, tmp_path) as london, pytest.raises(SkopeoError):
        london.push("group/app:1", b"one")
    with there.registry("v3", settings | {"redirect": {"disable": True}}, tmp_path) as london:
        assert london.push("group/app:1", b"one") == london.pull("group/app:1")
