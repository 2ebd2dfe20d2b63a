"""Ruby processes that answer each line of JSON with one, for tests of Ruby."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Self

from hosts.programs import GITLAB_NODE

POOREST = {"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin"}
"""An environment with the locale that is hardest on programs."""
LOAD = """
require "#{ARGV[0]}/files"
Dir.glob("#{ARGV[0]}/*.rb").sort.reject { |path| path.end_with?('/main.rb') }.each { |path| require path }
"""
"""The program on GitLab nodes without its main part, in the order of hosts/programs.py; ARGV: its folder."""
PROGRAM = (
    LOAD
    + """
$stdout.sync = true
while (line = $stdin.gets)
  call, *args = JSON.parse(line)
  puts JSON.generate([eval(call).call(*args)])
end
"""
)


class Ruby:
    """One process for many questions; it ends with its `with` block."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            ["ruby", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def ask(self, question: Any) -> Any:
        """What it answers."""
        return self.ask_line(json.dumps(question))

    def ask_line(self, line: str) -> Any:
        """The same for JSON that is written in another way."""
        assert self._process.stdin and self._process.stdout
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"Ruby gave up on {line}"
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)


class Program(Ruby):
    """The modules of the program on a node."""

    def __init__(self) -> None:
        super().__init__("-rjson", "-e", PROGRAM, str(GITLAB_NODE))

    def call(self, source: str, *args: Any) -> Any:
        """The value of a Ruby lambda for JSON arguments."""
        return self.ask([source, *args])[0]
