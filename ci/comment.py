"""The preview of a stack as a comment: `make preview-comment STACK=prod`, by a person and by both CIs.

Exit status: 0 nothing would change, 2 something would, 3 something would be deleted or replaced, 1 the
preview failed or could not be made.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from ci import publish
from ci.changes import Preview, parse
from ci.markdown import LIMIT, marker, render

SAME, ERROR, CHANGE, DESTRUCTIVE = 0, 1, 2, 3
_WHOLE = 10**9
# What the job itself needs. Whoever may change this file could use them still; a dependency cannot by chance.
_NOT_FOR_THE_PROGRAM = (
    "PREVIEW_COMMENT_TOKEN",
    "GITHUB_TOKEN",
    "AWS_ID_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
)


def main(argv: list[str]) -> int:
    """Print the comment, and put it on the pull or merge request with --post. Returns the exit status."""
    parser = _Parser(prog="python -m ci.comment", description=__doc__)
    parser.add_argument("--stack", required=True, help="the stack whose preview it is")
    parser.add_argument("--project", default=".", type=Path, help="the directory with Pulumi.yaml")
    parser.add_argument("--json", type=Path, help="a preview's JSON in a file, instead of a preview now")
    parser.add_argument("--refresh", action="store_true", help="look for drift as well: reads all resources")
    parser.add_argument("--post", action="store_true", help="make or update the comment, from a CI's job")
    given = parser.parse_args(argv)
    if not given.stack:
        parser.error("STACK is empty: name the stack, for example `make preview-comment STACK=prod`")
    if given.json:
        try:
            preview = parse(given.json.read_text(encoding="utf-8"), given.stack)
        except (OSError, UnicodeDecodeError) as error:
            parser.error(f"--json {given.json} cannot be read: {error}")
    else:
        preview = run(given.stack, given.project, refresh=given.refresh)
    commit = os.environ.get("PREVIEW_COMMIT", "")
    print(render(preview, _WHOLE, commit), end="")
    if given.post:
        try:
            where = publish.publish(render(preview, LIMIT, commit), marker(given.stack))
        except publish.NotPublished as error:
            print(f"The comment could not be made: {error}", file=sys.stderr)
            return ERROR
        print(f"Comment: {where}", file=sys.stderr)
    return status(preview)


def status(preview: Preview) -> int:
    """The exit status for a preview."""
    if preview.errors:
        return ERROR
    if preview.dangers:
        return DESTRUCTIVE
    return CHANGE if preview.changes else SAME


def run(stack: str, project: Path, *, refresh: bool = False) -> Preview:
    """Ask the engine; its messages go by, its JSON is read."""
    command = ["pulumi", "preview", "--json", "--non-interactive", "--stack", stack]
    command += ["--refresh"] if refresh else []
    env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_PROGRAM}
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env=env,
            text=True,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return Preview(stack, errors=("no pulumi on PATH: run this through make",))
    preview = parse(done.stdout, stack, done.stderr)
    if done.returncode and not preview.errors:
        said = done.stderr.strip() or f"pulumi preview ended with status {done.returncode}"
        return Preview(stack, preview.changes, preview.settings, (said,), preview.warnings)
    return preview


class _Parser(argparse.ArgumentParser):
    """argparse's own status for a wrong command line, 2, would say that something changes."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
