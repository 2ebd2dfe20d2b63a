"""Checks GitLab's notification endpoint when all nodes have their settings. Changes nothing."""

from __future__ import annotations

import secrets
from typing import Any

from .probes import Answer, ask, until
from .report import Failure, say

GITLAB_STARTS = 300
"""Seconds: Puma alone takes minutes on a small server."""
NO_ANSWER = 60
RELOADING = 10
"""Seconds: GitLab's nginx reads new certificates after its node is updated."""
STATE = "the settings are in effect on this host, and nothing is rolled back"


def verify(order: dict[str, Any]) -> dict[str, str]:
    """Check → answer. Raises Failure at the first that fails."""
    url = order["events_url"]
    right = _settled(order["node"], url, order["secrets"]["notification_secret"])
    wrong = _settled(order["node"], url, "A" + secrets.token_hex(16)) if 0 < right.status < 400 else right
    if right.status in (401, 403) or not 0 < wrong.status < 500:
        raise Failure(
            "notifications-not-accepted",
            "verification failed: GitLab does not accept the registry's notifications",
            cause=f"POST {url} was {wrong.summary}",
            remedy=_remedy(order["site"], wrong),
        ).with_state(STATE)
    if wrong.status not in (401, 403):
        raise Failure(
            "notification-secret-not-checked",
            "verification failed: GitLab accepts notifications with any secret",
            cause=f"POST {url} with a wrong secret was {wrong.summary}; 401 was expected",
            remedy="something in front of GitLab answers this path: pass it on to Rails",
        ).with_state(STATE)
    return {
        "notification endpoint accepts the secret": "yes",
        "notification endpoint refuses a wrong one": str(wrong.status),
    }


def _remedy(site: str, answer: Answer) -> str:
    if answer.cause:
        return f"{answer.cause.remedy}; then `pulumi up` again"
    if answer.status == 403:  # as Geo's secondaries answer
        return f"promote {site} in GitLab, or set `primary` back; then `pulumi up` again"
    if answer.status >= 500:
        return "GitLab is starting, or does not: `gitlab-ctl tail puma` there; then `pulumi up` again"
    return f"each Rails node of {site} must have this stack's registry_notification_secret"


def _settled(node: str, url: str, secret: str) -> Answer:
    """The last answer of a GitLab that may be starting."""
    answer = until(
        RELOADING,
        lambda: _event(url, secret),
        lambda answer: bool(answer.status) or not answer.final,
        insist=True,
    )
    if not answer.status and not answer.final:
        answer = until(NO_ANSWER, lambda: _event(url, secret), lambda answer: answer.status > 0)
    if answer.status < 500:
        return answer
    say(f"{node}: waiting for {url} ({answer.summary}), at most {GITLAB_STARTS} s")
    return until(GITLAB_STARTS, lambda: _event(url, secret), lambda answer: 0 < answer.status < 500)


def _event(url: str, secret: str) -> Answer:
    content_type = "application/vnd.docker.distribution.events.v1+json"
    headers = {"Authorization": secret, "Content-Type": content_type}
    return ask("POST", url, verify=True, headers=headers, body='{"events":[]}')
