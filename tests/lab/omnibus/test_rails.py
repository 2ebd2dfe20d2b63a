"""The lab's Rails: the registry's tokens and the endpoint for its events fail as GitLab's do."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.omnibus.gitlab_site import GitLabSite, http
from tests.lab.omnibus.gitlab_tree import CERTIFICATE, KEY, made, wait_for

EVENTS = "/api/v4/container_registry_event/events"
TYPE = "application/vnd.docker.distribution.events.v1+json"


@pytest.fixture(scope="module")
def site() -> Iterator[GitLabSite]:
    """A site with notifications; Rails and registry run."""
    with made("london") as (tree,):
        london = GitLabSite(tree)
        london.reconfigure(london.geo_event())
        with london.running("rails", "registry"):
            yield london


@pytest.fixture
def stopped() -> Iterator[GitLabSite]:
    """A site of which nothing runs yet."""
    with made("tokyo") as (tree,):
        yield GitLabSite(tree)


def claims(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token."""
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, payload


def notify(site: GitLabSite, secret: str | None, *events: dict[str, Any], body: bytes | None = None) -> int:
    headers = {} if secret is None else {"Authorization": secret}
    data = json.dumps({"events": events}).encode() if body is None else body
    return http("POST", site.rails_url + EVENTS, data, Content_Type=TYPE, **headers).status


def event(action: str, repository: str, **target: str) -> dict[str, Any]:
    return {"action": action, "target": {"repository": repository, **target}}


# -- tokens


def test_a_token_has_gitlabs_header_and_claims(site: GitLabSite) -> None:
    """kid of libtrust, issuer, audience, five minutes, the access that was asked for."""
    header, payload = claims(site.token("repository:group/app:pull,push").body["token"])
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    assert [len(part) for part in header["kid"].split(":")] == [4] * 12
    assert payload["iss"] == "omnibus-gitlab-issuer"
    assert payload["aud"] == "container_registry"
    assert payload["sub"] == "root"
    assert (payload["exp"] - payload["iat"], payload["iat"] - payload["nbf"]) == (300, 5)
    assert payload["access"] == [{"type": "repository", "name": "group/app", "actions": ["pull", "push"]}]


def test_debians_registry_accepts_it(site: GitLabSite) -> None:
    """The real thing: a push, a pull, and no push with a token to pull."""
    digest = site.push("group/accepted", "1")
    assert site.tags("group/accepted") == {"1": digest}
    refused = site.call("POST", "/v2/group/accepted/blobs/uploads/", "repository:group/accepted:pull", b"")
    assert refused.status == 401


def test_several_scopes_and_what_is_no_project(site: GitLabSite) -> None:
    """The catalog is for the administrator; a path of one part is not a project's."""
    answer = site.token(
        "repository:group/app:pull", "registry:catalog:*", "repository:alone:pull", "repository:a/b:destroy"
    )
    _, payload = claims(answer.body["token"])
    assert [access["name"] for access in payload["access"]] == ["group/app", "catalog"]


def test_refusals_of_the_token_service(site: GitLabSite) -> None:
    """A wrong password, nobody who asks for nothing, another service; nobody with a scope gets an empty token."""
    scope = "repository:group/app:pull"
    assert site.token(scope, credentials="root:wrong").status == 401
    denied = site.token(credentials=None)
    assert (denied.status, denied.body["errors"][0]["code"]) == (403, "DENIED")
    assert site.token(scope, service="other").status == 404
    assert claims(site.token(scope, credentials=None).body["token"])[1]["access"] == []
    assert site.token(scope).status == 200


def test_the_key_is_read_again_for_each_token(site: GitLabSite) -> None:
    """The registry, which reads its certificate once, refuses the new key's tokens until it is restarted."""
    site.push("group/rotated", "1")
    key, certificate = site.tree.read(KEY), site.tree.read(CERTIFICATE)
    secrets = site.tree.secrets()
    site.tree.path("/etc/gitlab/gitlab-secrets.json").unlink()
    try:
        site.reconfigure(site.geo_event())
        refused = site.call("GET", "/v2/group/rotated/tags/list", "repository:group/rotated:pull")
        assert refused.status == 401
        # What stands around the registry hands its log on line by line, the answer may be here before it.
        wait_for(lambda: "token signed by untrusted key with ID" in site.log())
    finally:
        site.tree.write("/etc/gitlab/gitlab-secrets.json", json.dumps(secrets))
        site.reconfigure(site.geo_event())
    assert (site.tree.read(KEY), site.tree.read(CERTIFICATE)) == (key, certificate)
    assert site.tags("group/rotated")


def test_another_issuer_is_refused(stopped: GitLabSite) -> None:
    """The registry has another one than Rails."""
    stopped.reconfigure()
    path = stopped.tree.path("/registry.yml")
    path.write_text(path.read_text().replace("omnibus-gitlab-issuer", "somebody-else"))
    with stopped.running("rails", "registry"):
        assert stopped.call("GET", "/v2/group/app/tags/list", "repository:group/app:pull").status == 401
        path.write_text(path.read_text().replace("somebody-else", "omnibus-gitlab-issuer"))
    with stopped.running("rails", "registry"):
        assert stopped.call("GET", "/v2/group/app/tags/list", "repository:group/app:pull").status == 404


def test_no_tokens_where_the_registry_is_not_enabled(stopped: GitLabSite) -> None:
    """404, as GitLab says it."""
    stopped.tree.reconfigure(f"external_url '{stopped.rails_url}'")
    with stopped.rails():
        answer = stopped.token("repository:group/app:pull")
    assert (answer.status, answer.body["errors"][0]["code"]) == (404, "UNAVAILABLE")


# -- events


def test_the_secret_is_compared_as_it_stands(site: GitLabSite) -> None:
    """No Bearer, no other case; 401 otherwise."""
    assert notify(site, "the-token") == 200
    for wrong in (None, "", "the-toke", "the-tokenn", "Bearer the-token", "The-token"):
        assert notify(site, wrong) == 401


def test_a_body_that_is_no_list_of_events_is_refused(site: GitLabSite) -> None:
    """After the secret: a stranger learns nothing."""
    assert notify(site, "the-token", body=b"{}") == 400
    assert notify(site, "the-token", body=b"{") == 400
    assert notify(site, "wrong", body=b"{") == 401


def test_events_of_known_repositories_are_recorded(site: GitLabSite) -> None:
    """Known is what a token to push was issued for; blobs and pulls are of no interest."""
    site.token("repository:group/known:pull,push")
    site.token("repository:group/only-pulled:pull")
    known = {row["path"]: row["id"] for row in site.database()["container_repositories"]}
    assert "group/only-pulled" not in known
    before = len(site.database()["geo_events"])
    events = [
        event("push", "group/known", tag="1"),
        event("push", "group/known", mediaType="application/octet-stream"),
        event("pull", "group/known", tag="1"),
        event("delete", "group/known", digest="sha256:0"),
        event("push", "group/unknown", tag="1"),
    ]
    assert notify(site, "the-token", *events) == 200
    recorded = site.database()["geo_events"][before:]
    assert [row["container_repository_id"] for row in recorded] == [known["group/known"]] * 2


def test_the_registry_itself_notifies(site: GitLabSite) -> None:
    """Debian's registry and Rails: a push becomes an event. The token lands in the registry's own log."""
    site.push("group/notified", "1")
    repository = {row["path"]: row["id"] for row in site.database()["container_repositories"]}[
        "group/notified"
    ]

    def arrived() -> bool:
        return repository in [row["container_repository_id"] for row in site.database()["geo_events"]]

    wait_for(arrived)
    assert "the-token" in site.log()


def test_without_a_secret_every_notification_is_refused(stopped: GitLabSite) -> None:
    """registry['notification_secret'] is none. Rails learns of a new one when it is restarted."""
    stopped.reconfigure("registry['notification_secret'] = 'the-token'\n")
    with stopped.rails():
        assert notify(stopped, "the-token") == 401
        assert notify(stopped, "") == 401
        stopped.reconfigure("gitlab_rails['registry_notification_secret'] = 'the-token'\n")
        assert notify(stopped, "the-token") == 401
    with stopped.rails():
        assert notify(stopped, "the-token") == 200


def test_a_secondary_records_no_event_and_no_repository(site: GitLabSite, stopped: GitLabSite) -> None:
    """Its database is read-only: 403 with the right secret, 401 without; tokens are still issued."""
    lines = stopped.replicate_from(site)
    stopped.reconfigure(lines + "gitlab_rails['registry_notification_secret'] = 'the-token'\n")
    before = site.database()
    with stopped.rails():
        assert notify(stopped, "the-token", event("push", "group/known", tag="1")) == 403
        assert notify(stopped, "another") == 401
        assert stopped.token("repository:group/new-here:pull,push").status == 200
    assert site.database() == before
