"""The commands: apply and undo; inspect_storage and verify, which only read."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any, Callable

from . import report, storage
from .files import FileTransaction, read
from .host_state import Contents, HostState, text, tree
from .probes import Proof
from .report import Failure
from .service import restart
from .verification import verify


def run(order: dict[str, Any], command: str) -> int:
    """The exit status. The engine may be killed at any time: the program continues to a consistent state."""
    # Not SIG_IGN: the processes that the restart starts would inherit it.
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        report.result(Main(order).run(command))
        return 0
    except Exception as error:  # noqa: BLE001 (a traceback could contain secrets)
        report.failure(order, Failure.of(error))
        return 1


class Main:
    """One run on one host. `directory` and `lock` are parameters for tests."""

    def __init__(
        self,
        order: dict[str, Any],
        directory: str = "/etc/gitlab-geo-registry",
        lock: str = "/run/gitlab-geo-external-registry.lock",
    ) -> None:
        self._order, self._name = order, order["node"]
        self._directory, self._lock = Path(directory), lock
        report.redact(order["secrets"])

    def run(self, command: str) -> dict[str, Any]:
        with open(self._lock, "a", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            self._acquire(file)
            # Only now: another run may have changed it while this one waited.
            self._host = HostState(self._directory)
            commands = {
                "apply": self._apply,
                "undo": self._undo,
                "inspect_storage": self._inspect_storage,
                "verify": self._verify,
                "trust": self._trust,
            }
            return commands[command]()

    def _acquire(self, file: Any) -> None:
        deadline, waiting = time.monotonic() + self._order["reconfigure_seconds"], False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not waiting:
                    report.say(f"{self._name}: waiting for another run on this host to end")
                waiting = True
            if time.monotonic() > deadline:
                raise Failure(
                    "another-run-in-progress",
                    "another run of this program is still running on this host",
                    cause=f"{self._lock} is held",
                    remedy="wait for it to end, then `pulumi up` again",
                )
            time.sleep(0.5)

    def _inspect_storage(self) -> dict[str, Any]:
        return {"storage": storage.identity(tree(text(self._order["config"])))}

    def _verify(self) -> dict[str, Any]:
        return {"node": self._name, "site": self._order["site"], "proof": verify(self._order)}

    def _apply(self) -> dict[str, Any]:
        order, path = self._order, self._order["config"]
        self._ensure_owned()
        interrupted = self._recover()
        contents = self._host.contents(order)
        new = tree(contents[path].decode())
        storage.refuse_to_hide_images(order, tree(text(path)), new)
        changed = {path: data for path, data in contents.items() if read(path) != data}
        needed = interrupted or bool(set(changed) - {str(self._host.file)})
        if not needed:
            report.say(f"{self._name}: configuration unchanged")
        proof = Proof(order, new)
        proven = self._change(changed, proof.run, again=needed) if changed or interrupted else proof.run()
        if order["secrets"] and Path(path).stat().st_mode & stat.S_IROTH:
            # This program does not change the mode: the registry may run as any user.
            proven[f"every user of this host can read {path}"] = "yes: check its mode, it contains secrets"
        return {"node": self._name, "site": order["site"], "restarted": needed, "proof": proven}

    def _trust(self) -> dict[str, Any]:
        """The first step of a rotation of the registry key: the registry trusts the new certificate, too.

        Everything else stays as it is, whatever the configuration says by now.
        """
        self._ensure_owned()
        interrupted = self._recover()
        if not self._host.fields:
            report.say(f"{self._name}: no registry with this program's settings yet")
            return {"node": self._name, "proof": {}}
        contents = self._host.trusting(self._order["certificate_text"])
        if contents or interrupted:
            proof = Proof(self._order, tree(text(self._host.fields["config"])))
            self._change(contents, proof.ensure_answer, again=True)
        return {"node": self._name, "proof": {}}

    def _ensure_owned(self) -> None:
        owner, stack = self._host.manager[0], self._order["owner"]
        if owner not in (None, stack):
            raise Failure(
                "managed-by-another-stack",
                f"this host is managed by the stack {owner}",
                cause=f"{self._host.file} names that stack as the owner",
                remedy="run `pulumi destroy` in that stack first; if that stack is gone, "
                f"set owner to {stack} there",
            )

    def _recover(self) -> bool:
        """Roll back an interrupted run; files that were edited since stay as they are."""
        transaction = FileTransaction.interrupted(self._directory)
        if transaction is None:
            return False
        report.say(f"{self._name}: an earlier run was interrupted; its changes are rolled back first")
        if not transaction.edited:
            transaction.rollback()
        transaction.commit()
        # Until a transaction is committed, the next run must know that a restart is pending.
        FileTransaction(self._directory, []).save_journal()
        self._host = HostState(self._directory)
        return True

    def _change(
        self, contents: Contents, prove: Callable[[], dict[str, str]], *, again: bool
    ) -> dict[str, str]:
        """Write the files, restart (`again`) and check; roll everything back if a step fails."""
        modes = {str(self._host.file): 0o600, self._order["certificate"]: 0o644}
        transaction = FileTransaction.write(self._directory, contents, modes)
        try:
            if again:
                self._restart()
            proven = prove()
        except Exception as error:  # noqa: BLE001 (after any error the former files are restored)
            raise Failure.of(error).with_state(self._roll_back(transaction, again=again)) from None
        transaction.commit()
        return proven

    def _roll_back(self, transaction: FileTransaction, *, again: bool) -> str:
        """The state of the host afterwards. While the journal stays, the next run resumes the rollback."""
        report.say(f"{self._name}: rolling back to the former files")
        try:
            transaction.rollback()
            if again:
                self._restart()
            answers = Proof(self._order, tree(text(self._order["config"]))).answers()
        except Failure as error:
            return f"the former files are restored, but a restart with them failed as well ({error.cause})"
        except Exception as error:  # noqa: BLE001 (the first failure is the one to report)
            return f"rollback did not complete ({error}); the next run resumes it"
        transaction.commit()
        does = "answers" if answers else "does not answer"
        return f"the former files are restored, and the registry {does} with them"

    def _restart(self) -> None:
        report.say(f"{self._name}: {self._order['restart']}")
        restart(self._order["restart"])

    def _undo(self) -> dict[str, Any]:
        """Remove everything that apply added, and nothing else."""
        interrupted = self._recover()
        host, stack = self._host, (self._order["owner"], self._order["resource"])
        if host.fields and host.manager != stack:
            return self._nothing(f"now managed as {' '.join(map(str, host.manager))}, nothing to remove")
        if not host.fields and not interrupted:
            return self._nothing("no settings of this program on this host")
        contents: Contents = host.former_contents() if host.fields else {}
        now = read(host.fields["config"]) if host.fields else None
        self._change(contents, dict, again=True)
        if now is not None:
            self._report_former_storage(now.decode(), contents[host.fields["config"]].decode())
        return {"node": self._name, "undone": True}

    def _nothing(self, why: str) -> dict[str, Any]:
        report.say(f"{self._name}: {why}")
        return {"node": self._name, "undone": False}

    def _report_former_storage(self, now: str, former: str) -> None:
        was, will = storage.identity(tree(now)), storage.identity(tree(former))
        if was and will and was != will:
            shown = (
                f"s3://{was['place'][1]}" if was["driver"] == "s3" else ":".join(filter(None, was["place"]))
            )
            stays = f"({will['driver']}); the images in {shown} remain there"
            report.say(f"{self._name}: the registry uses its former storage again {stays}")
