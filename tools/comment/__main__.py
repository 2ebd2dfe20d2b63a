"""The preview of a stack as a comment: `make preview-comment STACK=prod`, used by you and by both CIs.

Exit status: 0 nothing would change, 2 something would, 3 something would be deleted or replaced, 1 the
preview or the comment failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from tools.comment import publish
from tools.comment.changes import Preview, parse
from tools.comment.markdown import LIMIT, marker, render

SAME, ERROR, CHANGE, DESTRUCTIVE = 0, 1, 2, 3
_WHOLE = 10**9
# Credentials of the job, which the program's dependencies need not see. Anyone who can change this file can
# still use them.
_NOT_FOR_THE_PROGRAM = (
    "PREVIEW_COMMENT_TOKEN",
    "GITHUB_TOKEN",
    "AWS_ID_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
)


def main(argv: list[str]) -> int:
    """Print the comment, and put it on the pull or merge request with --post. Returns the exit status."""
    parser = _Parser(prog="python -m tools.comment", description=__doc__)
    parser.add_argument("--stack", required=True, help="the stack to preview")
    parser.add_argument("--project", default=".", type=Path, help="the directory with Pulumi.yaml")
    parser.add_argument(
        "--json", type=Path, help="read the JSON of a preview from this file, instead of running one"
    )
    parser.add_argument("--refresh", action="store_true", help="also detect drift: reads all resources")
    parser.add_argument("--post", action="store_true", help="create or update the comment, in a CI job")
    args = parser.parse_args(argv)
    if not args.stack:
        parser.error("STACK is empty: name the stack, for example `make preview-comment STACK=prod`")
    if args.json:
        try:
            preview = parse(args.json.read_text(encoding="utf-8"), args.stack)
        except (OSError, UnicodeDecodeError) as error:
            parser.error(f"--json {args.json} cannot be read: {error}")
    else:
        preview = run(args.stack, args.project, refresh=args.refresh)
    commit = os.environ.get("PREVIEW_COMMIT", "")
    print(render(preview, _WHOLE, commit), end="")
    if args.post:
        try:
            address = publish.publish(render(preview, LIMIT, commit), marker(args.stack))
        except publish.NotPublished as error:
            print(f"The comment could not be published: {error}", file=sys.stderr)
            return ERROR
        print(f"Comment: {address}", file=sys.stderr)
    return status(preview)


def status(preview: Preview) -> int:
    """The exit status for a preview."""
    if preview.errors:
        return ERROR
    if preview.dangers:
        return DESTRUCTIVE
    return CHANGE if preview.changes else SAME


def run(stack: str, project: Path, *, refresh: bool = False) -> Preview:
    """Run the engine and read its JSON."""
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
        message = done.stderr.strip() or f"pulumi preview ended with status {done.returncode}"
        return Preview(stack, preview.changes, preview.settings, (message,), preview.warnings)
    return preview


class _Parser(argparse.ArgumentParser):
    """argparse's exit status for an invalid command line, 2, would mean that something changes."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
