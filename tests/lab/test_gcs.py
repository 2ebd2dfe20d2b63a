"""gcs: Distribution 3's registry on fake-gcs-server, with the settings that are rendered for it, by Google's names.

The emulator keeps objects and asks nobody who they are; sign-in, signatures and permissions are the lab's (lab/gcs_emulator.py).
This driver signs with a server's own identity too, which must be a Service Account Token Creator for itself; drivers
before it hand the images out themselves then.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lab.cloud_proxy import Front, Request, certify, front
from lab.distribution import missing, program
from lab.gcs_emulator import Account, Google, emulator
from lab.gitlab_registry import chosen
from lab.registry import SkopeoError
from tests.configurations import SHARED, per_site
from tests.lab.registries import registry, rendered

KINDS = ("credentials", "keyfile", "application_default")
SIGN_IN = "POST https://oauth2.googleapis.com/token"
TAGS = "/v2/group/app/tags/list"
REAL = chosen()


@dataclass(frozen=True)
class There:
    """Google as registries find it."""

    google: Google
    front: Front

    def registry(self, storage: dict[str, Any], directory: Path) -> Any:
        # Where Google's libraries look for the server's own identity, in place of a link-local address.
        env = {"GCE_METADATA_HOST": f"127.0.0.1:{self.front.port}"}
        return registry(storage, directory, (str(program("v3")),), self.front.env | env)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[There]:
    if reason := missing("gcs", "v3"):
        pytest.skip(reason)
    certify(tmp_path)
    google = Google()
    with emulator(tmp_path, ["acme-london", "acme-tokyo"]), front(tmp_path, google.answer) as running:
        yield There(google, running)


def keys(account: Account, kind: str, directory: Path) -> dict[str, Any]:
    """The site's credentials of this kind."""
    if kind == "application_default":
        return {kind: True}
    if kind == "credentials":
        return {kind: account.key_file()}
    file = directory / f"{account.email.partition('@')[0]}.json"
    file.write_text(account.key_file())
    return {kind: str(file)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_a_site(there: There, tmp_path: Path, kind: str) -> None:
    """Each registry has what was pushed to it and nothing of the other's; the settings of an upload are taken."""
    raw = per_site()
    accounts = {
        "london": there.google.account("london", acme_london="objectAdmin"),
        "tokyo": there.google.account("tokyo", acme_tokyo="objectAdmin"),
    }
    for site, account in accounts.items():
        place = {"bucket": f"acme-{site}", "chunksize": 256 << 10, "maxconcurrency": 50}
        raw["sites"][site]["storage"] = {"gcs": place}
        raw["sites"][site]["credentials"] = {"gcs": keys(account, kind, tmp_path)}
    pushed = {}
    for site, account in accounts.items():
        there.google.server = account
        with there.registry(rendered(raw, site), tmp_path) as its:
            assert its.status("GET", TAGS) == 404
            pushed[site] = its.push("group/app:1", site.encode())
            assert its.pull("group/app:1") == pushed[site]
            assert its.status("GET", TAGS) == 200
    assert pushed["london"] != pushed["tokyo"]
    there.google.server = accounts["london"]
    with there.registry(rendered(raw, "london"), tmp_path) as london:
        assert london.pull("group/app:1") == pushed["london"]
    assert (SIGN_IN in there.front.asked) == (kind != "application_default")


@pytest.mark.parametrize(("london", "tokyo"), [*zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True)])
def test_the_primary_writes_and_a_secondary_only_reads(
    there: There, tmp_path: Path, london: str, tokyo: str
) -> None:
    """Pushed to london's, pulled from tokyo's with equal digest; tokyo's refuses a push (405), and without that the
    storage would, to which tokyo's account is no more than a viewer.
    """
    raw = copy.deepcopy(SHARED)
    raw["storage"] = {"mode": "shared", "gcs": {"bucket": "acme-london", "rootdirectory": "images"}}
    who = {
        "london": there.google.account("london", acme_london="objectAdmin"),
        "tokyo": there.google.account("tokyo", acme_london="objectViewer"),
    }
    for site, kind in {"london": london, "tokyo": tokyo}.items():
        raw["sites"][site]["credentials"] = {"gcs": keys(who[site], kind, tmp_path)}
    settings = {site: rendered(raw, site) for site in who}
    there.google.server = who["london"]
    with there.registry(settings["london"], tmp_path) as first:
        digest = first.push("group/app:1", b"one")
    there.google.server = who["tokyo"]
    with there.registry(settings["tokyo"], tmp_path) as second:
        assert second.pull("group/app:1") == digest
        assert second.status("POST", "/v2/group/app/blobs/uploads/") == 405
    assert any("GoogleAccessId=tokyo" in asked for asked in there.front.asked), (
        "who pulls is sent to the storage"
    )
    writable = {name: value for name, value in settings["tokyo"].items() if name != "maintenance"}
    with there.registry(writable, tmp_path) as second:
        assert second.pull("group/app:1") == digest
        there.front.answered.clear()
        with pytest.raises(SkopeoError):
            second.push("group/app:2", b"two")
    uploads = [
        status for asked, status in there.front.answered if "/upload/storage/v1/b/acme-london/o?" in asked
    ]
    assert set(uploads) == {403}


def test_urls_are_taken_as_google_takes_them() -> None:
    """GitLab's registry signs in version 4: for this method and path, with this account's key, and no other."""
    google = Google()
    london, other = (
        google.account("london", acme="objectViewer"),
        google.account("other", acme="objectViewer"),
    )
    scope = "20261129/auto/storage/goog4_request"
    query = "&".join([
        "X-Goog-Algorithm=GOOG4-RSA-SHA256", f"X-Goog-Credential={quote(f'{london.email}/{scope}', safe='')}",
        "X-Goog-Date=20261129T210000Z", "X-Goog-Expires=1199", "X-Goog-SignedHeaders=host",
    ])  # fmt: skip
    canonical = f"GET\n/acme/images/a%20b\n{query}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"GOOG4-RSA-SHA256\n20261129T210000Z\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"

    def taken(method: str, path: str, signature: bytes) -> bool:
        headers = Message()
        headers["Host"] = "storage.googleapis.com"
        target = f"{path}?{query}&X-Goog-Signature={signature.hex()}"
        return google._signer(Request(method, "storage.googleapis.com", target, headers, b"")) == london

    right = london.sign(text.encode())
    assert taken("GET", "/acme/images/a%20b", right)
    assert not taken("PUT", "/acme/images/a%20b", right)
    assert not taken("GET", "/acme/images/c", right)
    assert not taken("GET", "/acme/images/a%20b", other.sign(text.encode()))


@pytest.mark.skipif(REAL is None, reason="GITLAB_REGISTRY names no registry")
def test_gitlabs_own_registry_sends_who_pulls_to_the_storage(tmp_path: Path) -> None:
    """By URLs of version 4; 3.86, the oldest that was run, signs in version 2."""
    if reason := missing("gcs"):
        pytest.skip(reason)
    assert REAL
    certify(tmp_path)
    google = Google()
    account = google.account("london", acme_london="objectAdmin")
    raw = per_site()
    raw["sites"]["london"] |= {
        "storage": {"gcs": {"bucket": "acme-london"}},
        "credentials": {"gcs": {"credentials": account.key_file()}},
    }
    serve = (str(REAL.path), "serve")
    with (
        emulator(tmp_path, ["acme-london"]),
        front(tmp_path, google.answer) as running,
        registry(rendered(raw, "london"), tmp_path, serve, running.env) as london,
    ):
        digest = london.push("group/app:1", b"one")
        assert london.pull("group/app:1") == digest
        signed = "GoogleAccessId=london" if REAL.version.startswith("3.") else "X-Goog-Signature="
        assert any(signed in asked and "/acme-london/" in asked for asked in running.asked)


def test_another_key_is_refused(there: There, tmp_path: Path) -> None:
    """An account's name beside the key of another: the sign-in fails, and nothing is asked of the storage."""
    account = there.google.account("london", acme_london="objectAdmin")
    forged = Account(account.email, {}).key_file()
    raw = per_site()
    raw["sites"]["london"] |= {
        "storage": {"gcs": {"bucket": "acme-london"}},
        "credentials": {"gcs": {"credentials": forged}},
    }
    with there.registry(rendered(raw, "london"), tmp_path) as london, pytest.raises(SkopeoError):
        london.push("group/app:1", b"one")
    assert set(there.front.asked) == {SIGN_IN}
