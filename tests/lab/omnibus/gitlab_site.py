"""A GitLab site on loopback ports: the lab's Rails and Sidekiq, Debian's registry, and a client of both."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.omnibus.gitlab_tree import CERTIFICATE, CONFIG_YML, OMNIBUS, GitLabTree, wait_for
from tests.ports import free_port

RUBY = ("/usr/bin/ruby", "--disable-gems")
DATABASE = "/var/opt/gitlab/postgresql"
TRACKING = "/var/opt/gitlab/geo-postgresql"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Answer(NamedTuple):
    """An HTTP answer; `body` is parsed JSON, or None."""

    status: int
    body: Any
    headers: dict[str, str]


def http(method: str, url: str, data: bytes | None = None, **headers: str) -> Answer:
    """A request with any answer; `Content_Type` is the header Content-Type. Status 0: nobody is there."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, body, fields = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            status, body, fields = error.code, error.read(), error.headers
    except (urllib.error.URLError, ConnectionError):
        return Answer(0, None, {})
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    return Answer(status, parsed, {name.lower(): value for name, value in fields.items()})


class GitLabSite:
    """One node with everything on it. gitlab.rb: `rb`, and lines of the test after it."""

    def __init__(self, tree: GitLabTree) -> None:
        self.tree = tree
        self.rails_url = f"http://127.0.0.1:{free_port()}"
        self.registry_url = f"http://127.0.0.1:{free_port()}"
        settings = tree.lab_settings() | {
            "rails_port": int(self.rails_url.rpartition(":")[2]),
            "backfill_seconds": 0.2,
        }
        tree.write("/opt/gitlab/etc/lab.json", json.dumps(settings))
        for directory in (DATABASE, TRACKING, "/images"):
            tree.write(f"{directory}/.keep", "")

    @property
    def rb(self) -> str:
        return f"""\
external_url '{self.rails_url}'
registry_external_url '{self.registry_url}'
registry['registry_http_addr'] = '{self.registry_url.removeprefix("http://")}'
gitlab_rails['registry_key_path'] = '/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key'
registry['database'] = {{ 'enabled' => false }}
registry['storage'] = {{ 'filesystem' => {{ 'rootdirectory' => '{self.tree.path("/images")}' }} }}
"""

    def geo_event(self) -> str:
        """The lines for notifications to this site's Rails, with the secret "the-token"."""
        url = f"{self.rails_url}/api/v4/container_registry_event/events"
        return (
            "registry['notifications'] = [{ 'name' => 'geo_event', 'backoff' => '100ms', "
            f"'url' => '{url}', 'headers' => {{ 'Authorization' => ['the-token'] }} }}]\n"
        )

    def replicate_from(self, primary: GitLabSite) -> str:
        """The lines of a secondary of that site, and its read-only look at the primary's database."""
        directory = self.tree.path(DATABASE)
        (directory / ".keep").unlink(missing_ok=True)
        directory.chmod(0o755)
        if not (directory / "gitlab.json").is_symlink():
            (directory / "gitlab.json").symlink_to(primary.tree.path(f"{DATABASE}/gitlab.json"))
        directory.chmod(0o555)
        pair = primary.tree.secrets()["registry"]
        return f"""\
registry['internal_key'] = {json.dumps(pair["internal_key"])}
registry['internal_certificate'] = {json.dumps(pair["internal_certificate"])}
gitlab_rails['geo_registry_replication_enabled'] = true
gitlab_rails['geo_registry_replication_primary_api_url'] = '{primary.registry_url}'
"""

    def reconfigure(self, lines: str = "") -> None:
        self.tree.reconfigure(self.rb + lines)
        # The registry has its certificate by an absolute path, which here is below a folder.
        config = self.tree.read(CONFIG_YML).replace(f" {CERTIFICATE}", f" {self.tree.path(CERTIFICATE)}")
        self.tree.write("/registry.yml", config)

    @contextmanager
    def rails(self) -> Iterator[None]:
        with self.tree.process(*RUBY, str(OMNIBUS / "embedded/lib/puma.rb")):
            wait_for(lambda: http("GET", f"{self.rails_url}/-/health").status == 200)
            yield

    @contextmanager
    def registry(self, **environment: str) -> Iterator[None]:
        wrapper = str(OMNIBUS / "embedded/bin/registry")
        with self.tree.process(wrapper, "serve", str(self.tree.path("/registry.yml")), **environment):
            wait_for(lambda: http("GET", f"{self.registry_url}/v2/").status in {200, 401})
            yield

    @contextmanager
    def sidekiq(self) -> Iterator[None]:
        with self.tree.process(*RUBY, str(OMNIBUS / "embedded/lib/sidekiq.rb")):
            yield

    @contextmanager
    def running(self, *parts: str) -> Iterator[None]:
        """Several of rails, registry, sidekiq."""
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(getattr(self, part)())
            yield

    def log(self) -> str:
        """What all processes of the site have said."""
        return self.tree.read("/process.log")

    def token(
        self, *scopes: str, credentials: str | None = "root:lab-password", service: str = "container_registry"
    ) -> Answer:
        """What the token service answers."""
        query = urllib.parse.urlencode([("service", service), *(("scope", scope) for scope in scopes)])
        url = f"{self.rails_url}/jwt/auth?{query}"
        if credentials is None:
            return http("GET", url)
        return http("GET", url, Authorization=f"Basic {base64.b64encode(credentials.encode()).decode()}")

    def call(self, method: str, path: str, scope: str, data: bytes | None = None, **headers: str) -> Answer:
        """A request to the registry with a token for this scope; `path` may be a whole URL."""
        bearer = f"Bearer {self.token(scope).body['token']}"
        url = path if path.startswith("http") else self.registry_url + path
        return http(method, url, data, Authorization=bearer, **headers)

    def push(self, name: str, tag: str, seed: str = "seed") -> str:
        """Push an image of one layer; its digest."""
        scope = f"repository:{name}:pull,push"
        blobs = []
        for content in (f"layer {seed}".encode(), json.dumps({"seed": seed}).encode()):
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            begun = self.call("POST", f"/v2/{name}/blobs/uploads/", scope, b"")
            assert begun.status == 202, begun
            ended = self.call(
                "PUT",
                f"{begun.headers['location']}&digest={digest}",
                scope,
                content,
                Content_Type="application/octet-stream",
            )
            assert ended.status == 201, ended
            blobs.append({"mediaType": "application/octet-stream", "size": len(content), "digest": digest})
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blobs[1], "layers": blobs[:1]}
        put = self.call(
            "PUT", f"/v2/{name}/manifests/{tag}", scope, json.dumps(manifest).encode(), Content_Type=MANIFEST
        )
        assert put.status == 201, put
        return put.headers["docker-content-digest"]

    def delete(self, name: str, digest: str) -> int:
        """Delete a manifest with all of its tags; the status."""
        return self.call("DELETE", f"/v2/{name}/manifests/{digest}", f"repository:{name}:delete").status

    def tags(self, name: str) -> dict[str, str]:
        """Tag → digest, without tags that are only being written: the registry lists them too early."""
        scope = f"repository:{name}:pull"
        listed = self.call("GET", f"/v2/{name}/tags/list", scope)
        digests = {
            tag: self.call("HEAD", f"/v2/{name}/manifests/{tag}", scope, Accept=MANIFEST).headers
            for tag in (listed.body or {}).get("tags") or []
        }
        key = "docker-content-digest"
        return {tag: headers[key] for tag, headers in digests.items() if key in headers}

    def database(self) -> dict[str, Any]:
        """The rows of the site's database."""
        path = self.tree.path(f"{DATABASE}/gitlab.json")
        rows: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return rows

    def states(self) -> list[int]:
        """State of each repository in the tracking database."""
        path = self.tree.path(f"{TRACKING}/tracking.json")
        rows = json.loads(path.read_text())["container_repository_registries"] if path.exists() else []
        return [row["state"] for row in rows]

    def tracking_file(self, name: str) -> Path:
        return self.tree.path(f"{TRACKING}/{name}")
