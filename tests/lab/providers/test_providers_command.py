"""Commands: what is checked, what replaces, what runs again, what stays secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.providers.protocol import UNKNOWN, has_secret, is_secret, plain, secret
from tests.lab.providers.harness import REMOTE, Provider, Sshd, stored


class TestCheck:
    def test_the_connection_becomes_a_secret_with_the_defaults_in_it(self, commands: Provider) -> None:
        inputs = commands.check(REMOTE, {"connection": {"host": "h", "privateKey": "k"}, "create": "true"})
        assert is_secret(inputs["connection"])
        inner = inputs["connection"]["value"]
        assert is_secret(inner["privateKey"])
        assert plain(inner) == {
            "host": "h",
            "privateKey": "k",
            "user": "root",
            "port": 22,
            "dialErrorLimit": 10,
            "perDialTimeout": 15,
        }
        assert inputs["create"] == "true"

    def test_a_proxy_gets_the_same_care(self, commands: Provider) -> None:
        connection = {"host": "h", "proxy": {"host": "bastion", "password": "p"}}
        inner = commands.check(REMOTE, {"connection": connection})["connection"]["value"]
        assert plain(inner["proxy"])["port"] == 22
        assert is_secret(inner["proxy"]["password"])

    @pytest.mark.parametrize(
        ("inputs", "where"), [({}, "connection"), ({"connection": {"user": "root"}}, "connection")]
    )
    def test_a_missing_connection_or_host_is_refused(
        self, commands: Provider, inputs: dict[str, Any], where: str
    ) -> None:
        failures, _ = commands.failures(REMOTE, inputs)
        assert list(failures) == [where]

    def test_a_connection_that_is_not_known_yet_passes_the_preview(self, commands: Provider) -> None:
        assert plain(commands.check(REMOTE, {"connection": UNKNOWN})["connection"]) == UNKNOWN


class TestDiff:
    @pytest.mark.parametrize(
        ("old", "new", "replaces"),
        [
            ({"stdin": "a"}, {"stdin": "b"}, []),
            ({"create": "a"}, {"create": "b"}, []),
            ({"delete": "a"}, {"delete": "b"}, []),
            ({"connection": {"host": "a"}}, {"connection": {"host": "b"}}, []),
            ({"triggers": [1]}, {"triggers": [2]}, ["triggers"]),
            ({}, {"triggers": [1]}, ["triggers"]),
            ({"triggers": [1], "stdin": "a"}, {"triggers": [1], "stdin": "b"}, []),
            ({"triggers": ["known"]}, {"triggers": [UNKNOWN]}, ["triggers"]),
        ],
    )
    def test_only_triggers_replace(
        self, commands: Provider, old: dict[str, Any], new: dict[str, Any], replaces: list[str]
    ) -> None:
        found = commands.diff(REMOTE, old, new)
        assert found.paths
        assert found.replaces == replaces

    def test_nothing_changed_is_no_difference(self, commands: Provider) -> None:
        inputs = {"connection": secret({"host": "h"}), "stdin": secret("s"), "triggers": [{"a": [1]}]}
        assert not commands.diff(REMOTE, inputs, inputs).paths

    def test_ignored_changes_are_no_difference(self, commands: Provider) -> None:
        assert not commands.diff(
            REMOTE, {"stdin": "a"}, {"stdin": "b", "create": "c"}, ("stdin", "create")
        ).paths


class TestLife:
    def test_create_update_delete_run_their_commands(
        self, commands: Provider, sshd: Sshd, work: Path
    ) -> None:
        """With an `update` command that one runs; the delete command sees the inputs of the last update."""
        log = work / "log"
        inputs = stored(
            sshd, create=f"echo create >>{log}", update=f"echo update >>{log}", delete=f"echo delete >>{log}"
        )
        made, state = commands.create(REMOTE, inputs)
        assert made.startswith("thing")
        state = commands.update(REMOTE, made, state, {**inputs, "triggers": []})
        commands.delete(REMOTE, made, state)
        assert log.read_text().split() == ["create", "update", "delete"]

    def test_without_an_update_command_create_runs_again(self, commands: Provider, sshd: Sshd) -> None:
        inputs = stored(sshd, create="cat", stdin="one")
        made, state = commands.create(REMOTE, inputs)
        assert state["stdout"] == "one"
        state = commands.update(REMOTE, made, state, {**inputs, "stdin": "two"})
        assert state["stdout"] == "two"

    def test_without_any_command_nothing_is_dialled(self, commands: Provider) -> None:
        nowhere = {"connection": {"host": "192.0.2.1", "port": 1}}
        made, state = commands.create(REMOTE, nowhere)
        assert (state["stdout"], state["stderr"]) == ("", "")
        commands.delete(REMOTE, made, state)

    def test_a_preview_runs_nothing_and_knows_no_output(self, commands: Provider, work: Path) -> None:
        inputs = {"connection": {"host": "192.0.2.1"}, "create": f"touch {work}/made", "stdin": secret("s")}
        _, outputs = commands.create(REMOTE, inputs, preview=True)
        assert (outputs["stdout"], outputs["stderr"]) == (UNKNOWN, UNKNOWN)
        assert outputs["stdin"] == secret("s")
        outputs = commands.update(REMOTE, "id", {"stdout": "old", "stderr": ""}, inputs, preview=True)
        assert outputs["stdout"] == UNKNOWN
        assert not (work / "made").exists()

    def test_secret_inputs_stay_secret_in_the_state_and_output_does_not_become_one(
        self, commands: Provider, sshd: Sshd
    ) -> None:
        """The real provider leaves it to additionalSecretOutputs to hide stdout."""
        inputs = commands.check(REMOTE, stored(sshd, create="cat", stdin=secret("hidden")))
        made, state = commands.create(REMOTE, inputs)
        assert state["connection"] == inputs["connection"]
        assert state["stdin"] == secret("hidden")
        assert state["stdout"] == "hidden"
        state = commands.update(REMOTE, made, {**state, "stdout": secret("hidden")}, inputs)
        assert is_secret(state["stdout"])  # the engine marked it; an update does not lay it bare
        _, outputs, now = commands.read(REMOTE, made, state, inputs)
        assert (outputs, now) == (state, inputs)

    def test_the_last_newline_only_is_taken_from_the_output(self, commands: Provider, sshd: Sshd) -> None:
        _, state = commands.create(REMOTE, stored(sshd, create="printf 'a\\n\\n'; printf 'b\\n' >&2"))
        assert (state["stdout"], state["stderr"]) == ("a\n", "b")

    def test_a_megabyte_goes_through_stdin_and_back(self, commands: Provider, sshd: Sshd) -> None:
        text = "x" * 63 + "\n"
        _, state = commands.create(REMOTE, stored(sshd, create="cat", stdin=text * 16384, logging="none"))
        assert state["stdout"] == (text * 16384).removesuffix("\n")

    def test_stdin_that_is_not_read_is_no_failure(self, commands: Provider, sshd: Sshd) -> None:
        _, state = commands.create(REMOTE, stored(sshd, create="echo done", stdin="x" * (1 << 20)))
        assert state["stdout"] == "done"

    def test_several_commands_run_side_by_side(self, commands: Provider, sshd: Sshd) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            each = [stored(sshd, create=f"echo {number}; sleep 0.2") for number in range(8)]
            states = list(pool.map(lambda inputs: commands.create(REMOTE, inputs)[1], each))
        assert [state["stdout"] for state in states] == [str(number) for number in range(8)]


def test_nothing_of_a_secret_is_left_bare_in_a_state(commands: Provider, sshd: Sshd) -> None:
    """What the provider hands back keeps the private key wrapped, twice: in the connection and by itself."""
    _, state, _ = commands.made(REMOTE, stored(sshd, create="true"))
    assert has_secret(state["connection"])
    assert sshd.private_key not in str({key: value for key, value in state.items() if key != "connection"})
