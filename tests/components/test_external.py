"""A registry that is not omnibus': what is declared for its host, what of it is secret, and what a person is handed."""

from __future__ import annotations

import ast
import json
from functools import partial
from typing import Any

import pulumi
import pytest
import yaml

from components.external_registry import program
from tests.components.recording import ADOPTED, KEPT, Registration, record
from tests.configurations import HOST_KEY, SHARED, changed, per_site, put
from tests.wrong.topologies import EXTERNAL, IMAGES, SNIPPET
from tests.wrong.topologies import external as outside

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def recorded() -> dict[str, Registration]:
    return record(EXTERNAL)


def order(host: Registration) -> dict[str, Any]:
    """What the program on the host is told, from the call behind it."""
    text = host.plain("stdin")
    assert text.startswith(program())
    call = ast.parse(text.removeprefix(program())).body[0]
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
    found: dict[str, Any] = json.loads(ast.literal_eval(call.value.args[1]))
    return found


def depends_on(resource: Registration) -> set[str]:
    return {urn.split("::")[-1] for urn in resource.request.dependencies}


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
    assert "london-1-settings" not in depends_on(command) and "london-registry-key" in depends_on(command)


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
        s for s in ("PRIVATE-KEY", "generated-", "secret-of-", "id-of-london-registry-key") if s in plain
    ] == []
    assert "acme-registry" in plain


def test_the_host_is_told_what_it_needs_and_not_the_registry_key(recorded: dict[str, Registration]) -> None:
    """The certificate, the secrets that its file names, and what the proof asks; GitLab's nodes have the key."""
    told = order(recorded["london-images-settings"])
    assert told["secrets"] == {
        "notification_secret": "generated-notification-secret",
        "s3_access_key": "id-of-london-registry-key",
        "s3_secret_key": "secret-of-london-registry-key",
        "http_secret": "generated-shared-http-secret",
    }
    assert told["certificate_text"] == ADOPTED["registry_certificate"]
    assert ADOPTED["registry_key"] not in recorded["london-images-settings"].plain("stdin")
    assert ADOPTED["registry_key"] in recorded["london-1-settings"].plain("stdin")
    values = {json.dumps(e["path"]): e.get("value") for e in told["edits"]}
    assert values['["http", "secret"]'] == "generated-shared-http-secret"
    assert values['["storage", "s3"]']["secretkey"] == "secret-of-london-registry-key"
    assert told["events"] == {
        "url": "https://gitlab.london.example.com/api/v4/container_registry_event/events",
        "secret": "generated-notification-secret",
    }
    assert (told["alone"], told["registry_url"]) == (True, "https://registry.london.example.com")
    assert told["challenge"] == {
        "realm": "https://gitlab.london.example.com/jwt/auth",
        "service": "container_registry",
    }
    assert (told["config"], told["certificate"], told["restart"]) == (
        IMAGES["config"],
        IMAGES["certificate"],
        IMAGES["restart"],
    )
    assert told["storage"]["shown"] == "s3://acme-registry"


def test_a_secondarys_host_gets_no_notification_secret() -> None:
    """And asks GitLab nothing."""
    told = order(record(changed(EXTERNAL, put("primary", to="tokyo")))["london-images-settings"])
    assert told["events"] is None
    assert "generated-notification-secret" not in json.dumps(told)
    assert told["resource"] == "secondary/london-images"


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


def test_with_few_operations_at_a_time_a_web_node_goes_with_the_registrys_host() -> None:
    """They prove each other; what else there is comes after them. One at a time is too few, unless nobody waits."""
    raw = changed(
        EXTERNAL,
        put(
            "sites",
            "london",
            "nodes",
            "london-2",
            to={"host": "10.10.0.9", "host_key": HOST_KEY, "roles": ["rails"]},
        ),
    )
    recorded = record(raw, parallel=2)
    before = {
        name: depends_on(recorded[f"{name}-settings"])
        for name in ("london-1", "london-images", "london-2", "tokyo-1")
    }
    assert not {"london-images-settings", "london-2-settings"} & before["london-1"]
    assert not {"london-1-settings", "london-2-settings"} & before["london-images"]
    assert {"london-1-settings", "london-images-settings"} <= before["london-2"]
    assert {"london-1-settings", "london-images-settings", "london-2-settings"} <= before["tokyo-1"]
    with pytest.raises(pulumi.RunError, match="--parallel 1"):
        record(EXTERNAL, parallel=1)
    assert "london-1-settings" in record(SNIPPET, parallel=1)


def test_a_storage_that_is_kept_is_looked_at_on_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret; and what is found there is held against the other sites'."""
    raw = changed(per_site(), lambda raw: outside(raw, **{"london-images": IMAGES}))
    raw["sites"]["london"]["storage"] = raw["sites"]["tokyo"]["storage"] = "keep"
    monkeypatch.setitem(KEPT, "tokyo-kept-storage", ["tokyo-machine", "registry"])
    recorded = record(raw)
    look = recorded["london-kept-storage"]
    assert look.plain("create") == "exec sudo -n python3 -I - inspect_storage"
    assert order(look)["secrets"] == {} and order(look)["config"] == IMAGES["config"]
    told = order(recorded["london-images-settings"])
    assert told["storage"] is None
    assert [e for e in told["edits"] if e["path"][0] in ("storage", "http")] == []
    monkeypatch.setitem(KEPT, "london-kept-storage", ["tokyo-machine", "registry"])
    with pytest.raises(pulumi.RunError, match="london and tokyo keep their images in one place"):
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
    """As YAML, with the certificate; GitLab's nodes are told not to wait. No host is reached but GitLab's."""
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
        ("by hand", "by hand"),
        ("omnibus", "by hand"),
    ]


def test_a_storage_that_nobody_may_look_at_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the outputs; where it can be looked at nothing is said of that."""
    raw = changed(per_site(), outside)
    raw["sites"]["london"]["storage"] = "keep"
    outputs, recorded = exported(raw, monkeypatch)
    assert outputs["sites"]["london"]["storage"] == "kept as it was, not looked at"
    assert "london-kept-storage" not in recorded


def test_without_such_a_site_there_is_no_such_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for omnibus' registries nor for one that is edited."""
    for raw in (SHARED, EXTERNAL):
        assert "registry_config" not in exported(raw, monkeypatch)[0]
