"""The comment on a merge or pull request, against stand-ins of both APIs on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tools import cloud_credentials as credentials
from tools.comment import __main__ as comment
from tools.comment import publish
from tools.comment.markdown import marker

MARK = marker("prod")
BODY = f"{MARK}\n\nnothing would change\n"
GOLDEN = Path(__file__).parent / "golden"


class Forge(HTTPServer):
    """GitLab's notes and GitHub's issue comments, as far as they are used; `comments` is what it has."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.refuse = 0
        self.elsewhere = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class Handler(BaseHTTPRequestHandler):
    server: Forge

    def _answer(self) -> None:
        server, url = self.server, urlsplit(self.path)
        server.asked.append((self.command, url.path))
        server.headers.append(dict(self.headers))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        found: Any = {"message": "no"}
        if server.elsewhere:
            self.send_response(302)
            self.send_header("Location", server.elsewhere)
        elif server.refuse:
            self.send_response(server.refuse)
        else:
            self.send_response(200)
            found = self._found(url.path, parse_qs(url.query), body)
            self._pages(url.path, parse_qs(url.query))
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def _pages(self, path: str, query: dict[str, list[str]]) -> None:
        if "page" not in query:
            return
        page = int(query["page"][0])
        more = len(self.server.comments) > page * 100
        if "/notes" in path:
            self.send_header("X-Next-Page", str(page + 1) if more else "")
        elif more:
            self.send_header("Link", f'<{self.server.url}?page={page + 1}>; rel="next"')

    def _found(self, path: str, query: dict[str, list[str]], body: dict[str, str]) -> Any:
        comments = self.server.comments
        if path.endswith("/user"):
            return {"username": "project_7_bot"}
        if path.endswith("/token"):
            return {"value": f"of {query['audience'][0]}"}
        if self.command == "GET":
            first = (int(query["page"][0]) - 1) * 100
            # GitLab leaves out what the token may not read when it has counted a page.
            return [one for one in comments[first : first + 100] if not one.get("hidden")]
        if self.command == "POST":
            on_gitlab = {"author": {"username": "project_7_bot"}}
            on_github = {"user": {"login": "github-actions[bot]"}}
            who = on_gitlab if "/notes" in path else on_github
            comments.append({"id": len(comments) + 1, **who, **body})
            return comments[-1]
        one = next(c for c in comments if str(c["id"]) == path.rpartition("/")[2])
        one |= body
        return one

    do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def forge() -> Iterator[Forge]:
    server = Forge()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def gitlab(forge: Forge) -> dict[str, str]:
    """The environment of a merge request's job."""
    return {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": forge.url,
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "42",
        "PREVIEW_COMMENT_TOKEN": "glpat-token",
    }


def github(forge: Forge) -> dict[str, str]:
    """The environment of a pull request's job."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": forge.url,
        "GITHUB_REPOSITORY": "acme/registry",
        "GITHUB_REF": "refs/pull/42/merge",
        "GITHUB_TOKEN": "token",
    }


BOTH = pytest.mark.parametrize(
    ("job", "path", "method", "header"),
    [
        (gitlab, "/api/projects/7/merge_requests/42/notes", "PUT", ("PRIVATE-TOKEN", "glpat-token")),
        (github, "/api/repos/acme/registry/issues/42/comments", "PATCH", ("Authorization", "Bearer token")),
    ],
    ids=["gitlab", "github"],
)


@BOTH
def test_one_comment_is_made_and_updated_from_then_on(
    job: Any, path: str, method: str, header: tuple[str, str], forge: Forge
) -> None:
    """By the API's own verbs and paths, with the token in the header it belongs in."""
    forge.comments += [{"id": 1000 + n, "body": "x", "user": {}, "author": {}} for n in range(130)]
    forge.comments[7]["hidden"] = True
    publish.publish(BODY, MARK, job(forge))
    assert ("POST", path) in forge.asked
    # urllib sends names of headers in its own case; HTTP does not care.
    assert all(
        {k.lower(): v for k, v in sent.items()}[header[0].lower()] == header[1] for sent in forge.headers
    )
    forge.asked.clear()
    publish.publish(BODY + "more", MARK, job(forge))
    assert [m for m, _ in forge.asked if m != "GET"] == [method]
    own = [c for c in forge.comments if c["body"].startswith(MARK)]
    assert [c["body"] for c in own] == [BODY + "more"]


@BOTH
def test_a_comment_of_another_person_that_begins_like_ours_is_left_alone(
    job: Any, path: str, method: str, header: object, forge: Forge
) -> None:
    """And does not prevent this stack's; nor does another stack's."""
    theirs = {"id": 1, "body": BODY, "author": {"username": "mallory"}, "user": {"login": "mallory"}}
    forge.comments.append(dict(theirs))
    publish.publish(BODY.replace("prod", "dev"), marker("dev"), job(forge))
    publish.publish(BODY, MARK, job(forge))
    assert forge.comments[0] == theirs
    assert len(forge.comments) == 3


@BOTH
def test_a_refusal_is_told_without_the_token(
    job: Any, path: str, method: str, header: tuple[str, str], forge: Forge
) -> None:
    """The API's own words are."""
    forge.refuse = 403
    with pytest.raises(publish.NotPublished, match=r'403 .*"no"') as reported:
        publish.publish(BODY, MARK, job(forge))
    assert "token" not in str(reported.value)


def test_the_token_is_not_carried_elsewhere(forge: Forge) -> None:
    """Neither by a redirect nor in the clear."""
    other = Forge()
    forge.elsewhere = other.url
    with pytest.raises(publish.NotPublished, match="302"):
        publish.publish(BODY, MARK, github(forge))
    other.server_close()
    assert other.asked == []
    with pytest.raises(publish.NotPublished, match="not https"):
        publish.publish(BODY, MARK, github(forge) | {"GITHUB_API_URL": "http://api.example.com"})


@pytest.mark.parametrize(
    ("job", "without", "reported"),
    [
        (gitlab, "PREVIEW_COMMENT_TOKEN", "scope api"),
        (gitlab, "CI_MERGE_REQUEST_IID", "only a merge request pipeline"),
        (github, "GITHUB_REF", "triggered by pull_request"),
        (github, "GITHUB_TOKEN", "GITHUB_TOKEN"),
        (github, "GITHUB_ACTIONS", "without POST=1"),
    ],
)
def test_what_is_missing_is_named(job: Any, without: str, reported: str, forge: Forge) -> None:
    """With what to do; nothing is asked of anyone."""
    environ = job(forge)
    del environ[without]
    with pytest.raises(publish.NotPublished, match=reported):
        publish.publish(BODY, MARK, environ)
    assert not [asked for asked in forge.asked if asked[0] != "GET"]


def test_the_program_posts_what_it_prints(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its status is still the kind of change; where the comment cannot be made it is an error."""
    for name, value in gitlab(forge).items():
        monkeypatch.setenv(name, value)
    command = ["--stack", "prod", "--json", str(GOLDEN / "removed-site.json"), "--post"]
    assert comment.main(command) == comment.DESTRUCTIVE
    assert forge.comments[0]["body"] == capsys.readouterr().out
    forge.refuse = 500
    assert comment.main(command) == comment.ERROR
    assert "could not be published" in capsys.readouterr().err


def test_the_identity_token_is_put_where_the_sdks_look(forge: Forge, tmp_path: Path) -> None:
    """GitLab hands it over in a variable, GitHub is asked for one for AWS; only we can read the file."""
    file = tmp_path / "token"
    role = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/preview", "AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}
    assert credentials.main({**role, "AWS_ID_TOKEN": "of gitlab"}) == 0
    assert file.read_text() == "of gitlab"
    asked = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{forge.url}/token?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
    assert credentials.main({**role, **asked}) == 0
    assert file.read_text() == "of sts.amazonaws.com"
    assert file.stat().st_mode & 0o777 == 0o600


NO_ROLE = "AWS_ROLE_ARN or AWS_WEB_IDENTITY_TOKEN_FILE is not set: see docs/ci.md"


@pytest.mark.parametrize(
    ("without", "provided", "reported"),
    [
        ("AWS_ROLE_ARN", {}, NO_ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", {}, NO_ROLE),
        (
            "AWS_ID_TOKEN",
            {},
            "no identity token: `id_tokens` (GitLab) or `id-token: write` (GitHub) is missing",
        ),
        (
            "AWS_ID_TOKEN",
            {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:1/?"},
            "no identity token from GitHub",
        ),
    ],
)
def test_a_job_without_identity_is_told_what_is_missing(
    without: str, provided: dict[str, str], reported: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than that AWS finds no credentials, minutes later."""
    environ = {
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/preview",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ID_TOKEN": "t",
    }
    del environ[without]
    assert credentials.main({**environ, **provided}) == 1
    assert reported in capsys.readouterr().err
