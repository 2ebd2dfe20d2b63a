"""GitLab's registry configuration in front of Debian's registry: what starts, what refuses to."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.lab.omnibus.gitlab_site import GitLabSite
from tests.lab.omnibus.gitlab_tree import OMNIBUS, made, run_as, wait_for


@pytest.fixture
def site() -> Iterator[GitLabSite]:
    with made("london") as (tree,):
        yield GitLabSite(tree)


class Bucket(BaseHTTPRequestHandler):
    """An S3 server without an object in it, which remembers who asked."""

    asked: ClassVar[list[dict[str, str]]] = []
    right_key = "a"

    def do_GET(self) -> None:
        if (
            "/right-key-only" in self.path
            and f"Credential={self.right_key}/" not in self.headers["Authorization"]
        ):
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.asked.append({name.lower(): value for name, value in self.headers.items()})
        found = b"<ListBucketResult/>" if "list-type=2" in self.path else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of such a server: from GitLab 18.8 on a registry does not start without its storage."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def refuses(site: GitLabSite) -> str:
    """The registry must end by itself; what it says."""
    command = [str(OMNIBUS / "embedded/bin/registry"), "serve", str(site.tree.path("/registry.yml"))]
    done = subprocess.run(
        command,
        env=site.tree.environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=10,
        user=run_as(),
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_it_starts_with_what_a_reconfigure_writes(site: GitLabSite) -> None:
    """Also with keys that only GitLab's registry knows."""
    site.reconfigure(
        "registry['gc'] = { 'disabled' => true }\nregistry['redis'] = { 'cache' => { 'enabled' => false } }\n"
    )
    with site.running("rails", "registry"):
        site.push("group/app", "1")


def test_its_environment_is_clean(site: GitLabSite, bucket: str) -> None:
    """With AWS_CA_BUNDLE Debian's registry panics as soon as it has S3 for storage."""
    site.reconfigure(
        "registry['storage'] = { 's3_v2' => { 'bucket' => 'b', 'region' => 'eu-west-1', 'accesskey' => 'a',"
        f" 'secretkey' => 's', 'regionendpoint' => '{bucket}' }} }}\n"
    )
    with site.registry(AWS_CA_BUNDLE="/nowhere.pem"):
        pass


def test_two_drivers_refuse_to_start(site: GitLabSite) -> None:
    """Although the reconfigure let them pass; one of them alone starts."""
    site.reconfigure(
        "registry['storage'] = { 'inmemory' => {}, 'filesystem' => { 'rootdirectory' => '/nowhere' } }\n"
    )
    assert "must provide exactly one storage type" in refuses(site)
    site.reconfigure("registry['storage'] = { 'inmemory' => {} }\n")
    with site.registry():
        pass


@pytest.mark.parametrize(
    ("version", "driver"),
    [
        ("18.11.0", "swift"),
        ("18.11.0", "oss"),
        ("17.0.0", "swift"),
        ("18.11.0", "fliesystem"),
        ("16.6.1", "s3_v2"),
        ("16.6.1", "azure_v2"),
    ],
)
def test_drivers_that_gitlabs_registry_does_not_have(site: GitLabSite, version: str, driver: str) -> None:
    """Debian's has swift; GitLab's has not had it since 17.0. The newer ones are not in every version."""
    site.tree.install(version)
    site.reconfigure(f"registry['storage'] = {{ '{driver}' => {{ 'container' => 'x' }} }}\n")
    assert f"StorageDriver not registered: {driver}" in refuses(site)


def test_swift_before_it_was_removed(site: GitLabSite) -> None:
    """Up to GitLab 16.11 it is there: its own complaint is Distribution's."""
    site.tree.install("16.11.0")
    site.reconfigure("registry['storage'] = { 'swift' => { 'container' => 'x' } }\n")
    said = refuses(site)
    assert "not registered" not in said
    assert "no username parameter provided" in said


def s3(**options: object) -> str:
    """A storage that needs nobody to answer when the registry starts, before GitLab 18.8."""
    keys = {"bucket": "b", "region": "eu-west-1", "accesskey": "a", "secretkey": "s"} | options
    return f"registry['storage'] = {{ 's3' => JSON.parse('{json.dumps(keys)}') }}\n"


@pytest.mark.parametrize(
    ("version", "region"),
    [
        ("18.11.0", "mx-central-1"),
        ("18.11.0", "ap-southeast-5"),
        ("19.3.0", "ap-southeast-7"),
        ("18.11.0", "moon-1"),
        ("16.6.1", "ca-west-1"),
    ],
)
def test_regions_that_the_driver_does_not_know(
    site: GitLabSite, bucket: str, version: str, region: str
) -> None:
    """They end it at its start, unless it has the endpoint's address."""
    site.tree.install(version)
    site.reconfigure(s3(region=region))
    assert f"1 error occurred:\n\t* validating region provided: {region}\n" in refuses(site)
    site.reconfigure(s3(region=region, regionendpoint=bucket))
    with site.registry():
        pass


@pytest.mark.parametrize(("version", "region"), [("18.7.0", "ca-west-1"), ("16.6.1", "il-central-1")])
def test_regions_that_only_debians_registry_does_not_know(
    site: GitLabSite, version: str, region: str
) -> None:
    """GitLab's takes them, and so it starts."""
    site.tree.install(version)
    site.reconfigure(s3(region=region))
    with site.registry():
        pass


@pytest.mark.parametrize(("version", "largest"), [("18.11.0", 2684354560), ("16.6.1", 5368709120)])
def test_chunks_that_the_driver_refuses(site: GitLabSite, bucket: str, version: str, largest: int) -> None:
    """Larger than half of what S3 takes, in 16.6 than all of it, or smaller than S3's least."""
    site.tree.install(version)
    for size in (largest + 1, 5242879):
        site.reconfigure(s3(chunksize=size))
        assert f"the chunksize {size} parameter should be a number between 5242880 and {largest}" in refuses(
            site
        )
    site.reconfigure(s3(chunksize=largest, regionendpoint=bucket))
    with site.registry():
        pass


def test_both_problems_are_told_at_once(site: GitLabSite) -> None:
    site.reconfigure(s3(region="mx-central-1", chunksize=1))
    assert "creating new registry instance: configuring application: 2 errors occurred:" in refuses(site)


def test_a_session_token_is_not_read(site: GitLabSite, bucket: str) -> None:
    """The storage is asked with the key alone, as if none had been stated."""
    Bucket.asked.clear()
    site.reconfigure(s3(accesskey="AKEY", sessiontoken="of-a-session", regionendpoint=bucket))
    with site.running("rails", "registry"):
        site.call("GET", "/v2/group/app/tags/list", "repository:group/app:pull")
    assert Bucket.asked
    assert all("Credential=AKEY/" in one["authorization"] for one in Bucket.asked)
    assert not [one for one in Bucket.asked if "x-amz-security-token" in one]


@pytest.mark.parametrize(("version", "starts"), [("18.7.0", True), ("18.8.0", False), ("18.11.0", False)])
def test_wrong_credentials_at_the_start(site: GitLabSite, bucket: str, version: str, starts: bool) -> None:
    """From 18.8 on they end the registry there; before, the first push fails. With the right key all of them start."""
    site.tree.install(version)
    place = {"bucket": "right-key-only", "regionendpoint": bucket}
    site.reconfigure(s3(accesskey="another", **place))
    if starts:
        with site.registry():
            pass
    else:
        said = refuses(site)
        assert "configuring application" in said
        assert "403" in said or "AccessDenied" in said or "Forbidden" in said, said
    site.reconfigure(s3(**place))
    with site.registry():
        pass


def test_keys_that_nobody_knows_are_ignored(site: GitLabSite, bucket: str) -> None:
    """Without a word, in every driver."""
    site.reconfigure(s3(nonsense="1", regionendpoint=bucket))
    with site.registry():
        pass
    assert "nonsense" not in site.log()
    site.reconfigure("registry['storage']['filesystem']['nonsense'] = 1\n")
    with site.registry():
        pass


@pytest.mark.parametrize("driver", ["s3", "s3aws", "s3_v2"])
def test_all_names_of_s3_are_one_driver(site: GitLabSite, driver: str) -> None:
    """Known by what it asks for."""
    site.reconfigure(f"registry['storage'] = {{ '{driver}' => {{ 'region' => 'eu-west-1' }} }}\n")
    assert "no bucket parameter provided" in refuses(site)


def test_a_timeout_without_a_unit_is_refused(site: GitLabSite) -> None:
    """'500' is no duration; the Integer 500 is one, of 500 nanoseconds."""
    site.reconfigure(site.geo_event().replace("'name'", "'timeout' => '500', 'name'"))
    assert "500" in refuses(site)
    site.reconfigure(site.geo_event().replace("'name'", "'timeout' => 500, 'name'"))
    with site.registry():
        wait_for(lambda: "timeout=500ns" in site.log())


def test_a_read_only_registry_answers_405(site: GitLabSite) -> None:
    """To pushes and deletes; it reads as before."""
    site.reconfigure()
    with site.running("rails", "registry"):
        digest = site.push("group/app", "1")
    site.reconfigure("registry['storage']['maintenance'] = { 'readonly' => { 'enabled' => true } }\n")
    with site.running("rails", "registry"):
        assert (
            site.call("POST", "/v2/group/app/blobs/uploads/", "repository:group/app:pull,push", b"").status
            == 405
        )
        assert site.delete("group/app", digest) == 405
        assert site.tags("group/app") == {"1": digest}
