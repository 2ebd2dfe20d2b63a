"""Somebody who pushes all the time, to another repository each time: one lost event is one missing image."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from types import TracebackType

from lab.api import Lab
from lab.registry import CREDENTIALS
from tests.e2e.stack import measured

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
AT_A_TIME = 25
"""Repositories a token: nginx takes no larger headers."""


def call(
    method: str, url: str, token: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str]]:
    """Status (0: no answer) and headers."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()} | {"Authorization": token}
    request = urllib.request.Request(url, body, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20, context=_context()) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}
    except (OSError, ValueError):
        return 0, {}


def _context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


class Site:
    """A site's registry, and tokens for its repositories, which a client keeps for as long as they are taken."""

    def __init__(self, name: str, repositories: list[str], actions: str) -> None:
        self.registry = f"https://registry.{name}.example.com"
        self._gitlab = f"https://gitlab.{name}.example.com"
        self._places = {one: number // AT_A_TIME for number, one in enumerate(repositories)}
        self._actions = actions
        # A repository that is never pushed to exists for GitLab once a token names it, and a former secondary would
        # look at it: the others are fetched when they are needed.
        self._tokens = {0: self._fetch(0)}

    def _fetch(self, number: int) -> str:
        scopes = [
            ("scope", f"repository:{one}:{self._actions}") for one, at in self._places.items() if at == number
        ]
        query = urllib.parse.urlencode([("service", "container_registry"), *scopes])
        basic = f"Basic {base64.b64encode(CREDENTIALS.encode()).decode()}"
        request = urllib.request.Request(f"{self._gitlab}/jwt/auth?{query}", headers={"Authorization": basic})
        with urllib.request.urlopen(request, timeout=20, context=_context()) as answer:
            return f"Bearer {json.load(answer)['token']}"

    def call(
        self, method: str, repository: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str]]:
        url = path if path.startswith("http") else f"{self.registry}/v2/{repository}/{path}"
        number = self._places[repository]
        if number not in self._tokens and not self._renew(number):
            return 0, {}
        answer = call(method, url, self._tokens[number], body, **headers)
        if answer[0] == 401 and self._renew(number):
            # Key or issuer have changed: a client asks GitLab for another.
            answer = call(method, url, self._tokens[number], body, **headers)
        return answer

    def _renew(self, number: int) -> bool:
        try:
            self._tokens[number] = self._fetch(number)
        except OSError:
            return False
        return True

    def digest(self, repository: str) -> str | None:
        _, headers = self.call("HEAD", repository, "manifests/1", Accept=MANIFEST)
        return headers.get("docker-content-digest")


class Pushes:
    """`with Pushes("secret"):` pushes until the end of the block; `missing` tells what a secondary has not got."""

    def __init__(self, word: str, *, to: str = "london", every: float = 0.35, most: int = 200) -> None:
        self._repositories = [f"pushes/{word}-{number:03}" for number in range(most)]
        self._site = Site(to, self._repositories, "pull,push")
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self.pushed: dict[str, str] = {}
        self.last = 0.0
        """When the last of them was taken, as time.monotonic() says."""

    def __enter__(self) -> Pushes:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def push(self) -> bool:
        """One image to the next repository; whether it was taken."""
        repository = self._repositories[len(self.pushed)]
        blobs = []
        for content in (f"layer of {repository}".encode(), json.dumps({"of": repository}).encode()):
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            status, headers = self._site.call("POST", repository, "blobs/uploads/", b"")
            if status != 202:
                return False
            where = headers["location"] + ("&" if "?" in headers["location"] else "?")
            status, _ = self._site.call(
                "PUT", repository, f"{where}digest={digest}", content, Content_Type="application/octet-stream"
            )
            if status != 201:
                return False
            blobs.append({"mediaType": "application/octet-stream", "size": len(content), "digest": digest})
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": blobs[1], "layers": blobs[:1]}
        )
        status, headers = self._site.call(
            "PUT", repository, "manifests/1", manifest.encode(), Content_Type=MANIFEST
        )
        if status == 201:
            self.pushed[repository] = headers["docker-content-digest"]
            self.last = time.monotonic()
        return status == 201

    def missing(self, site: str = "tokyo") -> list[str]:
        """The repositories whose image the site has not, or another one."""
        registry = Site(site, list(self.pushed), "pull")
        return [one for one, digest in self.pushed.items() if registry.digest(one) != digest]

    def arrive(self, seconds: float, site: str = "tokyo") -> list[str]:
        """The same after so many seconds at most, as soon as nothing is missing."""
        end = time.monotonic() + seconds
        while (found := self.missing(site)) and time.monotonic() < end:
            time.sleep(1)
        return found

    def _go_on(self) -> None:
        while not self._over.is_set() and len(self.pushed) < len(self._repositories):
            self.push()
            self._over.wait(self._every)


def during(
    word: str, change: Callable[[], object], *, to: str = "london", at: Sequence[str] = ("tokyo",)
) -> Pushes:
    """Pushes from before the change until after it; all of them must be at the secondaries within a minute."""
    lab = Lab.current()
    lab.wait_ready()
    with Pushes(word, to=to) as pushes:
        time.sleep(1.5)
        change()
        ended = time.monotonic()
        time.sleep(3)
    assert len(pushes.pushed) > 5
    assert pushes.last > ended, "they went on until the change had ended"
    began = time.monotonic()
    for site in at:
        missing = pushes.arrive(60 - (time.monotonic() - began), site)
        assert missing == [], f"of {len(pushes.pushed)} at {site}\n{evidence(lab)}"
    measured(f"until the last of {len(pushes.pushed)} images was there ({word})", time.monotonic() - began)
    return pushes


def evidence(lab: Lab) -> str:
    """What each registry said of pushes, events, starts and ends, what GitLab was asked, and what the workers did."""
    wanted = '"PUT".*/manifests/|error writing|event lost|listening on|termination'
    commands = (
        f"cd /var/log/gitlab/registry; cat $(ls @*.s 2>/dev/null) current | grep -E '{wanted}' | cut -c1-220 | tail -60",
        "tail -25 /var/log/gitlab/puma/current",
        "tail -40 /var/log/gitlab/sidekiq/current | cut -c1-220",
    )
    return "\n".join(
        f"{host.name}\n{host.run(command, check=False).stdout}"
        for host in lab.hosts()
        for command in commands
    )
