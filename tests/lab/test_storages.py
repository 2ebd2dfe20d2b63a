"""Drivers beside the lab's S3, with a real registry (Distribution 2.8) and real storage: OpenStack Swift, by its own
protocol and by S3, and a directory. Swift checks users, signatures and permissions itself.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.storage_drivers import identity
from hosts.programs import GITLAB_NODE
from lab.storage_servers import Swift, swift
from tests.configurations import deployment, per_site
from tests.lab.registries import RefusedError, registry, rendered
from tests.ruby import LOAD

USERS = ["acme_london=london-key-0123 .admin", "acme_tokyo=tokyo-key-0123"]
KEYS = {"london": "london-key-0123", "tokyo": "tokyo-key-0123"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """Two containers of one account: london may do everything, tokyo only list and read."""
    with swift(tmp_path_factory.mktemp("swift"), USERS) as running:
        for container in ("registry", "registry-s3"):
            assert (
                as_user(running, "london", "PUT", f"/{container}", X_Container_Read="acme:tokyo,.rlistings")
                == 201
            )
        yield running


def as_user(server: Swift, site: str, method: str, path: str, **headers: str) -> int:
    return server.request(f"acme:{site}", KEYS[site], method, path, **headers)[0]


def shared_swift(url: str) -> dict[str, Any]:
    """GitLab 16.11 on Swift; the secondary's user may only read."""
    place = {"container": "registry", "authurl": f"{url}/auth/v1.0", "authversion": 1, "prefix": "images"}
    raw = per_site() | {"gitlab_version": "16.11", "storage": {"mode": "shared", "swift": place}}
    for site in raw["sites"]:
        raw["sites"][site].pop("storage")
        raw["sites"][site]["credentials"] = {"swift": {"username": f"acme:{site}", "password": KEYS[site]}}
    return raw


def shared_s3(url: str) -> dict[str, Any]:
    """The newest GitLab on an S3 server that is not AWS; the secondary's key may only read."""
    place = {"bucket": "registry-s3", "region": "eu-west-1", "endpoint": url, "create": False}
    raw = per_site() | {"gitlab_version": "19.0", "storage": {"mode": "shared", "s3": place}}
    for site in raw["sites"]:
        raw["sites"][site].pop("storage")
        raw["sites"][site]["s3_keys"] = {"access_key": f"acme:{site}", "secret_key": KEYS[site]}
    return raw


def storages(server: Swift) -> dict[str, tuple[dict[str, Any], str]]:
    return {"swift": (shared_swift(server.url), "/registry"), "s3": (shared_s3(server.url), "/registry-s3")}


@pytest.mark.parametrize("driver", ["swift", "s3"])
def test_the_primary_writes_and_a_secondary_only_reads(server: Swift, tmp_path: Path, driver: str) -> None:
    """An image pushed to london's registry is pulled from tokyo's with equal digest; tokyo's refuses a push (405), and
    with its credentials the storage refuses a write (403) that it takes from london.
    """
    raw, container = storages(server)[driver]
    with registry(rendered(raw, "london", driver), tmp_path) as london:
        digest = london.push("group/app:1", b"one")
    assert b"docker/registry/v2/blobs" in server.request("acme:london", KEYS["london"], "GET", container)[1]
    with registry(rendered(raw, "tokyo", driver), tmp_path) as tokyo:
        assert tokyo.pull("group/app:1") == digest
        assert tokyo.status("POST", "/v2/group/app/blobs/uploads/") == 405
    assert as_user(server, "tokyo", "PUT", f"{container}/probe") == 403
    assert as_user(server, "london", "PUT", f"{container}/probe") == 201


def test_a_wrong_password_keeps_the_registry_from_starting(server: Swift, tmp_path: Path) -> None:
    """Swift's own answer, at the address of the configuration."""
    raw = shared_swift(server.url)
    raw["sites"]["london"]["credentials"]["swift"]["password"] = "wrong"
    with (
        pytest.raises(RefusedError, match="swift authentication failed: Authorization Failed"),
        registry(rendered(raw, "london"), tmp_path),
    ):
        pass


PROVE = (
    LOAD
    + """
order = JSON.parse($stdin.read)
begin
  puts JSON.generate(ARGV[1] == 'lock_file' ? LockFiles.new(order).write : Storage.prove(order))
rescue Failure => e
  puts "#{e.message}: #{e.cause_text}"
end
"""
)


def proven(raw: dict[str, Any], site: str, secret: str, *, write: bool, verb: str = "prove") -> str:
    """What the program on the node says of a site's permissions, tried at the S3 server; or of its lock file."""
    s3 = deployment(raw).storage_of(site)
    assert s3
    access = {
        **identity.identity(s3),
        "shown": identity.shown(s3),
        "write": write,
        "patience": 0,
        "bucket": s3.bucket,
    }
    access |= {
        "region": s3.region,
        "endpoint": s3.endpoint,
        "path_style": s3.path_style,
        "access_key": f"acme:{site}",
        "secret_key": secret,
    }
    order = {
        "node": f"{site}-1",
        "site": site,
        "roles": ["registry"],
        "registry_kind": "omnibus",
        "files": {},
    }
    done = subprocess.run(
        ["ruby", "-rjson", "-e", PROVE, str(GITLAB_NODE), verb],
        input=json.dumps({**order, "storage": access}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_the_proof_tries_rights_at_another_s3_server(server: Swift) -> None:
    """A reader's write is refused there, a writer that should be none is found out, a wrong key as well."""
    raw = shared_s3(server.url)
    assert "its registry would not start again" in proven(raw, "tokyo", KEYS["tokyo"], write=False)
    for done in ("written", "already exists"):
        assert done in proven(raw, "london", KEYS["london"], write=True, verb="lock_file")
    assert 'refuses a write and a delete with it":"403' in proven(raw, "tokyo", KEYS["tokyo"], write=False)
    assert "can be read and written" in proven(raw, "london", KEYS["london"], write=True)
    assert "could change the shared storage" in proven(raw, "london", KEYS["london"], write=False)
    assert "SignatureDoesNotMatch" in proven(raw, "tokyo", "wrong", write=False)


def test_a_stated_directory_holds_the_images(tmp_path: Path) -> None:
    """filesystem, of one site: the registry writes there and nowhere else."""
    raw = per_site()
    raw["sites"]["tokyo"]["storage"] = {
        "filesystem": {"rootdirectory": str(tmp_path / "images"), "maxthreads": 100}
    }
    with registry(rendered(raw, "tokyo"), tmp_path) as tokyo:
        assert tokyo.push("group/app:1", b"one") == tokyo.pull("group/app:1")
    assert (tmp_path / "images/docker/registry/v2/repositories/group/app").is_dir()
