"""``python -m lab``: run a command, a shell or the demonstration in a lab with two GitLab sites."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

BANNER = """\
echo
echo "Two GitLab sites are up: $(ls "$LAB_DIR/hosts" | tr '\\n' ' ')- connect with \\`ssh NAME\\`."
echo 'This is the project directory of the lab: pulumi up, preview and destroy work. `exit` stops the lab.'
echo 'Stack dev creates two more sites on the AWS of the lab; stacks existing and replicated use these sites.'
echo
export PS1='lab:\\W\\$ '
bash --norc -i
# Leaving the shell is not a failure, whatever its last command was.
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
    """One line that names the unknown stacks and the stacks of this checkout; "" if all are known."""
    known = sorted(file.name.split(".")[1] for file in checkout.glob("Pulumi.*.yaml"))
    unknown = [stack for stack in stacks if stack not in known]
    return f"unknown stack: {', '.join(unknown)}. Known stacks: {', '.join(known)}" if unknown else ""


def _main(argv: list[str]) -> int:
    # Imported here, so that a Ctrl-C during these imports is handled as well.
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
        sub.add_argument("--name", default=verb, help="labs of different names can run at the same time")
        sub.add_argument("--sites", default="default", choices=LAYOUTS, help="which sites to start")
        sub.add_argument("--quiet", action="store_true", help="do not print progress")
        sub.add_argument("--keep", action="store_true", help="keep state and logs (shell always does)")
        if verb == "run":
            sub.add_argument(
                "--here",
                action="store_true",
                help="run it in the current directory, not in the project directory",
            )
            sub.add_argument("command", nargs="+", help="after --: the command and its arguments")
        if verb == "demo":
            sub.add_argument("stacks", nargs="*", help="the stacks to show; default: all")
    options = parser.parse_args(argv)
    cwd = None
    if options.verb == "run":
        command = options.command
        cwd = str(Path.cwd()) if options.here else None
    elif options.verb == "demo":
        if problem := unknown_stacks(options.stacks):
            print(f"lab: {problem}", file=sys.stderr)
            return 1
        command = launch.python("lab.demo", options.stacks)
        cwd = str(CHECKOUT)
    else:
        command = ["bash", "-c", BANNER]
    keep = options.keep or options.verb == "shell"
    return launch.run(launch.Options(options.name, options.sites, options.quiet, command, cwd, keep))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
