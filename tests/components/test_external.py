"""A registry that is not omnibus': what is declared for its host, what of it is secret, and what a person is handed."""

from __future__ import annotations

import ast
import json
from functools import partial
from typing import Any

import pulumi
import pytest
import yaml

from hosts.programs import external_registry
from tests.components.recording import ADOPTED, KEPT, Registration, record
from tests.configurations import HOST_KEY, SHARED, changed, per_site, put
from tests.invalid_configs.topologies import EXTERNAL, IMAGES, SNIPPET
from tests.invalid_configs.topologies import external as outside


@pytest.fixture(scope="module")
def recorded() -> dict[str, Registration]:
    return record(EXTERNAL)


def order(host: Registration) -> dict[str, Any]:
    """The payload of the program on the host, from the call behind it."""
    text = host.plain("stdin")
    assert text.startswith(external_registry())
    call = ast.parse(text.removeprefix(external_registry())).body[0]
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
    found: dict[str, Any] = json.loads(ast.literal_eval(call.value.args[1]))
    return found


def test_its_host_is_one_command_below_its_site(recorded: dict[str, Registration]) -> None:
    """One session a host, as for a node; nothing is on the command line, the host key is pinned."""
    host, command = recorded["london-images"], recorded["london-images-settings"]
    assert (host.type, host.parent) == ("gitlabgeo:index:ExternalRegistryHost", "london")
    assert (command.type, command.parent) == ("command:remote:Command", "london-images")
    assert command.plain("create") == "exec sudo -n python3 -I - apply"
    assert command.plain("delete") == "exec sudo -n python3 -I - undo"
    assert command.secret("stdin") and command.plain("logging") == "stderr"
    assert command.plain("connection")["host"] == "10.10.0.15"
    assert command.plain("connection")["hostKey"] == HOST_KEY
    assert command.plain("triggers") == ["10.10.0.15"]
    assert command.plain("addPreviousOutputInEnv") is False
    assert command.request.deleteBeforeReplace
    assert "london-1-settings" not in command.depends_on and "london-storage-key" in command.depends_on


def test_ssh_of_its_own_is_used_and_root_needs_no_sudo() -> None:
    """Port and user of the host; what it does not say comes from the stack."""
    raw = changed(
        EXTERNAL,
        put(
            "sites",
            "london",
            "external_registry",
            "hosts",
            "london-images",
            "ssh",
            to={"user": "root", "port": 2222},
        ),
    )
    command = record(raw)["london-images-settings"]
    assert command.plain("create") == "exec python3 -I - apply"
    assert (command.plain("connection")["user"], command.plain("connection")["port"]) == ("root", 2222)


def test_a_preview_shows_each_value_by_its_path(recorded: dict[str, Registration]) -> None:
    """Secrets by their names; no value of one is in any plain input."""
    shown = recorded["london-images"].inputs
    assert shown["site"] == "london"
    assert shown["settings"]["auth.token.realm"] == '"https://gitlab.london.example.com/jwt/auth"'
    assert shown["settings"]["storage.s3.secretkey"] == "secrets['s3_secret_key']"
    assert (
        shown["settings"]["notifications.endpoints[geo_event].headers.Authorization"]
        == "[secrets['notification_secret']]"
    )
    plain = json.dumps([{k: v for k, v in r.inputs.items() if not r.secret(k)} for r in recorded.values()])
    assert [
        s for s in ("PRIVATE-KEY", "generated-", "secret-of-", "id-of-london-storage-key") if s in plain
    ] == []
    assert "acme-registry" in plain


def test_the_host_is_told_what_it_needs_and_not_the_registry_key(recorded: dict[str, Registration]) -> None:
    """The certificate, the secrets that its file names, and what the proof asks; GitLab's nodes have the key."""
    reported = order(recorded["london-images-settings"])
    assert reported["secrets"] == {
        "notification_secret": "generated-notification-secret",
        "s3_access_key": "id-of-london-storage-key",
        "s3_secret_key": "secret-of-london-storage-key",
        "http_secret": "generated-shared-http-secret",
    }
    assert reported["certificate_text"] == ADOPTED["registry_certificate"]
    assert ADOPTED["registry_key"] not in recorded["london-images-settings"].plain("stdin")
    assert ADOPTED["registry_key"] in recorded["london-1-settings"].plain("stdin")
    values = {json.dumps(e["path"]): e.get("value") for e in reported["edits"]}
    assert values['["http", "secret"]'] == "generated-shared-http-secret"
    assert values['["storage", "s3"]']["secretkey"] == "secret-of-london-storage-key"
    assert (reported["alone"], reported["registry_url"]) == (True, "https://registry.london.example.com")
    assert reported["challenge"] == {
        "realm": "https://gitlab.london.example.com/jwt/auth",
        "service": "container_registry",
    }
    assert (reported["config"], reported["certificate"], reported["restart"]) == (
        IMAGES["config"],
        IMAGES["certificate"],
        IMAGES["restart"],
    )
    assert reported["storage"]["shown"] == "s3://acme-registry"


def test_a_secondarys_host_gets_no_notification_secret() -> None:
    """And asks GitLab nothing."""
    recorded = record(changed(EXTERNAL, put("primary", to="tokyo")))
    reported = order(recorded["london-images-settings"])
    assert "london-images-verification" not in recorded
    assert "generated-notification-secret" not in json.dumps(reported)
    assert reported["resource"] == "secondary/london-images"


def test_two_hosts_of_one_registry_are_asked_where_they_listen_only() -> None:
    """At the site's URL one would answer for the other."""
    raw = changed(
        EXTERNAL,
        put(
            "sites",
            "london",
            "external_registry",
            "hosts",
            "london-more",
            to={**IMAGES, "host": "10.10.0.16"},
        ),
    )
    recorded = record(raw)
    assert order(recorded["london-images-settings"])["alone"] is False
    assert order(recorded["london-more-settings"])["alone"] is False


def test_gitlab_is_asked_by_the_registrys_host_after_all_nodes() -> None:
    """Whether it takes the registry's notifications; nothing is undone there, and no other secret is sent."""
    recorded = record(EXTERNAL)
    asking = recorded["london-images-verification"]
    assert asking.plain("create") == "exec sudo -n python3 -I - verify"
    assert "delete" not in asking.inputs
    assert {"london-1-settings", "london-images-settings"} <= asking.depends_on
    reported = order(asking)
    assert (
        reported["events_url"] == "https://gitlab.london.example.com/api/v4/container_registry_event/events"
    )
    assert reported["secrets"] == {"notification_secret": "generated-notification-secret"}
    assert set(reported["triggers"]["applied"]) == {"london-1", "london-images"}
    assert "london-images-settings" not in recorded["london-1-settings"].depends_on


def test_a_storage_that_is_kept_is_looked_at_on_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret; and what is found there is held against the other sites'."""
    raw = changed(per_site(), lambda raw: outside(raw, **{"london-images": IMAGES}))
    raw["sites"]["london"]["storage"] = raw["sites"]["tokyo"]["storage"] = "keep"
    monkeypatch.setitem(KEPT, "tokyo-existing-storage", ["tokyo-machine", "registry"])
    recorded = record(raw)
    look = recorded["london-existing-storage"]
    assert look.plain("create") == "exec sudo -n python3 -I - inspect_storage"
    assert order(look)["secrets"] == {} and order(look)["config"] == IMAGES["config"]
    reported = order(recorded["london-images-settings"])
    assert reported["storage"] is None
    assert [e for e in reported["edits"] if e["path"][0] in ("storage", "http")] == []
    monkeypatch.setitem(KEPT, "london-existing-storage", ["tokyo-machine", "registry"])
    with pytest.raises(pulumi.RunError, match="existing-storage-not-unique"):
        record(raw)


def exported(
    raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Registration]]:
    """The stack's outputs, unwrapped, and the resources."""
    found: dict[str, Any] = {}

    def export(name: str, value: Any) -> None:
        pulumi.Output.from_input(value).apply(partial(found.__setitem__, name))

    monkeypatch.setattr(pulumi, "export", export)
    recorded = record(raw)
    return found, recorded


def test_a_person_is_handed_the_lines_where_nobody_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As YAML, with the certificate; GitLab's nodes do not wait. No host is reached but GitLab's."""
    outputs, recorded = exported(SNIPPET, monkeypatch)
    lines = outputs["registry_config"]["london"]
    said = yaml.safe_load(lines["config.yml"])
    assert said["http"]["secret"] == "generated-shared-http-secret"
    assert said["notifications"]["endpoints"][0]["headers"]["Authorization"] == [
        "generated-notification-secret"
    ]
    assert lines["certificate"] == ADOPTED["registry_certificate"]
    assert not [r for r in recorded.values() if r.type.endswith("ExternalRegistryHost")]
    orders = [
        json.loads(recorded[f"{n}-settings"].plain("stdin").rpartition("\n__END__\n")[2])
        for n in ("london-1", "tokyo-1")
    ]
    assert [(o["registry_kind"], o["primary"]["registry_kind"]) for o in orders] == [
        ("manual", "manual"),
        ("omnibus", "manual"),
    ]


def test_a_storage_that_nobody_may_look_at_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the outputs; where it can be looked at nothing is said of that."""
    raw = changed(per_site(), outside)
    raw["sites"]["london"]["storage"] = "keep"
    outputs, recorded = exported(raw, monkeypatch)
    assert outputs["sites"]["london"]["storage"] == "kept as it was, not looked at"
    assert "london-existing-storage" not in recorded


def test_without_such_a_site_there_is_no_such_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for omnibus' registries nor for one that is edited."""
    for raw in (SHARED, EXTERNAL):
        assert "registry_config" not in exported(raw, monkeypatch)[0]
