"""A person who follows a page of docs/: types its commands as they stand, and sees what it says is seen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

from lab.api import Lab
from tests.docs import commands, filled, read, shown


class Reader:
    """`typed`: every command so far, as it stands in its page; `values` are what stands for words in capitals.

    `stack`: the one that is meant where a command names none; else the one that was selected last.
    """

    def __init__(self, lab: Lab, stack: str = "", **values: str) -> None:
        self.where = lab.dir / "project"
        # What a person is asked is answered with yes; a preview that nobody reads is left out.
        self.env = {"PULUMI_SKIP_CONFIRMATIONS": "true", "PULUMI_OPTION_SKIP_PREVIEW": "true"}
        if stack:
            self.env["PULUMI_STACK"] = stack
        self.values = values
        self.typed: set[str] = set()

    def does(self, page: str, section: str = "", *, fails: bool = False) -> str:
        """All commands of a section, one after the other; all that they say. `fails`: the last of them must."""
        return self.types(commands(page, section), fails=fails)

    def types(self, lines: Iterable[str], *, fails: bool = False) -> str:
        """These commands of a page, likewise."""
        *first, last = lines
        said = [self._type(line, fails=False) for line in first]
        return "".join([*said, self._type(last, fails=fails)])

    def sees(self, page: str, section: str, said: str) -> None:
        """Each line of the section's ```text blocks is in what was said."""
        lines = shown(page, section)
        assert lines, f"{page} shows nothing in {section}"
        assert [line for line in lines if line not in said] == [], said

    def _type(self, line: str, *, fails: bool) -> str:
        self.typed.add(line)
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {filled(line, self.values)}"],
            cwd=self.where,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, f"{line}: exit {done.returncode}\n{said}"
        return said


def example(page: str, section: str) -> str:
    """The section's ```yaml block."""
    return read(page, section).split("```yaml\n", 1)[1].split("```", 1)[0]
