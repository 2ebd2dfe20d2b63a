"""Running commands: how a failure reads, what is shown meanwhile, environment."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

import grpc
import paramiko
import pytest

from lab.providers import session
from lab.providers.output import Output, quoted
from lab.providers.protocol import secret
from tests.lab.providers.harness import REMOTE, Provider, Sshd, error, stored


class TestFailure:
    def test_it_tells_status_command_and_all_output(self, commands: Provider, sshd: Sshd) -> None:
        script = 'echo "out"; echo err >&2; sleep 0.1; echo out2; exit 3'
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create=script))
        text = error(refused.value)
        assert text.startswith(f"Process exited with status 3: running {quoted(script)}:\n")
        assert sorted(text.splitlines()[1:]) == ["err", "out", "out2"]
        assert text.endswith("out2\n")

    def test_a_signal_is_named(self, commands: Provider, sshd: Sshd) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create="kill -TERM $$"))
        assert error(refused.value).startswith("Process exited with status 143 from signal TERM: running")

    def test_a_connection_lost_on_the_way_is_told(self, commands: Provider, sshd: Sshd) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create="kill -9 $PPID; sleep 5"))
        expected = "wait: remote command exited without exit status or exit signal: running"
        assert error(refused.value).startswith(expected)

    def test_a_connection_that_is_over_before_stdin_is_no_failure(self) -> None:
        """paramiko tells it by EOFError, which is not an OSError; a thread that dies of it would be a traceback."""
        channel = create_autospec(paramiko.Channel, instance=True)
        channel.shutdown_write.side_effect = EOFError
        feeding = session.Feeding(channel, "in")
        feeding.run()
        assert not feeding.unsent
        channel.sendall.assert_called_once_with(b"in")

    @pytest.mark.parametrize(("size", "unsent"), [(1 << 20, False), (2 << 20, False), ((2 << 20) + 1, True)])
    def test_unread_stdin_that_fits_in_the_window_is_no_failure(self, size: int, unsent: bool) -> None:
        """However early the command ends: Go has handed it over by then, paramiko may not have."""
        channel = create_autospec(paramiko.Channel, instance=True)
        channel.sendall.side_effect = OSError("Socket is closed")
        feeding = session.Feeding(channel, "x" * size)
        feeding.run()
        assert feeding.unsent is unsent

    def test_more_unread_stdin_than_a_channel_takes_fails_a_command_that_succeeded(
        self, commands: Provider, sshd: Sshd
    ) -> None:
        """The rest has nowhere to go when the command ends, and that is what Go reports."""
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create="echo done", stdin="x" * (8 << 20)))
        assert error(refused.value) == 'EOF: running "echo done":\ndone\n'
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create="exit 3", stdin="x" * (8 << 20)))
        assert error(refused.value).startswith("Process exited with status 3: ")

    @pytest.mark.parametrize("stream", ["1", "2"])
    def test_output_that_is_not_utf_8_fails_a_command_that_succeeded(
        self, commands: Provider, sshd: Sshd, tmp_path: Path, stream: str
    ) -> None:
        """It has run by then: nothing of it is kept at a creation, and the former state at an update."""
        inputs = stored(sshd, create=f"printf 'f\\303\\274r' >&{stream}")
        made, state = commands.create(REMOTE, inputs)
        assert "für" in (state["stdout"], state["stderr"])
        inputs["create"] = f"touch {tmp_path}/ran; printf 'f\\374r' >&{stream}"
        for run in (
            lambda: commands.create(REMOTE, inputs),
            lambda: commands.update(REMOTE, made, state, inputs),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                run()
            assert error(refused.value) == (
                "grpc: error while marshaling: string field contains invalid UTF-8"
            )
            (tmp_path / "ran").unlink()

    def test_output_that_is_not_utf_8_is_shown_where_a_command_fails_or_deletes(
        self, commands: Provider, sshd: Sshd
    ) -> None:
        """There it is only a text, with marks in place of what cannot be read."""
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create="printf 'f\\374r' >&2; exit 3"))
        assert error(refused.value).endswith(":\nf\ufffdr")
        made, state = commands.create(REMOTE, stored(sshd, delete="printf 'f\\374r'"))
        commands.delete(REMOTE, made, state)

    def test_a_failed_update_or_delete_is_an_error_too(self, commands: Provider, sshd: Sshd) -> None:
        inputs = stored(sshd, create="true", update="exit 4", delete="exit 5")
        made, state = commands.create(REMOTE, inputs)
        with pytest.raises(grpc.RpcError, match="exited with status 4"):
            commands.update(REMOTE, made, state, inputs)
        with pytest.raises(grpc.RpcError, match="exited with status 5"):
            commands.delete(REMOTE, made, state)

    @pytest.mark.parametrize(
        ("text", "literal"),
        [('a"b', '"a\\"b"'), ("a\\b\n\t", '"a\\\\b\\n\\t"'), ("\x1b\x7f", '"\\x1b\\x7f"'), ("ü…", '"ü…"')],
    )
    def test_the_command_is_quoted_as_go_does(self, text: str, literal: str) -> None:
        assert quoted(text) == literal


class TestLogging:
    @pytest.mark.parametrize(
        ("logging", "shown"),
        [
            (None, {"to-out", "to-err"}),
            ("stdoutAndStderr", {"to-out", "to-err"}),
            ("stdout", {"to-out"}),
            ("stderr", {"to-err"}),
            ("none", set()),
        ],
    )
    def test_it_decides_what_is_shown_while_running(
        self, commands: Provider, sshd: Sshd, logging: str | None, shown: set[str]
    ) -> None:
        inputs = stored(
            sshd, create="echo to-out; echo to-err >&2", **({"logging": logging} if logging else {})
        )
        _, state = commands.create(REMOTE, inputs)
        assert set(commands.messages) == shown
        assert not commands.lasting_messages
        assert state["stdout"] == "to-out"

    def test_the_output_of_a_command_with_secrets_is_shown_all_the_same(
        self, commands: Provider, sshd: Sshd
    ) -> None:
        """A trap of the real provider: only logging none keeps a secret from the screen."""
        commands.create(REMOTE, stored(sshd, create="cat", stdin=secret("hidden")))
        assert "hidden" in commands.messages

    def test_with_logging_none_a_secret_is_shown_nowhere(self, commands: Provider, sshd: Sshd) -> None:
        _, state = commands.create(REMOTE, stored(sshd, create="cat", stdin=secret("hidden"), logging="none"))
        assert state["stdout"] == "hidden"
        assert not commands.messages

    def test_a_line_that_hangs_the_real_provider_fails_here(self) -> None:
        output = Output(lambda *_, **__: None, None)
        output.feed("stdout", b"x" * 70000)
        output.feed("stdout", b"x\n")
        with pytest.raises(Exception, match="set logging to none"):
            output.finish("cat", None)


def test_a_command_goes_on_when_the_engine_was_killed(commands: Provider, sshd: Sshd, work: Path) -> None:
    """The plugin outlives the engine until its work is done, and nobody is there to log to."""
    commands.lose_engine()
    commands.create(REMOTE, stored(sshd, create=f"for n in 1 2 3; do echo $n; done; touch {work}/done"))
    assert (work / "done").exists()


class TestEnvironment:
    def test_accepted_variables_reach_the_command(self, commands: Provider, sshd: Sshd) -> None:
        inputs = stored(sshd, create='echo "$LAB_ONE"', environment={"LAB_ONE": "1 2"})
        assert commands.create(REMOTE, inputs)[1]["stdout"] == "1 2"

    def test_a_variable_the_server_refuses_is_fatal(self, commands: Provider, sshd: Sshd) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            commands.create(REMOTE, stored(sshd, create="true", environment={"OTHER": "x"}))
        assert error(refused.value) == 'could not set environment variable "OTHER": ssh: setenv failed'
        assert "AcceptEnv" in commands.lasting_messages[0]

    def test_refused_previous_output_is_only_a_warning(self, commands: Provider, sshd: Sshd) -> None:
        inputs = stored(sshd, create='echo "got $PULUMI_COMMAND_STDOUT"')
        made, state = commands.create(REMOTE, inputs)
        state = commands.update(REMOTE, made, state, inputs)
        assert state["stdout"] == "got "
        assert "PULUMI_COMMAND_STDOUT" in commands.lasting_messages[0]

    def test_it_is_not_even_tried_when_not_wanted(self, commands: Provider, sshd: Sshd) -> None:
        inputs = stored(sshd, create="echo x", addPreviousOutputInEnv=False, logging="none")
        made, state = commands.create(REMOTE, inputs)
        commands.update(REMOTE, made, state, inputs)
        assert not commands.messages
