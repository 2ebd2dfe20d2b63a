"""Commit subjects: an error for each of more than 72 characters.

`subjects.py BASE..HEAD` checks those commits, `subjects.py FILE` a message, as the commit-msg hook does.
Standard library only: this runs without `.venv`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LONGEST = 72


def main(source: str) -> int:
    """The exit status: 1 for a subject that is too long, git's where it does not know the commits."""
    if ".." in source and not Path(source).is_file():
        # Subjects of merges are the forge's, with branch names of any length.
        log = ["git", "log", "--no-merges", "--format=%h %s", source, "--"]
        done = subprocess.run(log, stdout=subprocess.PIPE, encoding="utf-8", check=False)
        if done.returncode:
            return done.returncode
        named = [line.partition(" ") for line in done.stdout.splitlines()]
        subjects = {commit: subject for commit, _, subject in named}
    else:
        subjects = {"this commit": Path(source).read_text(encoding="utf-8").partition("\n")[0]}
    long = {commit: subject for commit, subject in subjects.items() if len(subject) > LONGEST}
    for commit, subject in long.items():
        print(
            f"{commit}: the subject has {len(subject)} characters, at most {LONGEST} are allowed: {subject}"
        )
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
