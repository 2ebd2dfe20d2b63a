"""Imports the metadata of a site's images into its database: `make import-registry STACK=prod SITE=tokyo`.

The steps are those of GitLab's importer (docs/storage.md, "Import of existing images"): manifests while the
registry serves, then, in read-only mode, tags and a comparison, then `pulumi up`, then the other blobs. The
importer runs on the node without this program, which only starts the steps and shows them: interrupted, it
continues where it stopped. Exit status: 0 done, 1 failed or refused, 130 interrupted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from operations.display import Progress, duration, say
from operations.ssh import NodeFailure, NodeSession, NotConnected, patiently
from operations.stack import Stack, StackError, read
from plan.database import PASSWORD
from plan.node import NodePlan

MANIFESTS, TAGS, BLOBS = "1", "2", "3"
NAMES = {
    MANIFESTS: "step 1 of 3: manifests, while the registry serves",
    TAGS: "step 2 of 3: tags, in read-only mode",
    BLOBS: "step 3 of 3: other blobs, while the registry serves",
}
PHASES = ("checked", "pre-import", "read-only", "imported", "switched", "done")
POLL_SECONDS = 2


class Refused(Exception):
    """Nothing was changed. The text says why and what to do."""


class Import:
    """The import of one site. `nodes`: those with a registry; the importer runs on the first."""

    def __init__(self, site: str, nodes: list[NodeSession], secrets: dict[str, str], *, ask: bool) -> None:
        self._site, self._nodes, self._ask = site, nodes, ask
        self._secrets = secrets

    def dry_run(self) -> None:
        """Runs each step without a change of metadata, and says how long it takes."""
        facts = self._first("check")
        if facts["phase"] not in ("checked", "pre-import"):
            raise Refused(f"The import of {self._site} has gone too far for a dry run: {facts['phase']}.")
        seconds = {step: self._step(step, facts, dry_run=True) for step in NAMES}
        say(f"Step 1 takes about {duration(seconds[MANIFESTS])} while the registry serves.")
        say(f"Step 2 takes at most {duration(seconds[TAGS])}, in which nobody can push.")
        say(f"Step 3 takes about {duration(seconds[BLOBS])} while the registry serves.")

    def give_up(self) -> None:
        """The registry as before, whatever has been done."""
        done = [self._call(node, "give_up")["given_up"] for node in self._nodes]
        if not any(done):
            raise Refused(f"There is no import of {self._site} to give up.")
        say(
            f"The import of {self._site} is given up: its registry is as before. "
            "Remove metadata_database of this site."
        )

    def run(self, switch: Callable[[], bool]) -> bool:
        """All that is still to do; whether the site uses its database now. `switch` runs `pulumi up`."""
        facts = self._first("check")
        facts["phase"] = self._phase()
        if facts["phase"] in ("checked", "pre-import"):
            self._step(MANIFESTS, facts)
            if not self._confirmed(facts):
                return False
            facts["phase"] = "read-only"
        if facts["phase"] == "read-only":
            # On every node: an earlier run may have ended between two of them.
            for node in self._nodes:
                self._call(node, "read_only", enabled=True)
            say(f"{self._site}: read-only since {time.strftime('%H:%M:%S')}. Nobody can push.")
            self._tags(facts)
            facts["phase"] = "imported"
        if facts["phase"] == "imported":
            switched = switch()
            if not switched and self._phase() == "imported":
                say("The registry stays read-only until `pulumi up` succeeds. Do not restart it before that.")
                return False
            if not switched:
                say(f"`pulumi up` failed, but not at {self._site}.")
            facts = self._first("check")
            away = duration(facts["read_only_seconds"])
            say(f"{self._site} uses its metadata database. Nobody could push for {away}.")
        if facts["phase"] == "switched":
            self._step(BLOBS, facts)
            for node in self._nodes:
                self._call(node, "record", phase="done")
        say(f"{self._site}: the import is complete.")
        return True

    def _phase(self) -> str:
        """That of the node that is least far."""
        phases = {self._call(node, "phase")["phase"] for node in self._nodes}
        return next(phase for phase in PHASES if phase in phases)

    def _tags(self, facts: dict[str, Any]) -> None:
        self._step(TAGS, facts)
        same = self._first("compare")
        say(
            f"The database has the same {same['repositories']} repositories, {same['tags']} tags and "
            f"{same['digests']} digests as the storage."
        )
        if same["broken"]:
            say(f"{same['broken']} tags cannot be read, neither before nor after the import.")
        for node in self._nodes:
            self._call(node, "record", phase="imported")

    def _step(self, step: str, facts: dict[str, Any], *, dry_run: bool = False) -> float:
        """Runs a step on the first node, or continues to watch it; its seconds."""
        say(f"==> {NAMES[step]}{' (dry run)' if dry_run else ''}")
        last = facts["progress"]
        same = (last["step"], last["dry_run"]) == (step, dry_run)
        # Step 1 continues quickly: the importer skips repositories that it imported recently.
        if not same or not (last["running"] or (last["ok"] and step != MANIFESTS)):
            self._first("run", step=step, dry_run=dry_run)
        total = facts.get("repositories") if step != BLOBS else None
        unit = "blobs" if step == BLOBS else "repositories"
        with Progress(unit, total) as progress:
            while (now := self._first("progress"))["running"]:
                progress.show(now["done"], now["seconds"])
                time.sleep(POLL_SECONDS)
            progress.show(now["done"], now["seconds"])
        if not now["ok"]:
            raise Refused(
                f"Step {step} of the import failed on {self._nodes[0].node.name} [import-step-failed]\n"
                f"  cause: {now['why'] or 'the importer was stopped'}\n"
                f"  state: {self._state(step)}\n"
                "  do:    correct that, then run the same command again, which continues; or GIVE_UP=1"
            )
        say(f"    done in {duration(now['seconds'])}: {now['done']} {unit}")
        return float(now["seconds"])

    def _state(self, step: str) -> str:
        if step == TAGS:
            return "the registry is read-only and serves from its storage, as before"
        return "the registry serves as before" if step == MANIFESTS else "the registry uses its database"

    def _confirmed(self, facts: dict[str, Any]) -> bool:
        if not self._ask:
            return True
        say(
            f"From now on the registry of {self._site} refuses pushes, until the tags are imported and "
            f"`pulumi up` has switched it to {facts['database']}."
        )
        if not sys.stdin.isatty():
            say("Confirm it with YES=1.")
            return False
        return input("Continue? [y/N] ").strip().lower() in ("y", "yes")

    def _first(self, action: str, **request: Any) -> dict[str, Any]:
        return self._call(self._nodes[0], action, **request)

    def _call(self, node: NodeSession, action: str, **request: Any) -> dict[str, Any]:
        call = partial(node.run, "import", {"action": action, **request}, self._secrets)
        # Each of them can be repeated: what has been done is not done again.
        return patiently(call, say)


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make import-registry", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--project", default=".", type=Path, help="the directory with Pulumi.yaml")
    parser.add_argument("--dry-run", action="store_true", help="say how long each step takes")
    parser.add_argument("--give-up", action="store_true", help="the registry as before")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args(argv)
    try:
        return _run(args)
    except (Refused, StackError) as error:
        print(error, file=sys.stderr)
    except NotConnected as error:
        print(f"{error}\nRun the same command again once the node answers.", file=sys.stderr)
    except NodeFailure as error:
        print(f"The import did not continue: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. A step that has begun continues on the node: run the same command again to watch "
            "it, or with GIVE_UP=1 to stop it.",
            file=sys.stderr,
        )
        return 130
    return 1


def _run(args: argparse.Namespace) -> int:
    stack = read(args.stack, args.project)
    nodes = _nodes(stack, args.site)
    with ExitStack() as sessions:
        connected = [sessions.enter_context(NodeSession(stack, node, say)) for node in nodes]
        work = Import(args.site, connected, _secrets(stack, args.site), ask=not args.yes)
        if args.give_up:
            work.give_up()
            return 0
        if args.dry_run:
            work.dry_run()
            return 0
        return 0 if work.run(partial(_switch, stack, yes=args.yes)) else 1


def _secrets(stack: Stack, site: str) -> dict[str, str]:
    """The password, and the key with which a node signs the tokens that list the images: for one with only a
    registry, GitLab writes none.
    """
    created = stack.databases.get(site, {}).get(PASSWORD.name)
    password = created or stack.plan.secrets.databases.get(site)
    keys = {sent.get("secrets", {}).get("registry_key") for sent in stack.payloads.values()} - {None}
    return {
        **({"database_password": password} if password else {}),
        **({"registry_key": keys.pop()} if keys else {}),
    }


def _refuse_others(stack: Stack, site: str) -> None:
    """`pulumi up` of the whole stack would fail at a second site whose images are not imported."""
    for host in stack.plan.hosts.values():
        sent = stack.payloads.get(host.name, {})
        if not isinstance(host, NodePlan) or host.site == site or "registry" not in host.roles or not sent:
            continue
        if host.inspect["database"] and not sent.get("database"):
            raise Refused(
                f"sites.{host.site}.metadata_database is new as well: one site at a time "
                f"[import-one-site-at-a-time]\nRemove it until the import of {site} is complete."
            )


def _nodes(stack: Stack, site: str) -> list[Any]:
    if site not in stack.plan.sites:
        raise Refused(f"There is no site {site!r} in {stack.name}: {', '.join(stack.plan.sites)}.")
    nodes = stack.registry_nodes(site)
    database = nodes[0].inspect["database"] if nodes else None
    if database is None:
        key = f"sites.{site}.metadata_database"
        raise Refused(
            f"{key} is not set: name the database that the metadata is imported into, for example\n"
            f"  pulumi config set --path '{key}.host' db.{site}.example.com\n"
            f"  pulumi config set --secret --path '{key}.password'"
        )
    aws = stack.plan.sites[site].aws
    if aws and aws.database and site not in stack.databases:
        raise Refused(
            f"The metadata database of {site} does not exist yet: run `pulumi up`, which creates it and then "
            "refuses to switch a registry with images to it. [import-database-missing]\n"
            "Then run the same command again."
        )
    _refuse_others(stack, site)
    return nodes


def _switch(stack: Stack, *, yes: bool) -> bool:
    say("==> pulumi up")
    command = ["pulumi", "up", "--stack", stack.name, *(["--yes", "--skip-preview"] if yes else [])]
    # Ctrl-C reaches it as well, and it must end by itself: killed, it would leave the stack locked.
    process, interrupted = subprocess.Popen(command, cwd=stack.project), False
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return status == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
