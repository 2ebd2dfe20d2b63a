"""What docs/ quotes: this program's failures go by their codes, other messages by the very words that a test sees."""

from __future__ import annotations

import re

from tests.docs import DOCS, PAGES, read
from tests.failures import (
    CODE,
    of_components,
    of_configurations,
    of_nodes,
    of_operations,
    of_registries,
    of_sessions,
)

ROOT = DOCS.parent

NODE_MESSAGES = "tests/unit/test_node_messages.py"
SEEN: dict[str, str] = {
    "token signed by untrusted key with ID": "tests/e2e/test_docs_troubles.py",
    "token from untrusted issuer": "tests/e2e/test_docs_troubles.py",
    "error writing event": "tests/e2e/test_docs_troubles.py",
    "event lost": "tests/lab/omnibus/test_event_relay.py",
    "queue full, dropping event": "tests/lab/omnibus/test_event_relay.py",
    "GitLab was notified again of": "tests/unit/test_node_events.py",
    "GitLab does not know of": "tests/unit/test_node_events.py",
    "may be missing at the secondaries": "tests/unit/test_node_events.py",
    "the secondaries do not know of": "tests/unit/test_node_events.py",
    "may be missing at the new primary": "tests/unit/test_node_events.py",
    "could not determine whether GitLab missed the push of an image": "tests/unit/test_node_events.py",
    "has discarded its queue and only waits for GitLab": "tests/unit/test_node_events.py",
    "response status 401": "tests/e2e/test_docs_troubles.py",
    "No valid connection to primary registry": "tests/e2e/test_docs_troubles.py",
    "failed to mark filesystem only usage": "tests/e2e/layouts/lock_file.py",
    "registry metadata database in use, please enable the database": NODE_MESSAGES,
    "please import data before enabling": "tests/lab/omnibus/test_registry_database.py",
    "database-in-use and filesystem-in-use lockfiles present": "tests/lab/omnibus/test_registry_lock_files.py",
    "there are pending database migrations": "tests/lab/omnibus/test_registry_database.py",
    "the database version is lower than the minimal supported version": "tests/lab/omnibus/test_registry_database.py",
    "the database is in read-only mode (in recovery)": "tests/lab/omnibus/test_registry_database.py",
    "cannot execute CREATE TABLE in a read-only transaction": "tests/lab/omnibus/test_gitlab_ctl_versions.py",
    "405": "tests/e2e/test_shared.py",
    "unsupported": "tests/e2e/test_shared.py",
    "manifest unknown": "tests/e2e/test_docs_troubles.py",
    "ssh: handshake failed: EOF": "tests/e2e/layouts/bastion.py",
    "SSH_AUTH_SOCK": "tests/e2e/test_unreachable.py",
    "sudo: a password is required": "tests/e2e/test_docs_troubles.py",
    "string field contains invalid UTF-8": "tests/unit/test_session_errors.py",
    "failed attempts": "tests/e2e/test_unreachable.py",
    "the stack is currently locked": "tests/e2e/team.py",
    "exited prematurely": "tests/e2e/test_comment.py",
    "failed to register": "tests/e2e/test_docs.py",
    "InsufficientInstanceCapacity": "tests/e2e/test_created.py",
    "VcpuLimitExceeded": "tests/e2e/test_docs_created.py",
    "BucketAlreadyOwnedByYou": "tests/e2e/test_state.py",
    "RequestLimitExceeded": "tests/components/test_every_message.py",
    "Throttling": "tests/components/test_every_message.py",
    "UnauthorizedOperation": "tests/components/test_every_message.py",
    "AccessDenied": "tests/e2e/test_comment.py",
    "an earlier run was interrupted": "tests/e2e/test_failures.py",
    "certificate verify failed": "tests/e2e/layouts/private_ca.py",
    "Error while syncing tag": "tests/lab/omnibus/test_geo_worker.py",
}
"""What the page of troubles says without a code → where a test sees it; by default in NODE_MESSAGES."""

NOT_SEEN = {
    "pulumi up",
    "pulumi destroy",
    "docker push",
    "docker pull",
    "NODE-settings",
    "cause",
    "state",
    "do",
    "on",
    "off",
    "database-in-use",
    "filesystem-in-use",
}


def rows() -> list[tuple[str, str]]:
    """Of each row of the tables of the page: the heading of its first column, and that cell."""
    found, heading = [], ""
    for line in read("troubleshooting.md").splitlines():
        first = re.match(r"\| (.*?) \|", line)
        if first and heading:
            found.append((heading, first[1]))
        heading = (heading or (first[1] if first else "")) if line.startswith("|") else ""
    return found


def spans(cell: str) -> list[str]:
    """What stands between back-ticks."""
    return re.findall(r"`([^`]+)`", cell)


def symptoms() -> list[str]:
    """The first cells of the tables that do not go by codes, between back-ticks."""
    cells = [cell for heading, cell in rows() if heading != "code"]
    return [span for cell in cells for span in spans(cell) if span not in NOT_SEEN]


def test_each_symptom_is_seen_in_a_test() -> None:
    """By the very words of the page: where a message changes, its row is wrong and this fails."""
    for said in dict.fromkeys([*symptoms(), *SEEN]):
        where = SEEN.get(said, NODE_MESSAGES)
        text = (ROOT / where).read_text(encoding="utf-8")
        assert said in text, f"{said!r} is not in {where}"


def test_no_symptom_is_told_that_is_not_on_the_page() -> None:
    """The table above has nothing left over."""
    text = read("troubleshooting.md")
    assert [said for said in SEEN if f"`{said}`" not in text and said not in text] == []


def test_the_page_has_each_failure_by_its_code_and_no_other() -> None:
    """Its words may change without this test; a code may not."""
    codes = {code for heading, cell in rows() if heading == "code" for code in spans(cell)}
    written = [*of_nodes(), *of_registries(), *of_sessions(), *of_components(), *of_operations()]
    assert codes == {message.code for message in written}
    (shown,) = re.findall(rf"\[({CODE})\]\n +expected:", read("troubleshooting.md"))
    assert shown in {message.code for message in of_configurations()}


def test_what_is_proven_is_called_as_the_proof_calls_it() -> None:
    """The table of checks, and the secrets of the picture."""
    ruby = "".join(path.read_text() for path in sorted((ROOT / "hosts/gitlab_node").glob("*.rb")))
    checks = re.findall(r"^\| `(.*?)` \|", read("how-it-works.md", "The proof"), re.MULTILINE)
    assert len(checks) > 7
    assert [check for check in checks if check not in ruby] == []
    secrets = {"registry_key", "registry_certificate", "notification_secret", "http_secret"}
    named = read("how-it-works.md", "The two sites").lower().replace(" ", "_")
    assert {secret for secret in secrets if secret not in named} == set()


def test_no_picture_has_a_semicolon() -> None:
    """It ends a line in Mermaid, and so the picture with an error (seen, mermaid 11)."""
    pictures = [part for page in PAGES for part in re.findall(r"```mermaid\n(.*?)```", read(page), re.DOTALL)]
    assert len(pictures) > 2
    assert [picture for picture in pictures if ";" in picture] == []
