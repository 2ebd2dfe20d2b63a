"""One command over an SSH transport: environment, stdin, both outputs, and how it ended."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.common import (
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
    cMSG_CHANNEL_REQUEST,
)

from lab.providers.output import Output, quoted
from lab.providers.resource import Call, Severity

# RFC 4254 section 6.10; the numbers are what Go adds to 128.
_SIGNALS = {"ABRT": 6, "ALRM": 14, "FPE": 8, "HUP": 1, "ILL": 4, "INT": 2}
_SIGNALS |= {"KILL": 9, "PIPE": 13, "QUIT": 3, "SEGV": 11, "TERM": 15}
_NOT_ACCEPTED = (
    "Unable to set '%s'. This only works if your SSH server is configured to accept\n"
    "\tthese variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on the remote "
    "host, you could\n\tprefix the command itself with the variables in the form 'VAR=value command'"
)


class Transport(paramiko.Transport):
    """A transport that reports what paramiko drops: signals that ended a command, and refused variables.

    Both arrive in messages that paramiko handles through a table; this class replaces those handlers.
    """

    _handler_table: dict[int, Callable[[paramiko.Message], Any]]
    _channel_handler_table: dict[int, Callable[[paramiko.Channel, paramiko.Message], Any]]

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.endings: dict[int, tuple[str, str]] = {}
        """Signals that ended commands, by channel: (name such as "TERM", message)."""
        self._answers: queue.Queue[bool] = queue.Queue()
        self._asking = False
        self.refusal = ""
        """The server's reason for not opening the last channel."""
        self._usual_refusal = self._handler_table[MSG_CHANNEL_OPEN_FAILURE]
        self._handler_table[MSG_CHANNEL_OPEN_FAILURE] = self._on_refusal
        self._usual = self._channel_handler_table
        self._channel_handler_table = {
            **self._usual,
            MSG_CHANNEL_REQUEST: self._on_request,
            MSG_CHANNEL_SUCCESS: lambda channel, message: self._on_answer(channel, message, True),
            MSG_CHANNEL_FAILURE: lambda channel, message: self._on_answer(channel, message, False),
        }

    def _on_refusal(self, message: paramiko.Message) -> None:
        message.get_int()  # the channel's number
        message.get_int()  # the kind of refusal
        self.refusal = message.get_text()
        message.rewind()
        self._usual_refusal(message)

    def _on_request(self, channel: paramiko.Channel, message: paramiko.Message) -> None:
        if message.get_text() == "exit-signal":
            message.get_boolean()
            signal = message.get_text()
            message.get_boolean()
            self.endings[channel.get_id()] = (signal, message.get_text())
        message.rewind()
        message.get_int()  # the channel's number, which the transport had already taken
        self._usual[MSG_CHANNEL_REQUEST](channel, message)

    def _on_answer(self, channel: paramiko.Channel, message: paramiko.Message, accepted: bool) -> None:
        if self._asking:
            self._answers.put(accepted)
        else:
            self._usual[MSG_CHANNEL_SUCCESS if accepted else MSG_CHANNEL_FAILURE](channel, message)

    def set_variable(self, channel: paramiko.Channel, key: str, value: str) -> bool:
        """An "env" request that waits for the server's answer, which paramiko's own does not ask for."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("env")
        message.add_boolean(True)
        message.add_string(key)
        message.add_string(value)
        self._asking = True
        try:
            self._send_user_message(message)  # type: ignore[attr-defined]  # the stubs leave it out
            while self.is_active():
                with contextlib.suppress(queue.Empty):
                    return self._answers.get(timeout=1)
            raise EOFError("EOF")
        finally:
            self._asking = False


def run(
    call: Call,
    transport: Transport,
    command: str,
    *,
    stdin: str | None,
    environment: dict[str, str],
    previous: dict[str, str],
    output: Output,
) -> dict[str, str]:
    """Runs it to its end; returns {"stdout", "stderr"}.

    `environment` must be accepted by the server, `previous` (outputs of the last run) may be refused with a
    warning.  Raises RuntimeError with all output in it when the command fails.
    """
    channel = transport.open_session()
    for key, value in environment.items():
        if not transport.set_variable(channel, key, value):
            call.log(_NOT_ACCEPTED % key, Severity.ERROR, status=False)
            raise RuntimeError(f"could not set environment variable {quoted(key)}: ssh: setenv failed")
    for key, value in previous.items():
        if not transport.set_variable(channel, key, value):
            call.log(_NOT_ACCEPTED % key, Severity.WARNING, status=False)
    channel.exec_command(command)
    feeding = Feeding(channel, stdin or "")
    feeding.start()
    pumps = [
        output.pump("stdout", lambda: channel.recv(1 << 16)),
        output.pump("stderr", lambda: channel.recv_stderr(1 << 16)),
    ]
    for thread in pumps:
        thread.join()
    failure = _failure(channel.recv_exit_status(), transport.endings.get(channel.get_id()))
    if failure is None:
        feeding.join()
        failure = "EOF" if feeding.unsent else None
    return output.finish(command, failure)


class Feeding(threading.Thread):
    """Sends stdin; `unsent`: the command ended before all of it was sent.

    OpenSSH's window takes two megabytes whether the command reads them or not, and Go has sent them before a
    command can end; paramiko is slower, so what fits in the window counts as sent. Unsent data beyond that
    fails even a command that succeeded, because Go's session.Wait also reports errors in copying stdin.
    """

    WINDOW = 2 << 20
    """Bytes: OpenSSH's CHAN_SES_WINDOW_DEFAULT, 64 packets of 32 KiB."""

    def __init__(self, channel: paramiko.Channel, stdin: str) -> None:
        super().__init__(daemon=True)
        self._channel, self._stdin = channel, stdin.encode()
        self.unsent = False

    def run(self) -> None:
        try:
            self._channel.sendall(self._stdin)
        except (OSError, EOFError, paramiko.SSHException):
            self.unsent = len(self._stdin) > self.WINDOW
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()


def _failure(status: int, ending: tuple[str, str] | None) -> str | None:
    """The text of Go's ssh.ExitError; -1 is paramiko's status for "none was sent"."""
    if status == 0:
        return None
    if status > 0:
        return f"Process exited with status {status}"
    if ending is None:
        return "wait: remote command exited without exit status or exit signal"
    signal, message = ending
    reason = f". Reason was: {message}" if message else ""
    return f"Process exited with status {128 + _SIGNALS.get(signal, 0)} from signal {signal}{reason}"
