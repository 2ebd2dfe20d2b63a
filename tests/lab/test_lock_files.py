"""The lock file of shared storage, put in and looked for by the program on a node, at Azurite and fake-gcs-server.

What stands for the directory, for Google's sign-in and for roles is the lab's (azurite.py, gcs_emulator.py). With
GITLAB_REGISTRY that registry is started there, too, as a secondary's: it ends without the file.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.programs import GITLAB_NODE
from lab.azurite import CONTRIBUTOR, DELEGATOR, READER, Azure, Principal, azurite
from lab.cloud_proxy import Front, certify, front
from lab.distribution import missing
from lab.gcs_emulator import Google, emulator
from lab.gitlab_registry import chosen
from omnibus.ruby import filled
from plan import storage
from tests.configurations import deployment, per_site
from tests.lab.registries import RefusedError, registry, rendered
from tests.ruby import LOAD

FILESYSTEM = "docker/registry/lockfiles/filesystem-in-use"
TENANT = "0f1e2d3c-0000-4000-8000-00000000ac3e"
KEY = "bG9uZG9uJ3Mga2V5"
REAL = chosen()
LOCKS = REAL is not None and tuple(map(int, REAL.version.split("."))) >= (4, 33)
only_with_locks = pytest.mark.skipif(not LOCKS, reason="GITLAB_REGISTRY names no registry with lock files")
# What the program asks for goes to the front, as to a proxy that ends TLS.
RUN = (
    LOAD
    + """
order = JSON.parse($stdin.read)
Http.define_singleton_method(:call) do |method, url, headers: {}, body: nil, **_|
  request = Net::HTTP.const_get(method.capitalize).new(url, headers)
  request.body = body if body
  answer = Net::HTTP.start('127.0.0.1', order['front'], nil) { |http| http.request(request) }
  [answer.code.to_i, answer.body.to_s, answer]
end
begin
  puts JSON.generate(LockFiles.new(order).send(ARGV[1]))
rescue Failure => e
  puts JSON.generate('failed' => e.message, 'cause' => e.cause_text)
end
"""
)


def on_node(raw: dict[str, Any], site: str, verb: str, running: Front) -> dict[str, str]:
    """What the program says at a registry node of the site."""
    d = deployment(raw)
    keys = d.keys_of(site)
    secrets = keys.secrets() if keys else {}
    order = {
        "node": f"{site}-1", "site": site, "roles": ["registry"], "registry_kind": "omnibus", "files": {},
        "storage": filled(storage.access(d, site), secrets),
        "secrets": secrets,
        "front": running.port,
    }  # fmt: skip
    done = subprocess.run(
        ["ruby", "-rjson", "-e", RUN, str(GITLAB_NODE), verb],
        input=json.dumps(order), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout)
    return found


def shared(**place: Any) -> dict[str, Any]:
    raw = per_site() | {"gitlab_version": "18.11", "storage": {"mode": "shared", **place}}
    for site in raw["sites"].values():
        site.pop("storage")
    return raw


def missing_then_there(raw: dict[str, Any], running: Front) -> None:
    """Refused at tokyo, put in at london, left alone there, seen at tokyo."""
    refused = on_node(raw, "tokyo", "prove", running)
    assert refused["failed"] == "refused: its registry would not start again", refused
    assert on_node(raw, "london", "write", running) == {"lock_file": "written"}
    assert on_node(raw, "london", "write", running) == {"lock_file": "already exists"}
    assert on_node(raw, "tokyo", "prove", running) == {f"lock file {FILESYSTEM} is in the storage": "yes"}
    assert not [asked for asked, status in running.answered if asked.startswith("PUT") and status == 403]


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[tuple[Azure, Front]]:
    if reason := missing("azurite"):
        pytest.skip(reason)
    certify(tmp_path)
    with azurite(tmp_path, {"acmelondon": KEY}) as found, front(tmp_path, found.answer) as running:
        found.make("acmelondon", "registry")
        yield found, running


@pytest.mark.parametrize("root", [None, "images"])
@pytest.mark.parametrize(("london", "tokyo"), [
    ("shared_key", "client_secret"), ("client_secret", "default_credentials"), ("default_credentials", "client_secret"),
])  # fmt: skip
def test_azure(azure: tuple[Azure, Front], london: str, tokyo: str, root: str | None) -> None:
    """By the account's key, as an application, as what the server is; at the root and below a directory."""
    found, running = azure
    place = {"accountname": "acmelondon", "container": "registry"} | ({"rootdirectory": root} if root else {})
    raw = shared(azure=place)
    for site, kind, role in (("london", london, CONTRIBUTOR), ("tokyo", tokyo, READER)):
        keys: dict[str, str] = {"credentials_type": kind}
        if kind == "shared_key":
            keys["accountkey"] = KEY
        if kind == "client_secret":
            keys |= {"tenant_id": TENANT, "client_id": f"app-{site}", "secret": f"s3cr3t-{site}"}
        raw["sites"][site]["credentials"] = {"azure": keys}
        who = Principal({"": DELEGATOR, "registry": role}, TENANT, f"app-{site}", f"s3cr3t-{site}")
        found.principals.append(who)
        if kind == "default_credentials":
            found.server = who
    missing_then_there(raw, running)


def test_azure_below_the_directory_of_older_registries(azure: tuple[Azure, Front]) -> None:
    """Whose paths begin with a slash."""
    found, running = azure
    place = {"accountname": "acmelondon", "container": "registry", "legacyrootprefix": True}
    raw = shared(azure=place)
    raw["sites"]["london"]["credentials"] = {"azure": {"accountkey": KEY}}
    keys = {
        "credentials_type": "client_secret",
        "tenant_id": TENANT,
        "client_id": "c",
        "secret": "s3cr3t-tokyo",
    }
    raw["sites"]["tokyo"]["credentials"] = {"azure": keys}
    found.principals.append(Principal({"registry": READER}, TENANT, "c", "s3cr3t-tokyo"))
    missing_then_there(raw, running)
    assert any("/registry/%2Fdocker%2F" in asked for asked in running.asked)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[tuple[Google, Front]]:
    if reason := missing("gcs"):
        pytest.skip(reason)
    certify(tmp_path)
    found = Google()
    with emulator(tmp_path, ["acme"]), front(tmp_path, found.answer) as running:
        yield found, running


@pytest.mark.parametrize("kind", ["credentials", "keyfile", "application_default"])
def test_google(google: tuple[Google, Front], tmp_path: Path, kind: str) -> None:
    """London by a key's text, a key file, or as what the server is; tokyo by the text of a key that only reads."""
    found, running = google
    raw = shared(gcs={"bucket": "acme", "rootdirectory": "images"})
    london = found.account("london", acme="objectAdmin")
    tokyo = found.account("tokyo", acme="objectViewer")
    found.server = london
    file = tmp_path / "key.json"
    file.write_text(london.key_file())
    keys = {"credentials": london.key_file(), "keyfile": str(file), "application_default": True}
    raw["sites"]["london"]["credentials"] = {"gcs": {kind: keys[kind]}}
    raw["sites"]["tokyo"]["credentials"] = {"gcs": {"credentials": tokyo.key_file()}}
    missing_then_there(raw, running)


@only_with_locks
def test_gitlabs_own_registry_needs_it_at_azure(azure: tuple[Azure, Front], tmp_path: Path) -> None:
    """Images are there, this site may only read: without the file its registry ends, with it it serves."""
    found, running = azure
    raw = shared(azure={"accountname": "acmelondon", "container": "registry"})
    for site, role in (("london", CONTRIBUTOR), ("tokyo", READER)):
        keys = {"tenant_id": TENANT, "client_id": f"app-{site}", "secret": f"s3cr3t-{site}"}
        raw["sites"][site]["credentials"] = {"azure": {"credentials_type": "client_secret"} | keys}
        who = Principal({"": DELEGATOR, "registry": role}, TENANT, f"app-{site}", f"s3cr3t-{site}")
        found.principals.append(who)
    starts_only_with_it(raw, running, tmp_path)


@only_with_locks
def test_gitlabs_own_registry_needs_it_at_google(google: tuple[Google, Front], tmp_path: Path) -> None:
    """Likewise."""
    found, running = google
    raw = shared(gcs={"bucket": "acme", "rootdirectory": "images"})
    for site, right in (("london", "objectAdmin"), ("tokyo", "objectViewer")):
        keys = {"credentials": found.account(site, acme=right).key_file()}
        raw["sites"][site]["credentials"] = {"gcs": keys}
    starts_only_with_it(raw, running, tmp_path, redirects=True)
    pulls = [asked for asked in running.asked if "X-Goog-Signature=" in asked]
    assert pulls and all("X-Goog-Credential=tokyo" in asked for asked in pulls[-1:])


def starts_only_with_it(
    raw: dict[str, Any], running: Front, tmp_path: Path, *, redirects: bool = False
) -> None:
    """`redirects`: who pulls is sent to the storage by signed URLs, of which the lab's Azure does not know all kinds."""
    assert REAL
    serve = (str(REAL.path), "serve")
    settings = {
        site: rendered(raw, site) | ({} if redirects else {"redirect": {"disable": True}})
        for site in ("london", "tokyo")
    }
    with registry(settings["london"], tmp_path, serve, running.env) as london:
        digest = london.push("group/app:1", b"one")
    with pytest.raises(RefusedError), registry(settings["tokyo"], tmp_path, serve, running.env):
        pass
    assert "failed to mark filesystem only usage" in (tmp_path / "registry.log").read_text()
    assert on_node(raw, "london", "write", running) == {"lock_file": "written"}
    with registry(settings["tokyo"], tmp_path, serve, running.env) as tokyo:
        assert tokyo.pull("group/app:1") == digest
        assert tokyo.status("POST", "/v2/group/app/blobs/uploads/") == 405
