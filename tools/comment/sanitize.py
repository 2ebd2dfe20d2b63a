"""Untrusted text in Markdown: whatever a configuration or a message contains, it stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable

SECRET = "[secret]"  # noqa: S105 (the engine's placeholder)

# Complete, or without its end: then the rest of its line, and the following lines that look like a key.
_PRIVATE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"(?:(?:(?!-----BEGIN)[\s\S]){0,20000}?-----END [A-Z ]*PRIVATE KEY-----"
    r"|[^\n]*(?:\n[A-Za-z0-9+/=]{20,}[^\n]*)*)"
)
_LOGIN = re.compile(r"(://)[^/\s@`]*:[^/\s@`]*@")
_TOKENS = re.compile(r"\b(?:gl[a-z]{2,6}-[\w-]{20,}|gh[a-z]_\w{30,}|github_pat_\w{30,})")


def code(text: str) -> str:
    """As a code span that also works in a table: Markdown and @names in it have no effect."""
    words = " ".join(text.replace("`", "’").split())
    return "`{}`".format(words.replace("|", "\\|") or " ")


def inline(text: str) -> str:
    """As plain words: the characters of Markdown, HTML and mentions are removed."""
    return re.sub(r"[<>@`|*\[\]\\]", "", " ".join(text.split()))


def cut(text: str, longest: int) -> str:
    """At most `longest` characters, and an ellipsis if there were more."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def fenced(lines: Iterable[str], language: str) -> list[str]:
    """A code block with a fence that none of its lines can close."""
    body = [" ⏎ ".join(line.splitlines()) for line in lines]
    longest = max((len(run) for line in body for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *body, fence]


def masked(text: str) -> str:
    """Mask private keys and tokens, in case a message quotes one."""
    for secret, replacement in ((_PRIVATE, "(secret)"), (_LOGIN, r"\1(secret)@"), (_TOKENS, "(secret)")):
        text = secret.sub(replacement, text)
    return text.replace(SECRET, "(secret)")
