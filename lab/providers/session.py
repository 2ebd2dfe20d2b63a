"""One command over an SSH transport: environment, stdin, both outputs, and how it ended."""

from __future__ import annotations

import threading
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST, cMSG_CHANNEL_REQUEST

from lab.providers.output import Output
from lab.providers.resource import Call, Severity
from lab.providers.ssh import SshError

# RFC 4254 section 6.10; the numbers are what Go adds to 128.
_SIGNALS = {
    "ABRT": 6,
    "ALRM": 14,
    "FPE": 8,
    "HUP": 1,
    "ILL": 4,
    "INT": 2,
    "KILL": 9,
    "PIPE": 13,
    "QUIT": 3,
    "SEGV": 11,
    "TERM": 15,
}
_NOT_ACCEPTED = (
    "Unable to set '%s'. This only works if your SSH server is configured to accept\n"
    "\tthese variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on the remote host, "
    "you could\n\tprefix the command itself with the variables in the form 'VAR=value command'"
)


def run(
    call: Call,
    transport: paramiko.Transport,
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
    endings = _listen_for_endings(transport)
    channel = _channel_with(call, transport, environment, previous)
    channel.exec_command(command)
    feeder = threading.Thread(target=_feed, args=(channel, stdin or ""), daemon=True)
    feeder.start()
    pumps = [
        output.pump("stdout", lambda: channel.recv(1 << 16)),
        output.pump("stderr", lambda: channel.recv_stderr(1 << 16)),
    ]
    for thread in pumps:
        thread.join()
    status = channel.recv_exit_status()
    return output.finish(command, _failure(status, endings.get(channel.get_id())))


def _feed(channel: paramiko.Channel, stdin: str) -> None:
    try:
        channel.sendall(stdin.encode())
        channel.shutdown_write()
    except (OSError, paramiko.SSHException):
        pass  # the command did not read it to the end, which is its own affair


def _failure(status: int, ending: tuple[str, str] | None) -> str | None:
    if status == 0:
        return None
    if status > 0:
        return f"Process exited with status {status}"
    if ending is None:
        return "wait: remote command exited without exit status or exit signal"
    signal, message = ending
    reason = f". Reason was: {message}" if message else ""
    return f"Process exited with status {128 + _SIGNALS.get(signal, 0)} from signal {signal}{reason}"


def _listen_for_endings(transport: paramiko.Transport) -> dict[int, tuple[str, str]]:
    """Collects "exit-signal" messages by channel, which paramiko itself drops: id -> (signal, message)."""
    endings: dict[int, tuple[str, str]] = {}
    handlers = dict(transport._channel_handler_table)
    usual = handlers[MSG_CHANNEL_REQUEST]

    def request(channel: paramiko.Channel, message: paramiko.Message) -> Any:
        kind = message.get_text()
        if kind == "exit-signal":
            message.get_boolean()
            signal = message.get_text()
            message.get_boolean()
            endings[channel.get_id()] = (signal, message.get_text())
        message.rewind()
        message.get_int()  # the channel number, which the transport had already taken
        return usual(channel, message)

    handlers[MSG_CHANNEL_REQUEST] = request
    transport._channel_handler_table = handlers
    return endings


def _channel_with(
    call: Call, transport: paramiko.Transport, environment: dict[str, str], previous: dict[str, str]
) -> paramiko.Channel:
    """A session whose environment the server has taken as far as it would."""
    channel, accepted = transport.open_session(), {}
    for key, value in {**environment, **previous}.items():
        if _set(channel, key, value):
            accepted[key] = value
            continue
        if key in environment:
            call.log(_NOT_ACCEPTED % key, Severity.ERROR, status=False)
            raise RuntimeError(f"could not set environment variable {_q(key)}: ssh: setenv failed")
        call.log(_NOT_ACCEPTED % key, Severity.WARNING, status=False)
        # paramiko closes a channel on which a request was refused; Go does not.
        channel = transport.open_session()
        for again, known in accepted.items():
            _set(channel, again, known)
    return channel


def _set(channel: paramiko.Channel, key: str, value: str) -> bool:
    """An "env" request that waits for its answer, which paramiko's own does not ask for."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("env")
    message.add_boolean(True)
    message.add_string(key)
    message.add_string(value)
    channel._event_pending()
    channel.transport._send_user_message(message)
    try:
        channel._wait_for_event()
    except (paramiko.SSHException, EOFError):
        if not channel.transport.is_active():
            raise SshError("EOF") from None
        return False
    return not channel.closed


def _q(text: str) -> str:
    from lab.providers.output import quoted

    return quoted(text)
