"""The comment on the pull or merge request: made once, updated from then on. HTTP by the standard library."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from os import environ
from typing import Any
from urllib.parse import quote, urlsplit

_SECONDS = 30
_PAGES = 50  # of 100 comments: a request with more of them has other troubles


class NotPublished(Exception):
    """Why there is no comment, and what to do about it."""


class Comments:
    """The comments of one request, behind the API of GitLab or GitHub."""

    def __init__(self, api: str, path: str, headers: Mapping[str, str], update: tuple[str, str]) -> None:
        self._api, self._path, self._headers = api.rstrip("/"), path, headers
        self._update_method, self._update_path = update
        if urlsplit(api).scheme != "https" and urlsplit(api).hostname not in ("127.0.0.1", "localhost"):
            raise NotPublished(f"{api} is not https: the token would be readable on its way")

    def put(self, body: str, marker: str, own: str) -> str:
        """Update the comment that begins with `marker` and is by `own`, or make one; its address."""
        for comment in self._all():
            by = comment.get("user") or comment.get("author") or {}
            name = str(by.get("login") or by.get("username") or "")
            # Anyone may write a comment that begins like ours; only our own is ours to change.
            if name == own and str(comment.get("body", "")).startswith(marker):
                path = self._update_path.format(id=int(comment["id"]))
                return self._address(self.ask(self._update_method, path, {"body": body}))
        return self._address(self.ask("POST", self._path, {"body": body}))

    def _all(self) -> Iterator[dict[str, Any]]:
        for page in range(1, _PAGES + 1):
            found, headers = self._asked("GET", f"{self._path}?per_page=100&page={page}")
            yield from found
            # Not by their number: GitLab leaves out of a page what the token may not read (lib/api/notes.rb).
            if not (headers.get("X-Next-Page") or 'rel="next"' in headers.get("Link", "")):
                return

    @staticmethod
    def _address(made: dict[str, Any]) -> str:
        return str(made.get("html_url") or f"note {made.get('id')}")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request. NotPublished with the API's answer, never with the token."""
        return self._asked(method, path, body)[0]

    def _asked(self, method: str, path: str, body: object = None) -> tuple[Any, Message]:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": "application/json", "User-Agent": "gitlab-geo-registry"}
        request = urllib.request.Request(f"{self._api}{path}", data, headers, method=method)  # noqa: S310
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                return json.load(answer), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(300).decode(errors="replace")
            raise NotPublished(f"{method} {path.partition('?')[0]}: {error.code} {said}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NotPublished(f"{method} {path.partition('?')[0]}: {error}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would hand the token on to wherever it is sent."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def publish(body: str, marker: str, environ: Mapping[str, str] = environ) -> str:
    """Put the comment where the CI's environment says; its address. Raises NotPublished."""
    if environ.get("GITLAB_CI"):
        return _on_gitlab(body, marker, environ)
    if environ.get("GITHUB_ACTIONS"):
        return _on_github(body, marker, environ)
    raise NotPublished("this is no job of GitLab CI or GitHub Actions; without POST=1 it is only printed")


def _on_gitlab(body: str, marker: str, environ: Mapping[str, str]) -> str:
    request = _need(environ, "CI_MERGE_REQUEST_IID", "only a merge request pipeline has one")
    token = _need(
        environ, "PREVIEW_COMMENT_TOKEN", "a project access token with the scope api: see docs/ci.md"
    )
    project = quote(_need(environ, "CI_PROJECT_ID", "GitLab sets it"), safe="")
    notes = f"/projects/{project}/merge_requests/{int(request)}/notes"
    api = _need(environ, "CI_API_V4_URL", "GitLab sets it")
    comments = Comments(api, notes, {"PRIVATE-TOKEN": token}, ("PUT", notes + "/{id}"))
    return comments.put(body, marker, str(comments.ask("GET", "/user")["username"]))


def _on_github(body: str, marker: str, environ: Mapping[str, str]) -> str:
    found = re.fullmatch(r"refs/pull/(\d+)/merge", environ.get("GITHUB_REF", ""))
    if not found:
        raise NotPublished("GITHUB_REF names no pull request; the workflow must be triggered by pull_request")
    token = _need(environ, "GITHUB_TOKEN", "env: GITHUB_TOKEN: ${{ github.token }}")
    repository = _need(environ, "GITHUB_REPOSITORY", "GitHub sets it")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    update = ("PATCH", f"/repos/{repository}/issues/comments/{{id}}")
    path = f"/repos/{repository}/issues/{found[1]}/comments"
    comments = Comments(_need(environ, "GITHUB_API_URL", "GitHub sets it"), path, headers, update)
    # The workflow's own token writes as this user; it cannot ask who it is.
    return comments.put(body, marker, "github-actions[bot]")


def _need(environ: Mapping[str, str], name: str, hint: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise NotPublished(f"{name} is not set ({hint})")
    return value
