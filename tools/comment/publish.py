"""The comment on the pull or merge request: created once, then updated. HTTP by the standard library."""

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
_PAGES = 50  # of 100 comments: enough for any pull request


class NotPublished(Exception):
    """Why there is no comment, and the remedy."""


class Comments:
    """The comments of one request, behind the API of GitLab or GitHub."""

    def __init__(self, api: str, path: str, headers: Mapping[str, str], update: tuple[str, str]) -> None:
        self._api, self._path, self._headers = api.rstrip("/"), path, headers
        self._update_method, self._update_path = update
        if urlsplit(api).scheme != "https" and urlsplit(api).hostname not in ("127.0.0.1", "localhost"):
            raise NotPublished(f"{api} is not https: the token would be readable on its way")

    def put(self, body: str, marker: str, author: str) -> str:
        """Update the comment that begins with `marker` and is by `author`, or create one; its address."""
        for comment in self._all():
            user = comment.get("user") or comment.get("author") or {}
            name = str(user.get("login") or user.get("username") or "")
            # Anyone can write a comment with this marker; only this user's may be changed.
            if name == author and str(comment.get("body", "")).startswith(marker):
                path = self._update_path.format(id=int(comment["id"]))
                return self._address(self.request(self._update_method, path, {"body": body}))
        return self._address(self.request("POST", self._path, {"body": body}))

    def _all(self) -> Iterator[dict[str, Any]]:
        for page in range(1, _PAGES + 1):
            comments, headers = self._request("GET", f"{self._path}?per_page=100&page={page}")
            yield from comments
            # Not by their number: GitLab omits from a page what the token cannot read (lib/api/notes.rb).
            if not (headers.get("X-Next-Page") or 'rel="next"' in headers.get("Link", "")):
                return

    @staticmethod
    def _address(comment: dict[str, Any]) -> str:
        return str(comment.get("html_url") or f"note {comment.get('id')}")

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send one request. Raises NotPublished with the API's answer, never with the token."""
        return self._request(method, path, body)[0]

    def _request(self, method: str, path: str, body: object = None) -> tuple[Any, Message]:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": "application/json", "User-Agent": "gitlab-geo-registry"}
        request = urllib.request.Request(f"{self._api}{path}", data, headers, method=method)  # noqa: S310
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                return json.load(answer), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(300).decode(errors="replace")
            raise NotPublished(f"{method} {path.partition('?')[0]}: {error.code} {text}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NotPublished(f"{method} {path.partition('?')[0]}: {error}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would send the token to the target of a redirect."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def publish(body: str, marker: str, environ: Mapping[str, str] = environ) -> str:
    """Publish the comment according to the CI's environment. Returns its address. Raises NotPublished."""
    if environ.get("GITLAB_CI"):
        return _on_gitlab(body, marker, environ)
    if environ.get("GITHUB_ACTIONS"):
        return _on_github(body, marker, environ)
    raise NotPublished("not a job of GitLab CI or GitHub Actions; without POST=1 the comment is only printed")


def _on_gitlab(body: str, marker: str, environ: Mapping[str, str]) -> str:
    request = _need(environ, "CI_MERGE_REQUEST_IID", "only a merge request pipeline has one")
    token = _need(
        environ, "PREVIEW_COMMENT_TOKEN", "a project access token with the scope api: see docs/ci.md"
    )
    project = quote(_need(environ, "CI_PROJECT_ID", "GitLab sets it"), safe="")
    notes = f"/projects/{project}/merge_requests/{int(request)}/notes"
    api = _need(environ, "CI_API_V4_URL", "GitLab sets it")
    comments = Comments(api, notes, {"PRIVATE-TOKEN": token}, ("PUT", notes + "/{id}"))
    return comments.put(body, marker, str(comments.request("GET", "/user")["username"]))


def _on_github(body: str, marker: str, environ: Mapping[str, str]) -> str:
    match = re.fullmatch(r"refs/pull/(\d+)/merge", environ.get("GITHUB_REF", ""))
    if not match:
        raise NotPublished("GITHUB_REF names no pull request; the workflow must be triggered by pull_request")
    token = _need(environ, "GITHUB_TOKEN", "env: GITHUB_TOKEN: ${{ github.token }}")
    repository = _need(environ, "GITHUB_REPOSITORY", "GitHub sets it")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    update = ("PATCH", f"/repos/{repository}/issues/comments/{{id}}")
    path = f"/repos/{repository}/issues/{match[1]}/comments"
    comments = Comments(_need(environ, "GITHUB_API_URL", "GitHub sets it"), path, headers, update)
    # The workflow's token writes as this user; it cannot query its own name.
    return comments.put(body, marker, "github-actions[bot]")


def _need(environ: Mapping[str, str], name: str, hint: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise NotPublished(f"{name} is not set ({hint})")
    return value
