"""What the pages of docs/ quote: each message is seen in a test, by the very words of the page."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs import DOCS, PAGES, read

pytestmark = pytest.mark.unit

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
    "GitLab missed the push of an image could not be seen": "tests/unit/test_node_events.py",
    "has given up its queue and only waits for GitLab": "tests/unit/test_node_events.py",
    "response status 401": "tests/e2e/test_docs_troubles.py",
    "No valid connection to primary registry": "tests/e2e/test_docs_troubles.py",
    "failed to mark filesystem only usage": "tests/e2e/layouts/lock_file.py",
    "registry metadata database in use, please enable the database": NODE_MESSAGES,
    "the database is in read-only mode (in recovery)": "tests/lab/omnibus/test_registry_stand_in.py",
    "cannot execute CREATE TABLE in a read-only transaction": "tests/lab/omnibus/test_gitlab_ctl_versions.py",
    "405": "tests/e2e/test_shared.py",
    "unsupported": "tests/e2e/test_shared.py",
    "manifest unknown": "tests/e2e/test_docs_troubles.py",
    "no SSH connection to": "tests/e2e/test_unreachable.py",
    "no SSH connection to the bastion": "tests/e2e/layouts/bastion.py",
    "ssh: handshake failed: EOF": "tests/e2e/layouts/bastion.py",
    "no SSH connection was tried": "tests/e2e/test_unreachable.py",
    "SSH_AUTH_SOCK": "tests/e2e/test_unreachable.py",
    "the program could not begin": "tests/e2e/test_unreachable.py",
    "sudo: a password is required": "tests/e2e/test_docs_troubles.py",
    "was lost while the program ran there": "tests/e2e/test_unreachable.py",
    "was ended": "tests/unit/test_session_errors.py",
    "string field contains invalid UTF-8": "tests/unit/test_session_errors.py",
    "failed attempts": "tests/e2e/test_unreachable.py",
    "the stack is currently locked": "tests/e2e/team.py",
    "exited prematurely": "tests/e2e/test_comment.py",
    "failed to register": "tests/e2e/test_docs.py",
    "has no image of GitLab EE": "tests/components/test_every_message.py",
    "InsufficientInstanceCapacity": "tests/e2e/test_created.py",
    "VcpuLimitExceeded": "tests/e2e/test_docs_created.py",
    "BucketAlreadyOwnedByYou": "tests/e2e/test_state.py",
    "check the credentials in your environment": "tests/e2e/test_created.py",
    "has another processor": "tests/components/test_every_message.py",
    "RequestLimitExceeded": "tests/components/test_every_message.py",
    "Throttling": "tests/components/test_every_message.py",
    "UnauthorizedOperation": "tests/components/test_every_message.py",
    "AccessDenied": "tests/e2e/test_comment.py",
    "a file could not be written": "tests/e2e/test_failures.py",
    "an earlier run was cut off": "tests/e2e/test_failures.py",
    "nothing was touched": "tests/e2e/test_preview.py",
    "certificate verify failed": "tests/e2e/layouts/private_ca.py",
    "Error while syncing tag": "tests/lab/omnibus/test_geo_worker.py",
}
"""What the page of troubles says is seen → where a test sees it. What the program on a node says is in NODE_MESSAGES."""

NOT_SEEN = {
    "pulumi up",
    "pulumi destroy",
    "docker push",
    "docker pull",
    "NODE-settings",
    "cause",
    "state",
    "do",
    "why",
    "example",
    "on",
    "off",
    "database-in-use",
    "filesystem-in-use",
}


def symptoms() -> list[str]:
    """The first cells of the tables, between back-ticks."""
    rows = re.findall(r"^\| (.*?) \|", read("troubleshooting.md"), re.MULTILINE)
    return [span for row in rows for span in re.findall(r"`([^`]+)`", row) if span not in NOT_SEEN]


def test_each_symptom_is_seen_in_a_test() -> None:
    """By the very words of the page: where a message changes, its row is wrong and this fails."""
    for said in symptoms():
        where = SEEN.get(said, NODE_MESSAGES)
        text = (ROOT / where).read_text(encoding="utf-8")
        assert said in text, f"{said!r} is not in {where}"


def test_no_symptom_is_told_that_is_not_on_the_page() -> None:
    """The table above has nothing left over."""
    text = read("troubleshooting.md")
    assert [said for said in SEEN if f"`{said}`" not in text and said not in text] == []


def test_every_failure_of_the_nodes_program_is_on_the_page() -> None:
    """By the longest part of its first line that is the same each time."""
    ruby = "".join(path.read_text() for path in sorted((ROOT / "components/scripts/node").glob("*.rb")))
    said = re.findall(
        r"""(?:Failure\.new|\bfailed|\brefused)\(\s*(?:'((?:[^'\\]|\\.)+)'|"((?:[^"\\]|\\.)+)")""", ruby
    )
    page = read("troubleshooting.md")
    fixed = [
        max(re.split(r"#\{[^}]*\}", "".join(one).replace("\\'", "'")), key=len).removeprefix("'s registry ")
        for one in said
    ]
    assert len(fixed) > 20
    ours = (re.sub("^(the proof failed|refused): ?|its registry's ", "", text).strip() for text in fixed)
    assert [text for text in ours if text not in page] == []


def test_what_is_proven_is_called_as_the_proof_calls_it() -> None:
    """The table of checks, and the secrets of the picture."""
    ruby = "".join(path.read_text() for path in sorted((ROOT / "components/scripts/node").glob("*.rb")))
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


def test_the_secret_that_gitlabs_page_makes_may_not_begin_with_a_letter() -> None:
    """What its pipe of tr, head and sed lets through: a digit is taken off the front, what stands behind it is not."""
    for drawn in ("7-a_b", "_A"):
        made = subprocess.run(
            ["sed", "s/^[0-9]*//"], input=drawn, capture_output=True, text=True, check=True
        ).stdout
        assert not made[0].isalpha()
