"""How long a site's registry refuses tokens that its own GitLab has just signed: watched while something changes."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import TracebackType

from lab.registry import CREDENTIALS

STEP = 0.05


class Refusals:
    """`with Refusals(site, …) as seen:` asks all the time; then `seen.longest[site]` is in seconds, 0 for none.

    A refusal is a 401 to a token that the site's GitLab gave out a moment before, or to what else `asking` uses.
    A registry that is restarting refuses nobody: that is `seen.away`.
    """

    def __init__(self, *sites: str, asking: Callable[[str], str] | None = None, every: float = STEP) -> None:
        self._asking, self._every = asking or ask, every
        self.refused = dict.fromkeys(sites, 0)
        self.longest = dict.fromkeys(sites, 0.0)
        self.away = dict.fromkeys(sites, 0.0)
        self.asked = dict.fromkeys(sites, 0)
        self._over = threading.Event()
        self._watchers = [threading.Thread(target=self._watch, args=(site,)) for site in sites]

    def __enter__(self) -> Refusals:
        for watcher in self._watchers:
            watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for watcher in self._watchers:
            watcher.join()

    def __str__(self) -> str:
        longest = ", ".join(f"{site} {seconds:.2f} s" for site, seconds in self.longest.items())
        return f"good tokens refused at {longest} at the longest"

    def _watch(self, site: str) -> None:
        began: dict[str, float] = {}
        while not self._over.wait(self._every):
            answer = self._asking(site)
            self.asked[site] += 1
            self.refused[site] += answer == "refused"
            for kind, book in (("refused", self.longest), ("away", self.away)):
                if answer == kind:
                    since = began.setdefault(kind, time.monotonic())
                    book[site] = max(book[site], time.monotonic() - since)
                else:
                    began.pop(kind, None)


def ask(site: str) -> str:
    """ "taken", "refused" or "away": what a site's registry says to a token of its GitLab."""
    token = fetch(site)
    return use(site, token) if token else "away"


def fetch(site: str) -> str | None:
    """A token that the site's GitLab gives out for pulls; None if it does not answer."""
    basic = base64.b64encode(CREDENTIALS.encode()).decode()
    realm = f"https://gitlab.{site}.example.com/jwt/auth?service=container_registry"
    status, body = _get(f"{realm}&scope=repository:group/app:pull", f"Basic {basic}")
    return str(json.loads(body)["token"]) if status == 200 else None


def use(site: str, token: str) -> str:
    """The same as `ask`, of this token."""
    status, _ = _get(f"https://registry.{site}.example.com/v2/group/app/tags/list", f"Bearer {token}")
    return {200: "taken", 404: "taken", 401: "refused"}.get(status, "away")


def _get(url: str, authorization: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""
