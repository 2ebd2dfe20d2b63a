"""The orders: apply, undo, and inspect_storage, which only reads."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any, Callable

from . import report, storage
from .asking import Proof
from .files import Change, read
from .held import Contents, Held, agreement, text, tree
from .report import Failure
from .service import restart


def run(order: dict[str, Any], command: str) -> int:
    """The exit status. The engine may be killed at any time: the work goes on to a whole state."""
    # Not SIG_IGN: what is ignored here would be ignored by whatever the restart starts.
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        report.result(Main(order).run(command))
        return 0
    except Exception as error:  # noqa: BLE001 (a traceback could show what must not be shown)
        report.failure(order, Failure.of(error))
        return 1


class Main:
    """On one host; `directory` and `lock` are elsewhere in tests."""

    def __init__(
        self,
        order: dict[str, Any],
        directory: str = "/etc/gitlab-geo-registry",
        lock: str = "/run/gitlab-geo-external-registry.lock",
    ) -> None:
        self._order, self._name = order, order["node"]
        self._directory, self._lock = Path(directory), lock
        report.learn(order["secrets"])

    def run(self, command: str) -> dict[str, Any]:
        with open(self._lock, "a", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            self._hold(file)
            # Not before: somebody else may have changed it while this run waited.
            self._held = Held(self._directory)
            orders = {"apply": self._apply, "undo": self._undo, "inspect_storage": self._inspect_storage}
            return orders[command]()

    def _hold(self, file: Any) -> None:
        deadline, told = time.monotonic() + self._order["reconfigure_seconds"], False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not told:
                    report.say(f"{self._name}: waiting for another run on this host to end")
                told = True
            if time.monotonic() > deadline:
                raise Failure(
                    "another run of this program is still at work on this host",
                    cause=f"{self._lock} is held",
                    remedy="wait for it to end, then `pulumi up` again",
                )
            time.sleep(0.5)

    def _inspect_storage(self) -> dict[str, Any]:
        return {"storage": storage.identity(tree(text(self._order["config"])))}

    def _apply(self) -> dict[str, Any]:
        order, path = self._order, self._order["config"]
        self._refuse_anothers()
        interrupted = self._recover()
        contents = self._held.contents(order)
        new = tree(contents[path].decode())
        storage.refuse_to_hide_images(order, tree(text(path)), new)
        changed = {path: data for path, data in contents.items() if read(path) != data}
        needed = interrupted or bool(set(changed) - {str(self._held.file)})
        if not needed:
            report.say(f"{self._name}: configuration unchanged")
        proof = Proof(order, new, agreed=self._held.fields.get("agreed") == agreement(order))
        proven = self._change(changed, proof.run, again=needed) if changed or interrupted else proof.run()
        if order["secrets"] and Path(path).stat().st_mode & stat.S_IROTH:
            # Not ours to change: the registry may run as anybody.
            proven[f"every user of this host can read {path}"] = (
                "yes: see to its mode, there are secrets in it"
            )
        return {"node": self._name, "site": order["site"], "restarted": needed, "proof": proven}

    def _refuse_anothers(self) -> None:
        owner, own = self._held.holder[0], self._order["owner"]
        if owner not in (None, own):
            raise Failure(
                f"this host is managed by the stack {owner}",
                cause=f"{self._held.file} says so",
                remedy="run `pulumi destroy` in that stack first; if that stack is gone, put "
                f"{own} in as owner there",
            )

    def _recover(self) -> bool:
        """What a run that was cut off has left is taken back; what somebody has edited since is theirs."""
        left = Change.left(self._directory)
        if left is None:
            return False
        report.say(f"{self._name}: an earlier run was cut off; what it had begun is taken back first")
        if not left.edited:
            left.take_back()
        left.end()
        # Until a change has come to its end, whoever follows must know that a restart is owed.
        Change(self._directory, []).keep()
        self._held = Held(self._directory)
        return True

    def _change(
        self, contents: Contents, prove: Callable[[], dict[str, str]], *, again: bool
    ) -> dict[str, str]:
        """Writes, restarts (`again`), proves; takes all of it back if any of it fails."""
        modes = {str(self._held.file): 0o600, self._order["certificate"]: 0o644}
        change = Change.make(self._directory, contents, modes)
        try:
            if again:
                self._restart()
            proven = prove()
        except Exception as error:  # noqa: BLE001 (whatever it is, the former files come back)
            raise Failure.of(error).and_now(self._take_back(change, again=again)) from None
        change.end()
        return proven

    def _take_back(self, change: Change, *, again: bool) -> str:
        """In which state the host is then. While the journal stays, the next run goes on with it."""
        report.say(f"{self._name}: putting the former files back")
        try:
            change.take_back()
            if again:
                self._restart()
            up = Proof(self._order, tree(text(self._order["config"])), agreed=True).answers()
        except Failure as error:
            return f"the former files are back, but a restart with them failed as well ({error.cause})"
        except Exception as error:  # noqa: BLE001 (the first failure is what is told)
            return f"the former files are being put back, and that came to no end ({error})"
        change.end()
        return (
            f"the former files are back, and the registry {'answers' if up else 'does not answer'} with them"
        )

    def _restart(self) -> None:
        report.say(f"{self._name}: {self._order['restart']}")
        restart(self._order["restart"])

    def _undo(self) -> dict[str, Any]:
        """Takes out all that apply put in, and nothing else."""
        interrupted = self._recover()
        held, own = self._held, (self._order["owner"], self._order["resource"])
        if held.fields and held.holder != own:
            return self._nothing(f"now managed as {' '.join(map(str, held.holder))}, nothing to take out")
        if not held.fields and not interrupted:
            return self._nothing("nothing of ours on this host")
        contents: Contents = held.former_contents() if held.fields else {}
        now = read(held.fields["config"]) if held.fields else None
        self._change(contents, dict, again=True)
        if now is not None:
            self._tell_what_stays(now.decode(), contents[held.fields["config"]].decode())
        return {"node": self._name, "undone": True}

    def _nothing(self, why: str) -> dict[str, Any]:
        report.say(f"{self._name}: {why}")
        return {"node": self._name, "undone": False}

    def _tell_what_stays(self, now: str, former: str) -> None:
        was, will = storage.identity(tree(now)), storage.identity(tree(former))
        if was and will and was != will:
            shown = (
                f"s3://{was['place'][1]}" if was["driver"] == "s3" else ":".join(filter(None, was["place"]))
            )
            stays = f"({will['driver']}); the images in {shown} stay there"
            report.say(f"{self._name}: the registry is on its former storage again {stays}")
