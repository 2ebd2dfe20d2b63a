"""``python -m lab``: run a command, a shell or the demonstration with two GitLab sites around it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

BANNER = """\
echo
echo "Two GitLab sites run in here: $(ls "$LAB_DIR/hosts" | tr '\\n' ' ')- reach them with \\`ssh NAME\\`."
echo 'This is a project directory of the lab: pulumi up, preview and destroy work. `exit` ends the lab.'
echo 'Stack dev creates two more on AWS, as the lab has it; --stack existing and replicated use these.'
echo
export PS1='lab:\\W\\$ '
bash --norc -i
# Whatever its last command was: leaving the shell is no failure.
exit 0
"""
CHECKOUT = Path(__file__).resolve().parent.parent


def main(argv: list[str]) -> int:
    """Parse the command line and run the lab; the exit status is the command's, or 130 after a Ctrl-C."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        print("\nlab: interrupted before it started", file=sys.stderr)
        return 130


def unknown_stacks(stacks: list[str], checkout: Path = CHECKOUT) -> str:
    """One line that says which of the stacks are none of the checkout's, and which there are; else ""."""
    known = sorted(file.name.split(".")[1] for file in checkout.glob("Pulumi.*.yaml"))
    unknown = [stack for stack in stacks if stack not in known]
    return f"no stack {', '.join(unknown)} here. There are: {', '.join(known)}" if unknown else ""


def _main(argv: list[str]) -> int:
    # Only now, so that a Ctrl-C during these imports is met as well.
    from lab import launch
    from lab.layouts import LAYOUTS

    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("run", "run a command inside a fresh lab"),
        ("shell", "the same with a shell"),
        ("demo", "run the demonstration inside a fresh lab"),
    ):
        sub = verbs.add_parser(verb, help=text)
        sub.add_argument("--name", default=verb, help="labs of different names can run at once")
        sub.add_argument("--sites", default="default", choices=LAYOUTS, help="which sites there are")
        sub.add_argument("--quiet", action="store_true", help="no progress on the screen")
        sub.add_argument("--keep", action="store_true", help="keep state and logs (shell always does)")
        if verb == "run":
            sub.add_argument("--here", action="store_true", help="run it here, not in the project directory")
            sub.add_argument("command", nargs="+", help="after --: the command and its arguments")
        if verb == "demo":
            sub.add_argument("stacks", nargs="*", help="the stacks to show; default: all")
    given = parser.parse_args(argv)
    cwd = None
    if given.verb == "run":
        command = given.command
        cwd = str(Path.cwd()) if given.here else None
    elif given.verb == "demo":
        if problem := unknown_stacks(given.stacks):
            print(f"lab: {problem}", file=sys.stderr)
            return 1
        command = launch.python("lab.demo", given.stacks)
        cwd = str(CHECKOUT)
    else:
        command = ["bash", "-c", BANNER]
    keep = given.keep or given.verb == "shell"
    return launch.run(launch.Options(given.name, given.sites, given.quiet, command, cwd, keep))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
